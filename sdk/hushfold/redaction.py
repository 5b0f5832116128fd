"""What must never be stored, taken out of a message before it is: addresses, links, long numbers, passwords.

Each such span becomes the placeholder that the model knows for it. The rules are wider than the tokenizer's, since
a word too many that is lost costs little, and one too few that is kept costs much.
"""

from __future__ import annotations

import re

_LONG_NUMBER = 7  # digits; of shorter ones (prices, times, years) the model sees no more than single digits
_SECRET = 8  # characters

_SURROGATES = re.compile("[\ud800-\udfff]")  # halves of characters, which no encoding takes
# Repetitions are bounded, so that matching takes linear time.
_LINK = re.compile(r"[a-z][a-z0-9+.-]{1,20}://\S+ | www\.\S+", re.VERBOSE | re.IGNORECASE)
_EMAIL = re.compile(r"[^\s@<>]{1,64}@[^\s@<>]{0,255}\w")
_DOMAIN = re.compile(  # alone if its ending is a common one, or any with a path
    r"(?<![\w-]) (?:[\w-]{1,63}\.){1,8} (?: (?:com|org|net|edu|gov|io|app|dev)\b (?:/\S*)? | [a-z]{2,24}/\S* )",
    re.VERBOSE | re.IGNORECASE,
)
# Telephone and card numbers are written in groups, with up to two separators between digits.
_NUMBER = re.compile(rf"[+(]{{0,2}}\d(?:[ \t().\-/]{{0,2}}\d){{{_LONG_NUMBER - 1},}}")
_RUN = re.compile(rf"[^\s<>]{{{_SECRET},}}")


def redact(text: str) -> str:
    """`text` with `<email>`, `<url>` and `<number>` in place of what must not be stored.

    A run of eight or more characters that mixes digits, letters and either both cases or symbols is taken for a
    password and becomes `<number>` too.
    """
    text = _SURROGATES.sub("", text)
    text = _LINK.sub("<url>", text)  # before addresses: what stands before an @ may be a password
    text = _EMAIL.sub("<email>", text)
    text = _DOMAIN.sub("<url>", text)
    text = _NUMBER.sub("<number>", text)
    return _RUN.sub(lambda run: "<number>" if _looks_secret(run.group()) else run.group(), text)


def _looks_secret(run: str) -> bool:
    run = run.strip(".,;:!?\"'()[]")
    lower = any(character.islower() for character in run)
    upper = any(character.isupper() for character in run)
    digit = any(character.isdigit() for character in run)
    symbol = any(character.isprintable() and character.isascii() and not character.isalnum() for character in run)
    return len(run) >= _SECRET and digit and (lower or upper) and (lower + upper + symbol) >= 2
