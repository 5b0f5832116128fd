"""What the simulated people write: their messages in order of time, and which of them their phone learns from."""

from __future__ import annotations

import gzip
import json
import random
import stat
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from hushfold import Device
from hushfold.device import MODEL

from .errors import UsageError

MESSAGES = 300  # of one person, the first ones
LEARNED = 0.7  # share of them that is typed into the phone
TESTED = 40  # messages at most, of the rest
FEWEST = 16  # messages of a person who gets a phone

_GZIP = b"\x1f\x8b"
_WANTED = 'Give a file of JSON lines {"user": ..., "text": ...}, plain or gzip'


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who writes. `messages` are in order of time."""

    name: str
    messages: tuple[str, ...]
    about: str = ""

    model: ClassVar[str] = MODEL

    @property
    def identity(self) -> list[object]:
        """What tells this person from another, as JSON."""
        return [self.name, self.messages]

    def teach(self, device: Device) -> None:
        """Type everything into the device."""
        for message in self.messages:
            device.keyboard.learn(message)

    @property
    def learned(self) -> tuple[str, ...]:
        """What the phone may learn from."""
        return self.messages[: self._split]

    @property
    def held_out(self) -> tuple[str, ...]:
        """Later messages, which no phone ever sees: what suggestions are measured on."""
        return self.messages[self._split : MESSAGES][:TESTED]

    @property
    def _split(self) -> int:
        return int(LEARNED * len(self.messages[:MESSAGES]))


def read_people(path: Path) -> list[Person]:
    """The people in a file of JSON lines, `{"user": ..., "text": ...}`, plain or gzip, in order of time.

    Raises UsageError, naming the line, if it is no such file.
    """
    text = _read_text(path)
    if not text.strip():
        raise UsageError(f"the texts in {path} cannot be read: the file is empty", _WANTED)
    written: dict[str, list[str]] = {}
    # Not `splitlines`: JSON allows U+2028 and its like inside a text.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            user, message = _read_line(line, f"{path}, line {number}")
            written.setdefault(user, []).append(message)
    return [Person(user, tuple(messages)) for user, messages in written.items()]


def choose(people: Sequence[Person], count: int, rng: random.Random, *, again: bool = False) -> list[Person]:
    """`count` of the people who write enough, chosen by `rng`; with `again`, people may get a second phone.

    Raises UsageError if they are too few.
    """
    able = [person for person in people if len(person.messages) >= FEWEST]
    if not able or (len(able) < count and not again):
        raise UsageError(
            f"{count} phones need as many people with at least {FEWEST} messages each; the texts have {len(able)}",
            f"Ask for {len(able)} phones or fewer, or give more texts" if able else "Give other texts",
        )
    rounds, rest = divmod(count, len(able))
    return able * rounds + rng.sample(able, rest) if rounds else rng.sample(able, count)


def find(people: Sequence[Person], name: str | None) -> Person:
    """The person of that name; without one, who has written the most. Raises UsageError."""
    if name is None:
        return max(people, key=lambda person: len(person.messages))
    found = next((person for person in people if person.name == name), None)
    if found is None:
        names = ", ".join(person.name for person in people[:30])
        raise UsageError(f"nobody is called {name!r}", f"There are {names}{' ...' if len(people) > 30 else ''}")
    return found


def _read_text(path: Path) -> str:
    def unreadable(reason: str) -> UsageError:
        return UsageError(f"the texts in {path} cannot be read: {reason}", _WANTED)

    try:
        # Asked first: opening a pipe would wait for whoever writes into it.
        if not stat.S_ISREG(path.stat().st_mode):
            raise unreadable("it is a folder" if path.is_dir() else "it is no regular file")
        content = path.read_bytes()
    except FileNotFoundError:
        raise unreadable("there is no such file") from None
    except OSError as error:
        raise unreadable(error.strerror or str(error)) from None
    try:
        content = gzip.decompress(content) if content.startswith(_GZIP) else content
    except (OSError, EOFError, zlib.error):
        raise unreadable("the gzip file is damaged or cut off") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise unreadable(f"it is not UTF-8 text (byte {error.start:,})") from None


def _read_line(line: str, place: str) -> tuple[str, str]:
    try:
        record = json.loads(line)
        user, text = record["user"], record["text"]
    except (ValueError, KeyError, TypeError, RecursionError):  # the last for JSON that is nested too deep
        user = text = None
    if not (isinstance(user, str) and isinstance(text, str)):
        raise UsageError(f'{place}: a JSON object with the texts "user" and "text" is needed')
    return user, text
