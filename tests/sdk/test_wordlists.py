"""Lists of words of other keyboards and of this one: nothing is lost in silence, and no file does harm."""

import codecs
import io
import json
import plistlib
import zipfile
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushfold import words as words_module
from hushfold.clock import ManualClock
from hushfold.errors import WordRefused
from hushfold.merging import ImportReport
from hushfold.redaction import redact
from hushfold.store import Store
from hushfold.word import Standing
from hushfold.wordlists import LARGEST, MOST_ENTRIES, Entry, Skipped, parse, to_bytes
from hushfold.words import PersonalWords
from hushfold_format import Vocabulary

VOCABULARY = Vocabulary(("see", "you", "i", "london"), {"i": "I", "london": "London"})
KEY = bytes(range(32))


@pytest.fixture
def new_words(tmp_path):
    """A maker of users without words."""
    stores, numbers = [], count()

    def make():
        stores.append(Store(tmp_path / f"store{next(numbers)}.db", KEY))
        return PersonalWords(stores[-1], VOCABULARY, ManualClock())

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def words(new_words):
    return new_words()


def zipped(**files):
    """An archive; a `_` in a name stands for a dot."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name.replace("_", ".")), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


PLAIN = "# my words\r\n\r\ntmr\r\nMcFly\r\n"
GBOARD_1 = "# Gboard Dictionary version:1\n# From OS\n\ttmr\ten-US\nmf\tMcFly\t\n"
GBOARD_2 = (
    "# Gboard Dictionary version:2\n# Gboard Dictionary format:shortcut\tword\tlanguage_tag\tpos_tag\n"
    "\ttmr\ten-US\t\nmf\tMcFly\t\t\n"
)
AOSP = (
    "dictionary=main:en,locale=en,description=English,date=1414726273,version=54\n"
    " word=tmr,f=222,flags=,originalFreq=222\n  bigram=McFly,f=160\n word=McFly,f=1\n  shortcut=mf,f=whitelist\n"
    " word=tmrw,f=0,not_a_word=true\n"
)
FLORIS = (
    "dictionary=words.clb;date=1;generated-by=org.florisboard;version=1\n w=tmr;f=128;l=null\n w=McFly;f=1;l=en;s=mf\n"
)
HUNSPELL = "2\ntmr/SM\nMcFly\tpo:noun\n"
ANYSOFT = (
    '<?xml version="1.0" encoding="utf-8"?><AnySoftKeyboardPrefs version="1"><pref><value providerId="UserDictionary"/>'
    '<pref><value locale="en"/>\n<pref><value word="tmr"/><value freq="1"/></pref>'
    '<pref><value word="McFly"/><value freq="2"/></pref><pref><value word="setting"/></pref></pref></pref>'
    "</AnySoftKeyboardPrefs>"
)
XML_WORDS = '<?xml version="1.0"?>\n<wordlist locale="en"><w f="128">tmr</w>\n<w f="1">McFly</w></wordlist>'
SWIFTKEY = json.dumps({"last_sync": "2024-09-10T21:35:27.33Z", "terms": ["tmr", "McFly", "!"]})
FUTO = json.dumps(
    [
        {"word": "tmr", "shortcut": None, "frequency": 250, "locale": None, "appId": 0},
        {"word": "McFly", "shortcut": "mf", "frequency": 250, "locale": "en", "appId": 0},
    ]
)
APPLE = [{"phrase": "tmr"}, {"phrase": "McFly", "shortcut": "mf"}, {"phrase": "on my way", "shortcut": "omw"}]

FILES = {
    "plain": (PLAIN.encode(), "words.txt", []),
    "plain, byte-order mark": (codecs.BOM_UTF8 + PLAIN.encode(), "words.txt", []),
    "plain, UTF-16": (PLAIN.encode("utf-16"), "words.txt", []),
    "plain, UTF-16 the other way": (codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"), "words.txt", []),
    "plain, old Macintosh": (PLAIN.replace("\r\n", "\r").encode(), "words.txt", []),
    "Gboard 1": (zipped(dictionary_txt=GBOARD_1), "PersonalDictionary.zip", ["mf"]),
    "Gboard 2": (zipped(dictionary_txt=GBOARD_2), "PersonalDictionary.zip", ["mf"]),
    "Gboard, unpacked": (GBOARD_1.encode(), "dictionary.txt", ["mf"]),
    "AOSP": (AOSP.encode(), "en.combined", ["bigram=McFly,f=160", "mf", "tmrw"]),
    "FlorisBoard": (FLORIS.encode(), "words.clb", ["mf"]),
    "Hunspell": (HUNSPELL.encode(), "en.dic", []),
    "Hunspell, personal": (b"tmr\nMcFly/Simpson\n", "en.dic", []),
    "AnySoftKeyboard": (ANYSOFT.encode(), "AnySoftKeyboardPrefs.xml", []),
    "XML words": (XML_WORDS.encode(), "words.xml", []),
    "SwiftKey": (SWIFTKEY.encode(), "terms.json", ["!"]),
    "FUTO": (zipped(userdictionary_json=FUTO, settings_bin=b"\0"), "keyboard.backup", ["mf"]),
    "Apple, XML": (plistlib.dumps(APPLE), "Text Substitutions.plist", ["mf", "on my way", "omw"]),
    "Apple, binary": (plistlib.dumps(APPLE, fmt=plistlib.FMT_BINARY), "words.plist", ["mf", "on my way", "omw"]),
}


@pytest.mark.parametrize("kind", FILES)
def test_words_of_every_format_are_taken_over_and_the_rest_is_reported(words, kind):
    content, name, skipped = FILES[kind]
    report = words.import_words(content, name)
    assert words.offered() == {"tmr": "tmr", "mcfly": "McFly"}
    assert words.trusted() == {"tmr", "mcfly"}
    assert (report.added, report.known, report.kept) == (2, 0, ())
    assert [item.text for item in report.skipped] == skipped
    assert all(item.reason and item.line > 0 for item in report.skipped)
    again = words.import_words(content, name)
    assert again == ImportReport(0, 2, (), report.skipped)


def test_a_list_with_counts_climbs_the_ladder(words):
    content = b'once,1\ntwice\t2\n"Often",30\nword,count\nnever,0\none,two,3\n'
    report = words.import_words(content, "list.csv")
    assert {word.form: word.standing for word in words.all()} == {
        "once": Standing.HIDDEN,
        "twice": Standing.OFFERED,
        "Often": Standing.LEARNED,
    }
    assert report.added == 3
    assert [(item.line, item.text) for item in report.skipped] == [(4, "word,count"), (5, "never"), (6, "one,two,3")]


def test_what_is_no_word_is_skipped_with_its_line_and_the_reason(words):
    report = words.import_words(b"tmr\n\n# no\na@b.example\n5551234567\nhttps://x.example\ntwo words\n", "words.txt")
    assert report.added == 1
    assert [item.line for item in report.skipped] == [4, 5, 6, 7]
    for item, reason in zip(report.skipped, ("e-mail", "long number", "link", "2 words"), strict=True):
        assert reason in item.reason


def test_what_the_user_has_decided_stays(words):
    words.block("lah")
    words.forget("zork")
    words.teach("McFLY")
    report = words.import_words(b"lah\nZork\nmcfly\ntmr\nyou\nLONDON\n", "words.txt")
    assert report == ImportReport(added=1, known=3, kept=("lah", "Zork"), skipped=())
    assert words.blocked() == {"lah"}
    assert words.offered() == {"mcfly": "McFLY", "tmr": "tmr"}
    assert "london" not in words.forms()  # the model knows it


def test_a_path_will_do_as_the_name_of_a_list(words, tmp_path):
    assert words.import_words(b"tmr/S\n", tmp_path / "en.dic").added == 1
    with pytest.raises(WordRefused, match=r"list\.txt is empty"):
        words.import_words(b"", tmp_path / "list.txt")


def test_forbidden_words_of_hunspell_are_blocked(words):
    words.import_words(b"tmr\n*you\n", "en.dic")
    assert words.blocked() == {"you"}


def test_more_words_than_are_kept_are_reported(words, monkeypatch):
    monkeypatch.setattr(words_module, "MOST_WORDS", 3)
    words.teach("lah")
    report = words.import_words(b"aaa\nbbb\nccc\nlah\nyou\n", "words.txt")
    assert (report.added, report.known) == (2, 2)
    assert [item.text for item in report.skipped] == ["ccc"]
    assert "3" in report.skipped[0].reason


XML_BOMB = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    '<wordlist><w f="1">&b;</w></wordlist>'
)
PLIST_BOMB = (
    '<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY a "ha">]>'
    "<plist><array><dict><key>phrase</key><string>&a;</string></dict></array></plist>"
)

REFUSED = {
    "empty": (b"", "empty"),
    "blank": (b" \n\t\n", "empty"),
    "binary": (b"a\0b", "no text"),
    "a picture": (b"\x89PNG\r\n\x1a\n\xff\xfe", "UTF-8"),
    "UTF-16 without a mark": ("tmr".encode("utf-16-le"), "no text"),
    "half a UTF-16 character": (codecs.BOM_UTF16_LE + b"a", "UTF-8"),
    "too long": (b"a\n" * (MOST_ENTRIES + 1), "more than 100,000 entries"),
    "too large": (b"a\n" * (LARGEST // 2 + 1), "larger than 8 MiB"),
    "zip bomb": (zipped(dictionary_txt=b"a\n" * (LARGEST // 2 + 1)), "larger than 8 MiB"),
    "damaged zip": (zipped(dictionary_txt=GBOARD_1)[:60], "unpacked"),
    "zip of a file without a name": (zipped(**{"": "tmr"}), "unpacked"),
    "zip of a zip": (zipped(dictionary_txt=zipped(dictionary_txt=GBOARD_1)), "no text|UTF-8"),
    "zip of other things": (zipped(a_txt="a", b_txt="b"), "2 files"),
    "zip of an empty file": (zipped(a=""), "empty"),
    "XML entities": (XML_BOMB.encode(), "entities"),
    "plist entities": (PLIST_BOMB.encode(), "damaged"),
    "other XML": (b"<html><body>tmr</body></html>", "XML without words"),
    "damaged XML": (b"<wordlist><w>tmr</w>", "damaged"),
    "other plist": (plistlib.dumps({"a": "b"}), "not of text replacements"),
    "damaged plist": (b"<plist><array><dict>", "damaged"),
    "damaged binary plist": (plistlib.dumps(APPLE, fmt=plistlib.FMT_BINARY)[:-20], "damaged"),
    "other JSON": (b'{"words": ["tmr"]}', "JSON"),
    "damaged JSON": (b'["tmr"', "damaged"),
    "deep JSON": (b"[" * 100_000, "damaged"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_is_no_list_is_refused_with_advice_and_changes_nothing(words, kind):
    content, reason = REFUSED[kind]
    with pytest.raises(WordRefused, match=reason) as caught:
        words.import_words(content, "words.bin")
    assert "words.bin" in caught.value.message
    assert caught.value.advice
    assert words.all() == []


def test_what_an_archive_says_of_its_size_is_not_believed():
    content = zipped(dictionary_txt=b"a\n" * (LARGEST // 2 + 1))
    real, small = (LARGEST + 2).to_bytes(4, "little"), (2).to_bytes(4, "little")
    assert content.count(real) == 2  # in the file's own header and in the directory
    with pytest.raises(WordRefused):
        parse(content.replace(real, small), "words.zip")


def test_a_property_list_that_refers_to_itself_many_times_stays_small():
    nested = "x" * 10
    for _ in range(60):
        nested = [nested, nested]
    content = plistlib.dumps([{"phrase": nested}], fmt=plistlib.FMT_BINARY)
    assert parse(content, "words.plist") == [Skipped(1, "(list)", "not a text")]


def test_an_export_is_taken_over_without_loss(words, new_words):
    for _ in range(3):
        words.observe("see i, McFly 2 lah")
    words.observe("see tmr")
    words.teach("iPhone")
    words.teach("LONDON")
    words.block("Lah")
    words.forget("Zork")
    exported = words.export_words()
    again = new_words()
    report = again.import_words(exported, "hushfold.txt")
    assert report == ImportReport(8, 0, (), ())
    assert again.all() == words.all()
    assert (again.offered(), again.forms(), again.trusted()) == (words.offered(), words.forms(), words.trusted())
    assert again.export_words() == exported
    assert again.import_words(exported, "hushfold.txt") == ImportReport(0, 8, (), ())
    assert b"McFly\t3\t" in exported  # others read a word and how often it was seen


def test_a_list_never_says_less_than_is_known(words, new_words):
    words.observe("see tmr")
    exported = words.export_words()
    again = new_words()
    for _ in range(5):
        again.observe("see Tmr")
    before = again.all()
    assert again.import_words(exported, "hushfold.txt").known == 1
    assert again.all() == before


def test_no_form_is_kept_of_a_word_that_a_list_says_is_forgotten(words):
    words.import_words(to_bytes([Entry(1, "Zork", 3, "forgotten", 1)]), "hushfold.txt")
    (word,) = words.all()
    assert (word.form, word.standing) == ("zork", Standing.FORGOTTEN)


def test_damaged_lines_of_an_export_are_skipped(words):
    header = to_bytes([]).decode()
    rows = "tmr\t2\tseen\t1\ntmr\ntmr\tx\tseen\t1\nlah\t2\tadored\t1\nlah\t0\tseen\t0\n" + "9" * 5 + "\t1\tseen\t0\n"
    report = words.import_words((header + rows).encode(), "hushfold.txt")
    assert report.added == 1
    assert [item.line for item in report.skipped] == [3, 4, 5, 6, 7]


decisions = st.sampled_from(["observe", "teach", "block", "forget", "unblock", "reset"])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(decisions, st.text(max_size=30) | st.sampled_from(["see i", "see LAH", "lah", "Zork"]))))
def test_whatever_happened_is_exported_and_taken_over(tmp_path_factory, history):
    folder = tmp_path_factory.mktemp("words")
    with Store(folder / "one.db", KEY) as one, Store(folder / "two.db", KEY) as two:
        words = PersonalWords(one, VOCABULARY, ManualClock())
        for what, text in history:
            try:
                getattr(words, what)(redact(text))
            except WordRefused:
                continue
        again = PersonalWords(two, VOCABULARY, ManualClock())
        report = again.import_words(words.export_words(), "hushfold.txt")
        assert report.skipped == ()
        assert again.export_words() == words.export_words()
        assert (again.all(), again.forms()) == (words.all(), words.forms())


characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
pieces = (
    st.sampled_from([*(content for content, _, _ in FILES.values())])
    | st.binary(max_size=80)
    | st.text().map(str.encode)
)


@settings(max_examples=150, deadline=None)
@given(pieces, st.integers(0, 400), st.binary(max_size=8), st.sampled_from(["a.txt", "a.dic"]))
def test_any_file_is_read_or_refused(content, at, noise, name):
    damaged = content[:at] + noise + content[at + len(noise) :]
    try:
        items = parse(damaged, name)
    except WordRefused:
        return
    assert all(isinstance(item, Entry | Skipped) and item.line > 0 for item in items)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(characters, max_size=60)), st.sampled_from(["a.txt", "a.dic"]))
def test_every_line_is_accounted_for(tmp_path_factory, lines, name):
    text = "\n".join(["word", *lines])
    written = [
        line for line in text.replace("\r", "\n").split("\n") if line.strip() and not line.lstrip().startswith("#")
    ]
    content = text.encode()
    with Store(tmp_path_factory.mktemp("words") / "store.db", KEY) as store:
        report = PersonalWords(store, VOCABULARY, ManualClock()).import_words(content, name)
    assert report.added + report.known + len(report.kept) + len(report.skipped) == len(written)


def test_a_word_that_stands_twice_in_a_list_is_taken_over_once(words):
    report = words.import_words(b"tmr\nlah,1\nTMR\nlah,5\nlah,2\n", "words.txt")
    assert report == ImportReport(added=3, known=2, kept=(), skipped=())
    assert {word.form: word.sightings for word in words.all()} == {"tmr": 0, "lah": 5}


def test_the_longest_list_is_read_and_all_of_it_is_reported(words):
    content = "\n".join(f"w{number:x}x" for number in range(MOST_ENTRIES)).encode()
    report = words.import_words(content, "words.txt")
    assert report.added == words_module.MOST_WORDS
    assert report.added + len(report.skipped) == MOST_ENTRIES


def test_the_text_of_another_encoding_says_what_to_do(words):
    with pytest.raises(WordRefused, match=r"no text in UTF-8.*save it as UTF-8"):
        words.import_words("caf\u00e9\n".encode("latin-1"), "words.txt")
