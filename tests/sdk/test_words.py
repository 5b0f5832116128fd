"""A user's own words: a ladder for what is typed, and a last word for what is decided."""

import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushfold import words as words_module
from hushfold.clock import ManualClock
from hushfold.errors import StoreError, WordRefused
from hushfold.redaction import redact
from hushfold.store import Store
from hushfold.word import LONGEST, Standing, key_of
from hushfold.words import PersonalWords
from hushfold_format import Vocabulary

VOCABULARY = Vocabulary(("see", "you", "at", "the", ".", "i", "london"), {"i": "I", "london": "London"})
KEY = bytes(range(32))


@pytest.fixture
def words(store, clock):
    return PersonalWords(store, VOCABULARY, clock)


def write(words, message, times):
    for _ in range(times):
        words.observe(message)


@pytest.mark.parametrize(("times", "offered", "trusted"), [(1, False, False), (2, True, False), (3, True, True)])
def test_the_ladder(words, times, offered, trusted):
    write(words, "see you tmr", times)
    assert ("tmr" in words.offered()) == offered
    assert ("tmr" in words.trusted()) == trusted


def test_the_ladder_can_be_adjusted(store, clock):
    words = PersonalWords(store, VOCABULARY, clock, offer_at=1, learn_at=5)
    write(words, "tmr", 4)
    assert "tmr" in words.offered()
    assert not words.trusted()


def test_the_words_of_a_settings_screen(words, clock):
    clock.advance(60)
    write(words, "see tmr", 2)
    words.observe("at McFly")
    words.teach("Zork")
    words.block("lah")
    words.forget("Foo")
    assert [(word.form, word.sightings, word.standing) for word in words.all()] == [
        ("foo", 0, Standing.FORGOTTEN),
        ("lah", 0, Standing.BLOCKED),
        ("McFly", 1, Standing.HIDDEN),
        ("tmr", 2, Standing.OFFERED),
        ("Zork", 0, Standing.TAUGHT),
    ]
    assert {word.seen_at for word in words.all()} == {clock.now()}
    words.observe("tmr")
    assert [word.standing for word in words.all() if word.form == "tmr"] == [Standing.LEARNED]


def test_short_numbers_are_words(words):
    write(words, "see you 2 at the 4", 3)
    assert words.trusted() == {"2", "4"}


def test_what_is_never_a_word(words):
    write(words, "see you <number> 123 5551234 a@b.example https://x.example/abc :) \U0001f600 the", 5)
    assert words.all() == []


@pytest.mark.parametrize(
    ("messages", "form"),
    [
        (["see McFly", "at McFly"], "McFly"),
        (["Tmr see you", "Tmr"], "tmr"),  # the capital is the sentence's
        (["see you. Tmr", "Tmr"], "tmr"),
        (["SEE YOU TMR", "SEE TMR"], "tmr"),  # the capitals are the shout's
        (["see O\u2019Brien", "O\u2019Brien", "see O\u2019Brien"], "O'Brien"),
        (["see you\nTmr", "see you\nTmr"], "tmr"),  # a line begins like a sentence
        (["see you \U0001f600 Tmr", "\U0001f600 Tmr"], "tmr"),  # and what follows an emoji may
        (["see you, Tmr", "see you, Tmr"], "Tmr"),
        (["see tmr", "see TMR", "see tmr"], "tmr"),  # the more usual form
        (["see TMR", "see tmr", "see tmr", "see tmr"], "tmr"),
        (["see 'tmr'", "see 'tmr"], "tmr"),
        (["see goin'", "see goin'"], "goin'"),
    ],
)
def test_a_word_is_written_as_the_user_writes_it(words, messages, form):
    for message in messages:
        words.observe(message)
    assert list(words.offered().values()) == [form]


def test_a_taught_word_is_there_at_once_and_as_it_was_taught(words):
    words.teach(" iPhone ")
    write(words, "see IPHONE you", 20)  # what was taught is the user's last word
    assert words.offered() == {"iphone": "iPhone"}
    assert words.trusted() == {"iphone"}
    assert words.forms() == {"iphone": "iPhone"}


def test_a_word_of_the_model_is_written_as_the_user_writes_it(words, store):
    write(words, "see i", 2)
    assert words.forms() == {}  # not yet sure
    words.observe("see i")
    assert words.forms() == {"i": "i"}
    assert not words.offered()
    assert not words.trusted()
    assert words.all() == []
    write(words, "see I", 1)
    assert words.forms() == {}
    write(words, "see I", 2)
    assert store.execute("SELECT * FROM personal_words") == []  # nothing is kept of who writes as people do


@pytest.mark.parametrize("message", ["london", "see you. london", "SEE LONDON", "see London", "see you the"])
def test_no_casing_is_kept_of_what_says_nothing_about_it(words, store, message):
    write(words, message, 20)
    assert store.execute("SELECT * FROM personal_words") == []


def test_a_habit_of_casing_can_change(words):
    write(words, "see london", 100)
    write(words, "see London", 10)
    assert words.forms() == {}


def test_a_blocked_word_stays_blocked_however_often_it_is_written(words):
    write(words, "lah", 3)
    words.block("Lah")
    write(words, "lah", 5)
    assert words.blocked() == {"lah"}
    assert words.is_blocked("LAH")
    assert not words.is_own("lah")
    assert not words.offered()
    assert not words.trusted()


def test_an_unblocked_word_is_where_it_was(words):
    write(words, "see Lah", 3)
    before = words.all()
    words.block("lah")
    assert words.all() != before
    write(words, "see lah", 5)  # is not counted
    words.unblock("lah")
    assert words.all() == before
    assert words.offered() == {"lah": "Lah"}


@pytest.mark.parametrize("decide", [PersonalWords.teach, PersonalWords.forget])
def test_only_a_block_is_unblocked(words, store, decide):
    decide(words, "lah")
    before = words.all()
    words.unblock("lah")
    assert words.all() == before
    words.block("lah")
    words.unblock("lah")
    assert words.all() == []
    assert store.execute("SELECT * FROM personal_words") == []


def test_a_forgotten_word_stays_forgotten_until_it_is_taught(words, store):
    write(words, "see Zork", 3)
    words.forget("zork")
    write(words, "see Zork", 5)
    assert not words.offered()
    assert "Zork" not in str(store.execute("SELECT form FROM personal_words"))
    words.teach("Zork")
    assert words.offered() == {"zork": "Zork"}


def test_a_decision_can_be_taken_back(words):
    words.block("the")
    words.reset("the")
    assert words.all() == []


def test_a_word_of_the_model_can_be_blocked_and_taught_another_form(words):
    words.block("you")
    words.teach("THE")
    assert words.blocked() == {"you"}
    assert words.forms() == {"the": "THE"}
    assert words.offered() == {}  # the model offers it


@pytest.mark.parametrize(
    "word", ["tmr", "b4", "2", "C3PO", "o\u2019clock", "wi-fi", "na\u00efve", "\u0928\u092e\u0938\u094d\u0924\u0947"]
)
def test_what_can_be_taught(words, word):
    words.teach(word)
    assert list(words.offered().values()) == [word.replace("\u2019", "'")]
    assert words.is_own(word.upper())


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("", "no word"),
        (" \n", "no word"),
        ("two words", "2 words"),
        ("a\nb", "2 words"),
        ("a@b.example", "e-mail"),
        ("https://x.example", "link"),
        ("www.x.example", "link"),
        ("5551234567", "long number"),
        ("a5551234", "long number"),
        ("Hunter2hunter", "password"),
        ("123", "3 digits"),
        ("x" * (LONGEST + 1), "49 characters"),
        ("<s>", "not a word"),
        ("<number>", "not a word"),
        ("'", "not a word"),
        ("-", "not a word"),
        ("a--b", "not a word"),
        ("\u00b2", "not a word"),
        ("\u0301", "not a word"),
        ("\U0001f600", "not a word"),
        ("\ud800", "password"),
        ("a\0b", "not a word"),
    ],
)
def test_what_cannot_be_taught_is_refused_with_advice(words, word, reason):
    for decide in (words.teach, words.block, words.unblock, words.forget, words.reset):
        with pytest.raises(WordRefused, match=reason) as caught:
            decide(word)
        assert caught.value.advice
    assert words.all() == []


def test_words_outlive_the_process_and_not_a_wipe(words, store, clock):
    write(words, "see McFly", 3)
    words.block("lah")
    again = PersonalWords(store, VOCABULARY, clock)
    assert again.all() == words.all()
    store.wipe()
    again.reload()
    assert again.all() == []


def test_the_revision_grows_with_what_suggestions_depend_on(words):
    revisions = [words.revision]
    for _ in range(5):
        words.observe("tmr")
        revisions.append(words.revision)
    first, hidden, offered, learned, fourth, fifth = revisions
    assert first == hidden < offered < learned == fourth == fifth
    for change in (
        lambda: words.block("tmr"),
        lambda: words.unblock("tmr"),
        lambda: words.teach("TMR"),
        lambda: words.forget("tmr"),
        lambda: write(words, "see i", 3),
        lambda: words.import_words(b"lah", "list.txt"),
        words.reload,
    ):
        before = words.revision
        change()
        assert words.revision > before


def test_memory_is_as_the_store_when_a_write_fails(words, store, clock):
    words.teach("lah")
    before = words.all()
    store.execute(
        "CREATE TRIGGER full BEFORE INSERT ON personal_words WHEN NEW.word = 'zzz' "
        "BEGIN SELECT RAISE(FAIL, 'full'); END"
    )
    with pytest.raises(StoreError, match="full"):
        words.observe("see tmr zzz")
    assert words.all() == before
    assert PersonalWords(store, VOCABULARY, clock).all() == before


def test_beyond_the_quota_the_rarest_and_oldest_go(words, clock, monkeypatch):
    monkeypatch.setattr(words_module, "MOST_WORDS", 3)
    for word, times in (("aaa", 2), ("bbb", 1), ("ccc", 1), ("ddd", 1)):
        clock.advance(1)
        write(words, word, times)
    words.teach("zzz")
    clock.advance(1)
    words.observe("eee")
    assert {word.form for word in words.all()} == {"aaa", "zzz", "eee"}
    words.observe("see you london")  # of a word of the model too
    assert len(words.all()) == 3


def test_writing_and_deciding_at_once(words):
    def write_all():
        for number in range(50):
            words.observe(f"word{number}x tmr")

    writers = [threading.Thread(target=write_all) for _ in range(3)]
    for writer in writers:
        writer.start()
    for _ in range(50):
        words.teach("lah")
        words.offered()
    for writer in writers:
        writer.join()
    assert {word.form: word.sightings for word in words.all()}["tmr"] == 150


@given(st.text(max_size=4))
def test_the_key_of_a_key_is_itself(text):
    assert key_of(key_of(text)) == key_of(text)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=4))
def test_any_message_and_any_word_is_taken_or_refused(texts):
    with TemporaryDirectory() as folder, Store(Path(folder) / "store.db", KEY) as store:
        words = PersonalWords(store, VOCABULARY, ManualClock())
        for text in texts:
            words.observe(redact(text))
            with suppress(WordRefused):
                words.teach(text)
                assert words.is_own(text)
        assert PersonalWords(store, VOCABULARY, ManualClock()).all() == words.all()
