"""What was said: one of the commands that the base knows, or a word that the user taught.

The base gives probabilities of its commands. Words of the user's own are compared with what was said, recording by
recording; so are the user's own ways of saying the commands, once they have proven to be of use (`commands`). Who says
something is asked of neither: a stranger's voice is only further away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np

from hushfold_format import VoiceFiles

from ..model import Vector
from .matching import Measure, Utterance, cepstra, distances
from .model import STRIDE, VoiceModel
from .sound import LONGEST, SpokenSound

UNKNOWN, SILENCE = NO_COMMAND = ("unknown", "silence")
"""Labels of the base that are no command."""

# So that about one foreign word in a hundred passes, at most: chosen on 11 speakers who taught ten words, and on words
# of theirs and of three speakers of digits that are no commands, as recorded and cut out of their rooms. What they are
# worth, others say (docs/results.md).
THRESHOLD = 0.82
"""Distance up to which a word of the user's is recognised, before sensitivity."""
LEAST_PROBABILITY = 0.988
"""Of a command of the base, before sensitivity. Strangers pay for it: of their commands six in ten pass."""
LEAST_PROBABILITY_GATED = 0.96
"""The same where there is no room around the word: there the base is less sure, of right and wrong alike."""

_SPREAD_WEIGHT = 0.5  # of how far apart a word's own recordings are
_TYPICAL_SPREAD = 1.37  # of a word with a single recording
_SAME = 0.6  # distance below which a sound is the same: nobody says a word so alike twice
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
    def of(cls, name: str, recordings: Sequence[Utterance], measure: Measure = distances) -> Self:
        """A word from at least one recording."""
        apart = [measure(one, recordings[:number]) for number, one in enumerate(recordings) if number]
        return cls(name, tuple(recordings), float(np.concatenate(apart).mean()) if apart else _TYPICAL_SPREAD)


class Said:
    """What the model makes of a sound. Both views of it are computed when they are first asked for."""

    def __init__(self, sound: SpokenSound, model: VoiceModel, labels: Sequence[str]) -> None:
        self._sound, self._model, self._labels = sound, model, labels

    @cached_property
    def gated(self) -> bool:
        """Whether there is no room around the word."""
        return self._sound.gated

    @cached_property
    def utterance(self) -> Utterance:
        """The word in the sound, as it is compared."""
        word = self._sound.word()
        frames = self._model.embed(self._sound.between(0, LONGEST))
        return Utterance(
            cepstra(self._sound.features[word]),
            frames[word.start // STRIDE : max(-(-word.stop // STRIDE), word.start // STRIDE + 1)],
        )

    @cached_property
    def probabilities(self) -> Mapping[str, float]:
        """Of the base's labels, `unknown` and `silence` among them.

        In a sound with more than one word in it, a command counts that a few seconds in a row agree on.
        """
        sound, window = self._sound, self._model.window
        if len(sound.features) <= _LONG:
            values = self._model.classify(sound.window(window))
        else:
            starts = range(0, len(sound.features) - window + 1, _HOP)
            each = np.stack([self._model.classify(sound.between(at, at + window)) for at in starts])
            smooth = [each[at : at + _SMOOTHED].mean(axis=0) for at in range(max(1, len(each) - _SMOOTHED + 1))]
            commands = [number for number, label in enumerate(self._labels) if label not in NO_COMMAND]
            values = max(smooth, key=lambda row: float(row[commands].max()))
        return dict(zip(self._labels, map(float, values), strict=True))


class Recogniser:
    """Recognises words, given what they sound like. Keeps nothing. Safe to share between threads.

    Args:
        files: the model.
        vector: the weights to serve, `[size]`.

    Raises:
        ModelError: the vector is not this model's, or the model is none for this SDK.
    """

    def __init__(self, files: VoiceFiles, vector: Vector) -> None:
        self.labels = files.labels
        self.commands = tuple(label for label in files.labels if label not in NO_COMMAND)
        self._model = VoiceModel(files, vector)

    def warm_up(self) -> None:
        """Make the runtime ready, which takes a while, before somebody speaks."""
        self._model.warm_up()

    def hear(self, sound: SpokenSound) -> Said:
        """What the model makes of a sound, for `decide`."""
        return Said(sound, self._model, self.labels)

    def utterance(self, sound: SpokenSound) -> Utterance:
        """The word in a sound, as it is compared."""
        return self.hear(sound).utterance

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
            sensitivity: in logits, of the score too: above 0 more is recognised.
        """
        return self.decide(self.hear(sound), words, never, sensitivity=sensitivity)

    def decide(
        self,
        said: Said,
        words: Sequence[KnownWord],
        never: Sequence[Utterance],
        *,
        sensitivity: float = 0.0,
        measure: Measure = distances,
    ) -> Heard | None:
        """`recognise`, of what the model has made of the sound.

        A word of the user's that is near enough goes before a command of the base. What is nearer to a sound that was
        no word than to any recording of the word is none either; of a command without recordings, what is hardly to be
        told from that sound.
        """
        heard = _own(said, words, sensitivity, measure) or self._command(said, sensitivity)
        if heard is not None and never:
            recordings = next((word.recordings for word in words if word.name == heard.word), ())
            nearest = measure(said.utterance, recordings).min() if recordings else _SAME
            if measure(said.utterance, never).min() < nearest:
                return None
        return heard

    def _command(self, said: Said, sensitivity: float) -> Heard | None:
        """What the base alone recognises."""
        probabilities = said.probabilities
        name = max(self.commands, key=probabilities.__getitem__)
        if probabilities[name] < max(probabilities.get(label, 0.0) for label in NO_COMMAND):
            return None
        least = LEAST_PROBABILITY_GATED if said.gated else LEAST_PROBABILITY
        logit = _logit(probabilities[name]) - _logit(least) + sensitivity
        return Heard(name, _score(logit), own=False) if logit >= 0 else None


def away(spoken: Utterance, words: Sequence[KnownWord], measure: Measure = distances) -> dict[str, float]:
    """How far each word is from what was said: by more than half of its recordings, the nearest, less half of how far
    they all are apart. Of three and more one may be odd; and the nearest of many is always near, so one alone would let
    in more the more recordings there are."""
    each = measure(spoken, [recording for word in words for recording in word.recordings])
    ends = np.cumsum([0, *(len(word.recordings) for word in words)])
    return {
        word.name: float(np.sort(each[start:stop])[: (stop - start) // 2 + 1].mean()) - _SPREAD_WEIGHT * word.spread
        for word, (start, stop) in zip(words, pairwise(ends), strict=True)
    }


def _own(said: Said, words: Sequence[KnownWord], sensitivity: float, measure: Measure) -> Heard | None:
    """What is recognised by the user's recordings alone."""
    if not words:
        return None
    name, distance = min(away(said.utterance, words, measure).items(), key=lambda item: item[1])
    logit = (THRESHOLD - distance) / _SOFTNESS + sensitivity
    return Heard(name, _score(logit), own=True) if logit >= 0 else None


def _score(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


def _logit(probability: float) -> float:
    bounded = min(max(probability, 1e-6), 1 - 1e-6)
    return float(np.log(bounded / (1 - bounded)))
