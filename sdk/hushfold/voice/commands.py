"""The user's own way of saying the commands of the base, learned from corrections and confirmations.

A gate decides whether it is used: each recording that was kept is recognised without the user's way of saying commands,
and with it, which is then that of all the other recordings. Only if that is right more often the recordings count. It
is asked again whenever they change, so that what no longer helps is switched off by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .matching import Measure, Utterance, distances
from .recognition import Heard, KnownWord, Recogniser, Said

LEAST_RECORDINGS = 4
"""With fewer nothing is proven."""


@dataclass(frozen=True, slots=True)
class CommandTrial:
    """How many of the user's recordings are recognised as what they are.

    Attributes:
        recordings: how many there are, of commands and of what was none.
        before: of them, without the user's own way of saying commands.
        now: with that of the other recordings.
    """

    recordings: int
    before: int
    now: int

    @property
    def adopted(self) -> bool:
        """Whether the user's own way of saying commands is used."""
        return self.recordings >= LEAST_RECORDINGS and self.now > self.before


class OwnCommands:
    """The recordings of commands as they are used in recognition. Immutable.

    Args:
        recogniser: what recognises them.
        kept: what the user has confirmed, corrected or rejected, each with what it is; None is no command.
        taught: words that were taught, which compete.
        measure: tells distances.

    Attributes:
        trial: what the gate has found.
        words: the commands as the user says them; none unless that is adopted.
        never: what was rejected, which counts at once. What is only like it is a matter of these words: see
            `Recogniser.decide`.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        kept: Sequence[tuple[str | None, Said]],
        taught: Sequence[KnownWord] = (),
        measure: Measure = distances,
    ) -> None:
        words = _by_name(kept, measure)
        before = now = 0
        for word, said in kept:
            others = [each for each in kept if each[1] is not said]
            never = _rejected(others)
            known = [each for each in words if each.name != word]
            known += _by_name([each for each in others if each[0] == word], measure)
            without = recogniser.decide(said, taught, never, measure=measure)
            before += _name(without) == word
            now += _name(recogniser.decide(said, [*taught, *known], never, measure=measure)) == word
        self.trial = CommandTrial(len(kept), before, now)
        self.words: tuple[KnownWord, ...] = tuple(words) if self.trial.adopted else ()
        self.never: tuple[Utterance, ...] = tuple(_rejected(kept))


def _name(heard: Heard | None) -> str | None:
    return heard.word if heard else None


def _by_name(kept: Iterable[tuple[str | None, Said]], measure: Measure) -> list[KnownWord]:
    """The commands among what was said."""
    said: dict[str, list[Utterance]] = {}
    for word, each in kept:
        if word is not None:
            said.setdefault(word, []).append(each.utterance)
    return [KnownWord.of(name, recordings, measure) for name, recordings in said.items()]


def _rejected(kept: Iterable[tuple[str | None, Said]]) -> list[Utterance]:
    return [each.utterance for word, each in kept if word is None]
