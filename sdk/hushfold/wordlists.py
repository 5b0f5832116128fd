"""Lists of words, as people bring them from other keyboards and take them along: bytes in, entries out, and back.

What a file is follows from what is in it, its name only tells Hunspell's `.dic`:

    plain list         a word on each line; or a word, a tab or comma, and how often it was seen; `#` begins a comment
    hushfold           such a list with two columns more and `_HEADER` on top: what `to_bytes` writes
    Gboard             zip with `dictionary.txt`: shortcut, word, language, tab-separated (versions 1 and 2)
    FUTO keyboard      its backup, a zip with `userdictionary.json`: a list of objects with `word` and `shortcut`
    SwiftKey           JSON: an object with the list `terms`
    AOSP, FlorisBoard  the combined format: ` word=...,f=...` or ` w=...;f=...` below a line `dictionary=...`
    AnySoftKeyboard    XML: `<value word="..."/>` in a `<pref>`; before, and in AOSP, `<w f="...">...</w>`
    Hunspell           `.dic`: an optional count, then word/flags; stems only, `*word` is forbidden
    macOS, iOS         text replacements: a property list of `phrase` and `shortcut`

HeliBoard and Android itself export no words: the former keeps them in the latter's dictionary.

The `f` of these formats is a rank from 0 to 255 and not a number of sightings: it is not taken over. Whatever a file
has that is not taken over is reported with its place and the reason; comments and empty lines are not.
"""

from __future__ import annotations

import io
import json
import plistlib
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from xml.parsers import expat

from .errors import WordRefused

LARGEST = 8 * 2**20  # bytes, also of what is in an archive
MOST_ENTRIES = 100_000  # more is a language's dictionary, of which a person's words would be lost in the crowd
MOST_SIGHTINGS = 10**9 - 1

_HEADER = "# Hushfold words, version 1: word, sightings, standing, lead of its form"
_GBOARD = "# Gboard Dictionary version:"
_MEMBERS = ("dictionary.txt", "userdictionary.json")
_COUNT = re.compile(r"\d{1,9}", re.ASCII)
_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_ADVICE = "Give a text file with one word on each line, or the words that another keyboard has exported"
_SHORTCUT = "a shortcut; only the word that it stands for is taken over"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that a list holds and that may be a word."""

    line: int  # where, from 1; position in the list for formats without lines
    text: str
    sightings: int | None = None  # None where the list gives none: a word that a person has put there
    standing: str = ""  # `words.Standing`, of lists that know it
    lead: int = 0  # how much more often this form was written than others, of lists that know it


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that a list holds and that was not taken over."""

    line: int  # as in `Entry`
    text: str
    reason: str


def parse(content: bytes, name: str) -> list[Entry | Skipped]:
    """What a file holds, in order.

    Args:
        content: of the file.
        name: of the file, for messages, and for the ending `.dic`.

    Raises:
        WordRefused: it is too large or too long, empty, binary, damaged or of no format that is known here.
    """
    _require_small(len(content), name)
    if content.startswith(b"PK\x03\x04"):
        content, name = _unpacked(content, name)
    items = list(islice(_items(content, name), MOST_ENTRIES + 1))
    if len(items) > MOST_ENTRIES:
        raise WordRefused(
            f"{name} has more than {MOST_ENTRIES:,} entries", "Give a list of the user's own words, or split the list"
        )
    return items


def to_bytes(entries: Iterable[Entry]) -> bytes:
    """A list that `parse` reads back, and everybody else as words with counts. UTF-8."""
    rows = (f"{entry.text}\t{entry.sightings or 0}\t{entry.standing}\t{entry.lead}\n" for entry in entries)
    return "".join([_HEADER, "\n", *rows]).encode()


def _items(content: bytes, name: str) -> Iterable[Entry | Skipped]:
    if content.startswith(b"bplist00"):
        return _text_replacements(content, name)
    text = _decoded(content, name)
    beginning = text.lstrip()[:1000]
    if beginning.startswith(("{", "[")):
        return _json(text, name)
    if beginning.startswith("<"):
        return _text_replacements(content, name) if "<plist" in beginning else _xml(text, name)
    # Not str.splitlines, which splits at characters that may stand in a line.
    numbered = enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1)
    lines = [(number, line) for number, line in numbered if line.strip()]
    if not lines:
        raise WordRefused(f"{name} is empty", _ADVICE)
    first = lines[0][1].strip()
    if first.startswith("dictionary="):
        return _combined(lines[1:], ";" if ";" in first else ",")
    if name.lower().endswith(".dic"):
        return _hunspell(lines[1:] if _COUNT.fullmatch(first) else lines)
    told = [(number, line) for number, line in lines if not line.lstrip().startswith("#")]
    if first.startswith(_GBOARD):
        return _gboard(told)
    return _own(told) if first == _HEADER else _plain(told)


# ---------------------------------------------------------------- containers


def _require_small(size: int, name: str) -> None:
    if size > LARGEST:
        raise WordRefused(f"{name} is larger than {LARGEST >> 20} MiB", "Split the list, or export it again")


def _unpacked(content: bytes, name: str) -> tuple[bytes, str]:
    """The one file of an archive that holds words, and its name."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            files = [file for file in archive.infolist() if not file.is_dir()]
            named = [file for file in files if file.filename.rsplit("/", 1)[-1] in _MEMBERS] or files
            if len(named) != 1:
                raise WordRefused(
                    f"{name} holds {len(files)} files, and it is not clear which has the words",
                    f"Unpack it and give that file, or an archive with one {' or '.join(_MEMBERS)}",
                )
            with archive.open(named[0]) as file:
                # The size that an archive states may be false: what counts is what comes out.
                unpacked = file.read(LARGEST + 1)
    except WordRefused:
        raise
    except Exception as error:  # of many kinds, depending on what is damaged
        raise WordRefused(
            f"{name} cannot be unpacked: {error}", "Unpack it and give the file with the words"
        ) from error
    inner = f"{named[0].filename} in {name}"
    _require_small(len(unpacked), inner)
    return unpacked, inner


def _decoded(content: bytes, name: str) -> str:
    encoding = next((encoding for mark, encoding in _BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise WordRefused(f"{name} is no text in UTF-8 or UTF-16", f"{_ADVICE}; save it as UTF-8") from error
    if "\0" in text:
        raise WordRefused(f"{name} is no text", _ADVICE)
    return text


# ---------------------------------------------------------------- formats


def _plain(lines: Iterable[tuple[int, str]]) -> Iterator[Entry | Skipped]:
    for number, line in lines:
        word, *rest = (field.strip().strip('"').strip() for field in re.split("[\t,]", line.strip()))
        if not rest:
            yield Entry(number, word)
        elif len(rest) == 1 and _COUNT.fullmatch(rest[0]):
            yield Entry(number, word, int(rest[0]))
        else:
            yield Skipped(number, line.strip(), "neither a word nor a word and how often it was seen")


def _own(lines: Iterable[tuple[int, str]]) -> Iterator[Entry | Skipped]:
    for number, line in lines:
        match line.split("\t"):
            case [word, sightings, standing, lead] if _COUNT.fullmatch(sightings) and _COUNT.fullmatch(lead.strip()):
                yield Entry(number, word, int(sightings), standing, int(lead))
            case _:
                yield Skipped(number, line.strip(), "not the four columns of this format")


def _gboard(lines: Iterable[tuple[int, str]]) -> Iterator[Entry | Skipped]:
    for number, line in lines:
        match line.split("\t"):
            case [shortcut, word, *_]:
                yield from _word_with_shortcut(number, word, shortcut)
            case _:
                yield Skipped(number, line.strip(), "not the columns of this format")


def _combined(lines: Iterable[tuple[int, str]], separator: str) -> Iterator[Entry | Skipped]:
    for number, line in lines:
        fields = {key.strip(): value.strip() for key, _, value in (f.partition("=") for f in line.split(separator))}
        word = fields.get("word") or fields.get("w")
        if word is not None and fields.get("not_a_word") != "true":
            yield from _word_with_shortcut(number, word, fields.get("shortcut") or fields.get("s"))
        elif word is not None:
            yield Skipped(number, word, "the list itself says that it is no word")
        elif "shortcut" in fields:
            yield Skipped(number, fields["shortcut"], _SHORTCUT)
        else:
            yield Skipped(number, line.strip(), "not a word; what follows what is not taken over")


def _hunspell(lines: Iterable[tuple[int, str]]) -> Iterator[Entry | Skipped]:
    """hunspell(5): flags stand behind a slash, a slash in a word behind a backslash, morphology behind white space."""
    for number, line in lines:
        if not line.startswith("#"):
            stem = re.split(r"(?<!\\)/|\t|\s+[a-z]{2}:", line.strip(), maxsplit=1)[0].replace("\\/", "/")
            yield Entry(number, stem.removeprefix("*"), standing="blocked" if stem.startswith("*") else "")


def _json(text: str, name: str) -> Iterator[Entry | Skipped]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WordRefused(f"{name} is damaged: {error}", "Export it again") from error
    items = document.get("terms") if isinstance(document, dict) else document
    if not isinstance(items, list):
        raise WordRefused(f"{name} is JSON, and not as SwiftKey or FUTO keyboard write it", _ADVICE)
    for position, item in enumerate(items, 1):
        if isinstance(item, dict):
            yield from _word_with_shortcut(position, item.get("word"), item.get("shortcut"))
        else:
            yield from _word_with_shortcut(position, item, None)


def _text_replacements(content: bytes, name: str) -> Iterator[Entry | Skipped]:
    try:
        items = plistlib.loads(content)  # refuses declarations of entities
    except Exception as error:  # of many kinds, depending on what is damaged
        raise WordRefused(f"{name} is damaged: {error}", "Export it again") from error
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise WordRefused(f"{name} is a property list, and not of text replacements", _ADVICE)
    for position, item in enumerate(items, 1):
        yield from _word_with_shortcut(position, item.get("phrase"), item.get("shortcut"))


def _xml(text: str, name: str) -> list[Entry | Skipped]:
    found: list[Entry | Skipped] = []
    preferences: list[dict[str, str]] = []  # values of each <pref> that is open
    word: list[str] | None = None  # pieces of the text of the <w> that is open

    def begin(tag: str, attributes: dict[str, str]) -> None:
        nonlocal word
        if tag == "pref":
            preferences.append({})
        elif tag == "value" and preferences:
            preferences[-1].update(attributes)
        elif tag == "w":
            word = []

    def end(tag: str) -> None:
        nonlocal word
        if tag == "pref":
            values = preferences.pop()
            if "word" in values and "freq" in values:  # others are settings
                found.append(Entry(parser.CurrentLineNumber, values["word"]))
        elif tag == "w" and word is not None:
            found.append(Entry(parser.CurrentLineNumber, "".join(word)))
            word = None

    def characters(piece: str) -> None:
        if word is not None:
            word.append(piece)

    def entity(*_: object) -> None:
        raise WordRefused(f"{name} declares entities of its own, which no list of words needs", _ADVICE)

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler, parser.EntityDeclHandler = characters, entity
    try:
        parser.Parse(text.encode(errors="replace"), True)
    except expat.ExpatError as error:
        raise WordRefused(f"{name} is damaged: {error}", "Export it again") from error
    if not found:
        raise WordRefused(f"{name} is XML without words as AnySoftKeyboard or AOSP write them", _ADVICE)
    return found


def _word_with_shortcut(line: int, word: Any, shortcut: Any) -> Iterator[Entry | Skipped]:
    """A word, and what another keyboard lets its user type for it."""
    if isinstance(word, str):
        yield Entry(line, word)
    else:
        # Not its content, which a property list can make grow beyond all bounds.
        yield Skipped(line, f"({type(word).__name__})", "not a text")
    if shortcut and isinstance(shortcut, str):
        yield Skipped(line, shortcut, _SHORTCUT)
