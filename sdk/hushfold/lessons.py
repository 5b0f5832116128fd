"""What a training session learns from: messages here, recordings in `voice.lessons`.

A session asks for what there is, which it remembers by id, and for its batches; it knows neither words nor sounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from hushfold_format import Batch, NextWordFiles, WindowBatch, batches, message_ids

from .store import Message, Store


class Example(Protocol):
    """One thing to learn from."""

    @property
    def id(self) -> int:
        """Never given out twice."""


class Lesson(Protocol):
    """Chosen examples, as the graph takes them."""

    @property
    def batches(self) -> int:
        """In one pass over the examples; 0 if there is nothing in them to learn."""

    def in_order(self, seed: int) -> Sequence[Batch] | Sequence[WindowBatch]:
        """The batches of one pass: the same for the same seed."""


Kept = TypeVar("Kept", bound=Example)


class Lessons(Protocol[Kept]):
    """Everything on this device that a model can learn from."""

    noun: str
    """What an example is called, in the plural."""
    prefix: str
    """Of the names under which checkpoints are kept: they go with what they were trained on, see `Store`."""

    def select(self, newest: int | None, most: int) -> Sequence[Kept]:
        """The newest examples, newest first, at most so many; with `newest`, of those with this id or a lower one."""

    def prepare(self, chosen: Sequence[Kept]) -> Lesson:
        """What the graph makes of them."""


class MessageLessons:
    """The messages that were typed here.

    Args:
        files: the next-word model.
        store: where they are.
    """

    noun, prefix = "messages", ""

    def __init__(self, files: NextWordFiles, store: Store) -> None:
        self._files, self._store = files, store

    def select(self, newest: int | None, most: int) -> list[Message]:
        return [message for message in self._store.messages() if newest is None or message.id <= newest][:most]

    def prepare(self, chosen: Sequence[Message]) -> MessageLesson:
        manifest = self._files.manifest
        ids = [message_ids(message.text, self._files.vocabulary) for message in chosen]
        return MessageLesson(ids, manifest.batch, manifest.time)


@dataclass(frozen=True, slots=True)
class MessageLesson:
    """Messages as token ids, and the static shape of a batch."""

    messages: list[list[int]]
    batch: int
    time: int

    @property
    def batches(self) -> int:
        return sum(1 for _ in batches(self.messages, self.batch, self.time))

    def in_order(self, seed: int) -> list[Batch]:
        return list(batches(self.messages, self.batch, self.time, seed=seed))
