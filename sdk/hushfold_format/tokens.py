"""From text as it is typed on a phone to tokens.

A word is a run of letters, digits and apostrophes, also a single digit ("c u 2"); what is no word is punctuation, an
emoji, or a detail (number, link, address) that becomes a placeholder. Tokens keep their place in the text, so that
casing can be looked up.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .vocabulary import BEGIN, PLACEHOLDERS, Vocabulary

_APOSTROPHES = "'\u2019\u2018\u02bc"
_PICTOGRAPH = "[\U0001f300-\U0001faff\u2600-\u27bf\u2b05-\u2b55\u231a-\u23ff]"
_MODIFIERS = "\ufe0e\ufe0f\U0001f3fb-\U0001f3ff"  # text or emoji presentation, skin tone
_EMOJI = rf"{_PICTOGRAPH}[{_MODIFIERS}]*(?:\u200d{_PICTOGRAPH}[{_MODIFIERS}]*)*"
_FLAG = "[\U0001f1e6-\U0001f1ff]{2}"

# Alternatives in order: the first that matches wins. Bounded repetition keeps the address rule linear.
_TOKEN = re.compile(
    rf"""
    (?P<placeholder> {"|".join(PLACEHOLDERS)} )
  | (?P<url>         https?://\S+ | www\.\S+ )
  | (?P<email>       \w[\w.+-]{{0,63}}@[\w-]{{1,63}}(?:\.[\w-]{{1,63}})+ )
  | (?P<word>        (?:[^\W_]|[{_APOSTROPHES}])+ )
  | (?P<emoji>       {_EMOJI} | {_FLAG} )
  | (?P<emoticon>    [:;=]-?[()] )
  | (?P<repeated>    \.{{2,}} | !{{2,}} | \?{{2,}} )
  | (?P<other>       \S )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_TO_APOSTROPHE = {ord(mark): "'" for mark in _APOSTROPHES}
_TO_PLAIN_EMOJI = re.compile(f"[{_MODIFIERS}]")
_GROWING = ("word", "url", "email")  # what the next key may make longer
_LONGEST_REPEAT = 3  # "!!!!!!" is the same token as "!!!"


class Token(NamedTuple):
    """A piece of text: `text` is what the vocabulary is asked for, `source[start:end]` what was typed."""

    text: str
    start: int
    end: int


class Context(NamedTuple):
    """What stands before the cursor.

    `ids` are those of the finished tokens, with `BEGIN` in front, and `words` their texts in lower case; `partial` is
    the word being typed.
    """

    ids: list[int]
    words: list[str]
    partial: str


def tokenize(text: str) -> list[Token]:
    """Split a message into tokens, in order and without overlap; white space is dropped.

    Curly apostrophes become straight ones, numbers of two and more digits `<number>`, links `<url>`, addresses
    `<email>`. Placeholders that the text already holds pass through.
    """
    return [Token(_normalise(match), match.start(), match.end()) for match in _TOKEN.finditer(text)]


def context_ids(text_before_cursor: str, vocabulary: Vocabulary) -> Context:
    """What a next-word model needs to know of the text before the cursor.

    A word, link or address that touches the cursor is still being typed and is returned as `partial` (as typed,
    with straight apostrophes); everything before it is context.
    """
    matches = list(_TOKEN.finditer(text_before_cursor))
    partial = ""
    at_cursor = bool(matches) and matches[-1].end() == len(text_before_cursor)
    if at_cursor and matches[-1].lastgroup in _GROWING:
        partial = matches.pop().group().translate(_TO_APOSTROPHE)
    words = [_normalise(match).lower() for match in matches]
    return Context([BEGIN, *vocabulary.encode(words)], words, partial)


def _normalise(match: re.Match[str]) -> str:
    text = match.group()
    match match.lastgroup:
        case "word":
            return "<number>" if len(text) > 1 and text.isdigit() else text.translate(_TO_APOSTROPHE)
        case "url":
            return "<url>"
        case "email":
            return "<email>"
        case "placeholder":
            return text.lower()
        case "emoji":
            return _TO_PLAIN_EMOJI.sub("", text)
        case "repeated":
            return text[:_LONGEST_REPEAT]
        case _:
            return text
