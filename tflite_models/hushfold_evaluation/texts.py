"""Whose messages are predicted, and the public texts that predictors are trained on."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError

MESSAGES = 300  # of one person, the first ones
LEARNED = 0.7  # share of them that is learned from
TESTED = 40  # messages at most, of the rest

_GZIP = b"\x1f\x8b"
_NOT_TRAINED_ON = ("sms-public",)  # kin of the clients' texts, under a licence that the shipped weights do not carry


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who writes. `messages` are in order of time."""

    name: str
    messages: tuple[str, ...]

    @property
    def learned(self) -> tuple[str, ...]:
        """What may be learned from."""
        return self.messages[: self._split]

    @property
    def held_out(self) -> tuple[str, ...]:
        """Later messages: what suggestions are measured on."""
        return self.messages[self._split : MESSAGES][:TESTED]

    @property
    def _split(self) -> int:
        return int(LEARNED * len(self.messages[:MESSAGES]))


def read_people(path: Path) -> list[Person]:
    """The people in a file of JSON lines, `{"user": ..., "time": ..., "text": ...}`, plain or gzip.

    The lines of one person stand in order of time. `time` is not read: exports write it in many ways, and not always.

    Raises:
        UsageError: it is no such file; the line is named.
    """
    written: dict[str, list[str]] = {}
    for number, line in enumerate(_read(path).split("\n"), 1):
        if line.strip():
            record = _record(line)
            user, text = record.get("user"), record.get("text")
            if not (isinstance(user, str) and isinstance(text, str)):
                raise UsageError(f'{path}, line {number}: a JSON object with the texts "user" and "text" is needed')
            written.setdefault(user, []).append(text)
    return [Person(user, tuple(messages)) for user, messages in written.items()]


def choose(people: Sequence[Person], count: int, seed: int) -> list[Person]:
    """`count` of the people who have something to be measured on, in the order of the file; 0 chooses all.

    Raises:
        UsageError: there are fewer.
    """
    able = [person for person in people if person.held_out]
    if not able or count > len(able):
        raise UsageError(
            f"--users is {count}; the texts have {len(able)} people with a message to test",
            f"Ask for {len(able)} or fewer; 0 takes all" if able else "Give other texts",
        )
    if not count:
        return able
    chosen = set(random.Random(seed).sample(range(len(able)), count))
    return [person for index, person in enumerate(able) if index in chosen]


@dataclass(frozen=True, slots=True)
class PublicTexts:
    """Messages that every predictor here is trained on before it meets anyone."""

    paths: tuple[Path, ...]

    @classmethod
    def find(cls, data: Path) -> PublicTexts:
        """Those in `data`/text/*-public.jsonl.gz that the shipped model is trained on too.

        Raises:
            UsageError: there are none.
        """
        suffix = "-public.jsonl.gz"
        found = sorted(path for path in (data / "text").glob("*" + suffix))
        paths = tuple(path for path in found if path.name.removesuffix(".jsonl.gz") not in _NOT_TRAINED_ON)
        if not paths:
            raise UsageError(
                f"there are no public texts in {data / 'text'}",
                f"Name a folder that has text/<name>{suffix} in it, by the environment variable HUSHFOLD_DATA",
            )
        return cls(paths)

    def messages(self) -> list[str]:
        """All of them, in order. Raises UsageError, naming the line, if a file is damaged."""
        messages = []
        for path in self.paths:
            for number, line in enumerate(_read(path).split("\n"), 1):
                if line.strip():
                    text = _record(line).get("text")
                    if not isinstance(text, str):
                        raise UsageError(f'{path}, line {number}: a JSON object with the text "text" is needed')
                    messages.append(text)
        return messages

    def digest(self) -> str:
        """Hash of the files (hex): what is trained on them is kept under this name."""
        digest = hashlib.sha256()
        for path in self.paths:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if content.startswith(_GZIP) else content).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise UsageError(f"the texts in {path} cannot be read: {reason}") from None


def _record(line: str) -> dict[str, object]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}
