"""What can be measured: the interface. Clips are known by identity, so that what is made of one can be kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from .clips import Audio, Clip


class Guess(NamedTuple):
    """The word that is nearest to a clip, of those that are known.

    Attributes:
        distance: lower is nearer; comparable between clips. NaN where a recogniser tells none.
        accepted: whether the product gives the word out.
    """

    word: str
    distance: float
    accepted: bool


class Commands(Protocol):
    """Knows the base words."""

    def guess(self, clip: Clip) -> Guess: ...


class TaughtWords(Protocol):
    """Words of one speaker, as they are recognised. `refused`: recordings that were not taken for teaching."""

    @property
    def refused(self) -> int: ...

    def guess(self, clip: Clip) -> Guess: ...

    def without(self, word: str) -> TaughtWords:
        """The same without one of the words: nobody has taught it."""


class Teachable(Protocol):
    """Learns words by recordings of them."""

    def teach(self, takes: Mapping[str, Sequence[Clip]]) -> TaughtWords:
        """Words by their takes, for a speaker of whom nothing else is known."""


class Corrected(Protocol):
    """Knows the base words and learns how its speaker says them."""

    def recognise(self, clip: Clip) -> str | None: ...

    def correct(self, clip: Clip, word: str) -> None:
        """Say which base word it was."""


class Told(NamedTuple):
    """A word that was recognised in a stream. Times are seconds since the stream began; `own`: it was taught."""

    word: str
    start: float
    end: float
    own: bool


class Listening(Protocol):
    """Listens to one stream."""

    def feed(self, block: Audio) -> Sequence[Told]:
        """The words that are told now that this block was heard."""

    def flush(self) -> Sequence[Told]:
        """The words that are told since the stream is over."""
