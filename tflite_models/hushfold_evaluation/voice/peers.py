"""What Hushfold is measured beside: MFCC with a support-vector machine, and CMU's pocketsphinx.

The first is the yardstick for personal words, which anybody can write in an hour; everything in it follows the
reference, to the digit: frames of 25 ms every 10 ms under a Hann window, 40 mel bands from 80 to 7,600 Hz, what is
within 6 nats of the loudest frame, 13 cepstra without the zeroth, 20 points in time, normalised; C = 10. It has no word
for "none of them". Pocketsphinx (https://github.com/cmusphinx/pocketsphinx) has the US-English model that comes with
it, and a grammar of the base words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from scipy.fftpack import dct

from .clips import COMMANDS, RATE, Audio, Clip
from .recognisers import Guess

POCKETSPHINX = "pocketsphinx"

_FRAME, _HOP, _SPECTRUM = 400, 160, 512  # samples
_LOWEST, _HIGHEST = 80.0, 7_600.0  # Hz
_BANDS, _CEPSTRA, _POINTS = 40, 13, 20
_FLOOR = 1e-6
_WITHIN = 6.0  # nats of the loudest frame
_C = 10.0

_GRAMMAR = "#JSGF V1.0; grammar commands; public <command> = {};"

Vector = NDArray[np.float64]


def mfcc(pcm: Audio) -> Vector:
    """Cepstra of a word, `[260]`: 13 at each of 20 points in time."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(pcm, (0, _FRAME)), _FRAME)[::_HOP] * np.hanning(_FRAME)
    bands = np.log((np.abs(np.fft.rfft(frames, _SPECTRUM)) ** 2) @ _FILTERS + _FLOOR)
    level = bands.mean(axis=1)
    loud = np.flatnonzero(level > level.max() - _WITHIN)
    cepstra = dct(bands[loud[0] : loud[-1] + 1], axis=1, norm="ortho")[:, 1 : 1 + _CEPSTRA]
    points = np.linspace(0, len(cepstra) - 1, _POINTS)
    drawn = np.stack([np.interp(points, np.arange(len(cepstra)), column) for column in cepstra.T], axis=1)
    vector: Vector = ((drawn - drawn.mean(axis=0)) / (drawn.std(axis=0) + _FLOOR)).ravel()
    return vector


class Mfcc:
    """MFCC and a support-vector machine, for the words of any speaker. Keeps the cepstra of the clips that it met."""

    def __init__(self) -> None:
        self._vectors: dict[Clip, Vector] = {}

    def teach(self, takes: Mapping[str, Sequence[Clip]]) -> MfccWords:
        return MfccWords(self, takes)

    def vector(self, clip: Clip) -> Vector:
        if clip not in self._vectors:
            self._vectors[clip] = mfcc(clip.pcm)
        return self._vectors[clip]


class MfccWords:
    """A support-vector machine that has learned three words or more.

    It always takes a clip for one of them. The distance is by how much the largest decision value, the votes of a word
    against each other one and a fraction for how clear they are, is less than all votes: not made for rejection, but
    what there is.
    """

    refused = 0

    def __init__(self, features: Mfcc, takes: Mapping[str, Sequence[Clip]]) -> None:
        from sklearn.svm import SVC  # type: ignore[import-untyped]  # seconds, which nobody else should wait for

        self._features, self._takes = features, takes
        vectors = [features.vector(clip) for clips in takes.values() for clip in clips]
        self._machine = SVC(C=_C, gamma="scale").fit(vectors, [word for word, clips in takes.items() for _ in clips])

    def guess(self, clip: Clip) -> Guess:
        vector = self._features.vector(clip)[None]
        votes = float(self._machine.decision_function(vector).max())
        return Guess(str(self._machine.predict(vector)[0]), len(self._takes) - 1 - votes, accepted=True)

    def without(self, word: str) -> MfccWords:
        return MfccWords(self._features, {other: clips for other, clips in self._takes.items() if other != word})


def pocketsphinx_missing() -> bool:
    """Whether pocketsphinx is not installed."""
    return find_spec(POCKETSPHINX) is None


class Pocketsphinx:
    """Pocketsphinx with a grammar of the base words: it can say that it heard nothing, but not another word."""

    def __init__(self, words: Sequence[str] = COMMANDS) -> None:
        from pocketsphinx import Decoder  # type: ignore[import-untyped]

        self._decoder = Decoder(lm=None, loglevel="FATAL", samprate=RATE)
        self._decoder.add_jsgf_string("commands", _GRAMMAR.format(" | ".join(words)))
        self._decoder.activate_search("commands")

    def guess(self, clip: Clip) -> Guess:
        samples = np.round(np.clip(clip.pcm, -1, 1) * 32_767).astype("<i2")
        self._decoder.start_utt()
        self._decoder.process_raw(samples.tobytes(), full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        word = str(hypothesis.hypstr) if hypothesis else ""
        return Guess(word, math.nan, accepted=bool(word))


def _mel(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    mel: NDArray[np.float64] = 2595 * np.log10(1 + frequency / 700)
    return mel


def _filters() -> NDArray[np.float64]:
    """Weights of the bands, `[257, 40]`."""
    of_bin = _mel(np.linspace(0, RATE / 2, _SPECTRUM // 2 + 1))[:, None]
    low, high = _mel(np.array([_LOWEST, _HIGHEST]))
    edges = np.linspace(low, high, _BANDS + 2)
    rising = (of_bin - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - of_bin) / (edges[2:] - edges[1:-1])
    filters: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    return filters


_FILTERS = _filters()
