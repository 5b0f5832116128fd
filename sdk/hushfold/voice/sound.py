"""One spoken word as it is kept and compared: features, never audio.

sound = SpokenSound.of(pcm)      # pcm of a segment, or of a recording with one word in it
sound.features                   # log-mel, at the same level whoever spoke and however far away
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from hushfold_format.logmel import BANDS, FLOOR, FRAME, HOP, Features, log_mel

from ..errors import AudioError
from .audio import Audio

LONGEST = 196  # frames of features: two seconds
SHORTEST = 12  # frames of a word
_PEAK = 0.5  # what every sound is brought to
_SILENT = 0.002  # peak below which nothing was recorded
_QUIET, _LOUD, _SHARE = 0.1, 0.97, 0.35  # quantiles of the level, and where between them a word begins and ends
_DEPTH = np.float32(5)  # below the loud frames, at least: about 20 dB
_NO_ROOM = float(np.log(FLOOR)) + 0.3  # mean level of the quiet frames, below which there is none
_STEADY = 0.45  # of the mean log-mel level, 2 dB: white noise has 0.4, people's words have 0.56 or more
_MARGIN = 2  # frames kept around a word


@dataclass(frozen=True, slots=True, eq=False)
class SpokenSound:
    """A sound with one word in it: log-mel `features[n, BANDS]` of at most `LONGEST` frames."""

    features: Features

    @classmethod
    def of(cls, pcm: Audio) -> Self:
        """The sound of a segment or recording, brought to one level.

        Of a longer one the loudest two seconds count.

        Raises:
            AudioError: there is nothing in it: silence, or too short for a word.
        """
        if len(pcm) < FRAME + (SHORTEST - 1) * HOP:
            raise AudioError(f"{len(pcm)} samples are too short for a word", "Record at least a quarter of a second")
        peak = float(np.abs(pcm).max())
        if peak < _SILENT:
            raise AudioError("the recording is silent", "Check the microphone and speak louder, or closer to it")
        features = log_mel(pcm * np.float32(_PEAK / peak))
        if len(features) > LONGEST:
            level = np.cumsum(np.concatenate(([0.0], np.exp(features).sum(axis=1))))
            start = int(np.argmax(level[LONGEST:] - level[:-LONGEST]))
            features = features[start : start + LONGEST]
        return cls(features)

    @property
    def gated(self) -> bool:
        """Whether there is no room around the word: silence, as from a microphone that suppresses noise."""
        return float(np.quantile(self.features, _QUIET, axis=0).mean()) < _NO_ROOM

    @property
    def steady(self) -> bool:
        """Whether its level hardly changes, from its quiet frames to its loud ones: whatever it is, it is no word."""
        low, high = np.quantile(self.features.mean(axis=1), (_QUIET, _LOUD))
        return bool(high - low < _STEADY)

    def word(self) -> slice:
        """Where in the features the word is, by level; all of them if the level hardly changes."""
        level = np.convolve(np.pad(self.features.mean(axis=1), 2, mode="edge"), np.full(5, 0.2), "valid")
        low, high = np.quantile(level, (_QUIET, _LOUD))
        inside = np.flatnonzero(level >= low + _SHARE * (high - low))
        return slice(max(0, int(inside[0]) - _MARGIN), min(len(self.features), int(inside[-1]) + 1 + _MARGIN))

    def window(self, length: int) -> Features:
        """`length` frames around the word; where the sound has fewer, its own background stands for the rest."""
        word = self.word()
        start = (word.start + word.stop - length) // 2
        return self.between(start, start + length)

    def between(self, start: int, stop: int) -> Features:
        """Frames from `start` to `stop`, `[stop - start, BANDS]`: beyond the sound's ends it is as quiet as in it."""
        loud, quiet = np.quantile(self.features, (_LOUD, _QUIET), axis=0).astype(np.float32)
        # Where the recording was cut close to the word, its quietest frames still are of the word.
        background = np.minimum(quiet, loud - _DEPTH)
        frames = np.broadcast_to(background, (stop - start, BANDS)).copy()
        first = max(0, start)
        last = max(first, min(len(self.features), stop))
        frames[first - start : last - start] = self.features[first:last]
        return frames
