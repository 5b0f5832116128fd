"""What was said: one of the commands that the base knows, or a word that the user taught.

The base gives probabilities of its commands. Words of the user's own are compared with what was said, recording by
recording; so are the user's own ways of saying the commands, once they have proven to be of use (`commands`). Who says
something is asked of neither: a stranger's voice is only further away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np

from hushfold_format import VoiceFiles

from ..model import Vector
from .matching import Utterance, cepstra, distances
from .model import STRIDE, VoiceModel
from .sound import LONGEST, SpokenSound

UNKNOWN, SILENCE = NO_COMMAND = ("unknown", "silence")
"""Labels of the base that are no command."""

THRESHOLD = 0.75
"""Distance up to which a word of the user's is recognised, before sensitivity: one foreign word in a hundred passes."""
LEAST_PROBABILITY = 0.6
"""Of a command of the base, before sensitivity."""

_NEAREST = 2  # recordings of a word that count: one may be odd
_SPREAD_WEIGHT = 0.5  # of how far apart a word's own recordings are
_TYPICAL_SPREAD = 0.62  # of a word with a single recording
_SOFTNESS = 0.06  # distance over which a score goes from 0.5 to 0.73
_LONG = 120  # frames: what is longer is heard second by second
_HOP = 10  # frames from one such second to the next
_SMOOTHED = 3  # seconds in a row that are averaged


class Heard(NamedTuple):
    """A word that was recognised; a score of 0.5 and more is above the threshold. `own`: by the user's recordings."""

    word: str
    score: float
    own: bool


@dataclass(frozen=True, slots=True, eq=False)
class KnownWord:
    """A word by its recordings.

    `spread` is their mean distance from one another: a word that is said differently each time may be further away.
    """

    name: str
    recordings: tuple[Utterance, ...]
    spread: float

    @classmethod
    def of(cls, name: str, recordings: Sequence[Utterance]) -> Self:
        """A word from at least one recording."""
        apart = [
            distances(one, [other for other in recordings if other is not one]).mean()
            for one in recordings
            if len(recordings) > 1
        ]
        return cls(name, tuple(recordings), float(np.mean(apart)) if apart else _TYPICAL_SPREAD)


class Recogniser:
    """Recognises words, given what they sound like. Keeps nothing. Safe to share between threads.

    Args:
        files: the model.
        vector: the weights to serve, `[size]`.

    Raises:
        ModelError: the vector is not this model's.
    """

    def __init__(self, files: VoiceFiles, vector: Vector) -> None:
        self.labels = files.labels
        self.commands = tuple(label for label in files.labels if label not in NO_COMMAND)
        self._model = VoiceModel(files, vector)

    def utterance(self, sound: SpokenSound) -> Utterance:
        """The word in a sound, as it is compared."""
        word = sound.word()
        frames = self._model.embed(sound.between(0, LONGEST))
        return Utterance(
            cepstra(sound.features[word]),
            frames[word.start // STRIDE : max(-(-word.stop // STRIDE), word.start // STRIDE + 1)],
        )

    def probabilities(self, sound: SpokenSound) -> Mapping[str, float]:
        """Of the base's labels, `unknown` and `silence` among them.

        In a sound with more than one word in it, a command counts that a few seconds in a row agree on.
        """
        if len(sound.features) <= _LONG:
            values = self._model.classify(sound.window(self._model.window))
        else:
            starts = range(0, len(sound.features) - self._model.window + 1, _HOP)
            each = np.stack([self._model.classify(sound.between(at, at + self._model.window)) for at in starts])
            smooth = [each[at : at + _SMOOTHED].mean(axis=0) for at in range(max(1, len(each) - _SMOOTHED + 1))]
            values = max(smooth, key=lambda row: max(row[self.labels.index(name)] for name in self.commands))
        return dict(zip(self.labels, map(float, values), strict=True))

    def recognise(
        self,
        sound: SpokenSound,
        words: Sequence[KnownWord] = (),
        never: Sequence[Utterance] = (),
        *,
        sensitivity: float = 0.0,
    ) -> Heard | None:
        """What was said; None if it was none of the commands and words, or nothing at all.

        Args:
            sound: with one word in it.
            words: what the user has taught, and the user's own ways of saying commands.
            never: sounds that were taken for a word and were none.
            sensitivity: added to what a word may be away, and to the logit of commands: above 0 more is recognised.
        """
        spoken = self.utterance(sound) if words else None
        if spoken is not None:
            name, distance = min(away(spoken, words).items(), key=lambda item: item[1])
            margin = THRESHOLD + sensitivity - distance
            if margin >= 0:
                return (
                    None
                    if _is_nearer(spoken, never, words, name)
                    else Heard(name, _score(margin / _SOFTNESS), own=True)
                )
        probabilities = self.probabilities(sound)
        name = max(self.commands, key=probabilities.__getitem__)
        if probabilities[name] < max(probabilities[label] for label in NO_COMMAND if label in probabilities):
            return None
        logit = _logit(probabilities[name]) - _logit(LEAST_PROBABILITY) + sensitivity
        return Heard(name, _score(logit), own=False) if logit >= 0 else None


def away(spoken: Utterance, words: Sequence[KnownWord]) -> dict[str, float]:
    """How far each word is from what was said: by its nearest recordings, less half of how far they are apart."""
    each = distances(spoken, [recording for word in words for recording in word.recordings])
    ends = np.cumsum([0, *(len(word.recordings) for word in words)])
    return {
        word.name: float(np.sort(each[start:stop])[:_NEAREST].mean()) - _SPREAD_WEIGHT * word.spread
        for word, (start, stop) in zip(words, pairwise(ends), strict=True)
    }


def _is_nearer(spoken: Utterance, never: Sequence[Utterance], words: Sequence[KnownWord], name: str) -> bool:
    """Whether what was said is nearer to a sound that was no word than to any recording of the word."""
    if not never:
        return False
    recordings = next(word.recordings for word in words if word.name == name)
    return bool(distances(spoken, never).min() < distances(spoken, recordings).min())


def _score(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def _logit(probability: float) -> float:
    bounded = min(max(probability, 1e-6), 1 - 1e-6)
    return float(np.log(bounded / (1 - bounded)))
