"""The user's own way of saying the commands of the base, learned from corrections and confirmations.

A gate decides whether it is used: each recording that was kept is recognised by the others of its user, with the base
alone and with the user's recordings beside it, and only if that is right more often the recordings count. It is asked
again whenever they change, so that what no longer helps is switched off by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .matching import Utterance
from .recognition import Heard, KnownWord, Recogniser
from .recordings import Recording
from .sound import SpokenSound

LEAST_RECORDINGS = 4
"""With fewer nothing is proven."""


@dataclass(frozen=True, slots=True)
class CommandTrial:
    """How many of the user's recordings are recognised.

    Attributes:
        recordings: how many there are.
        before: of them, by the base alone.
        now: by the base and the other recordings.
    """

    recordings: int
    before: int
    now: int

    @property
    def adopted(self) -> bool:
        """Whether the recordings are used."""
        return self.recordings >= LEAST_RECORDINGS and self.now > self.before


class OwnCommands:
    """The recordings of commands as they are used in recognition. Immutable.

    Args:
        recogniser: what sounds are to the model that is served.
        kept: what the user has confirmed, corrected or rejected; a recording without a word is none of them.
        taught: words that were taught, which compete.
    """

    def __init__(self, recogniser: Recogniser, kept: Sequence[Recording], taught: Sequence[KnownWord] = ()) -> None:
        heard = [(each.word, sound := SpokenSound(each.features), recogniser.utterance(sound)) for each in kept]
        utterances = [(word, utterance) for word, _, utterance in heard]
        own = _by_name(utterances)
        never = tuple(utterance for word, utterance in utterances if word is None)
        before = now = 0
        for word, sound, utterance in heard:
            rest = _by_name([(w, other) for w, other in utterances if w == word and other is not utterance])
            others = {**{name: known for name, known in own.items() if name != word}, **rest}
            still = [other for other in never if other is not utterance]
            before += _name(recogniser.recognise(sound, taught)) == word
            now += _name(recogniser.recognise(sound, [*taught, *others.values()], still)) == word
        self.trial = CommandTrial(len(heard), before, now)
        self.words: tuple[KnownWord, ...] = tuple(own.values()) if self.trial.adopted else ()
        self.never: tuple[Utterance, ...] = never


def _name(heard: Heard | None) -> str | None:
    return heard.word if heard else None


def _by_name(utterances: Sequence[tuple[str | None, Utterance]]) -> dict[str, KnownWord]:
    """The commands among what was said, by name."""
    said: dict[str, list[Utterance]] = {}
    for word, utterance in utterances:
        if word is not None:
            said.setdefault(word, []).append(utterance)
    return {name: KnownWord.of(name, recordings) for name, recordings in said.items()}
