"""How alike two spoken words are: dynamic time warping (Sakoe and Chiba 1978) over two views of the sound.

*Cepstra* describe the sound as it is, in frames of 20 ms, normalised over the word so that neither microphone nor level
counts. *Frames* of the voice model, 40 ms each, describe what is said, and care less about who says it. Speakers say a
word alike each time, so a few recordings of theirs, compared with both views, are enough to know it by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from hushfold_format.logmel import BANDS, Features

Frames = NDArray[np.float32]
"""`[frame, dimension]`"""

CEPSTRA = 12  # coefficients 1 to 12; the zeroth is the level
_STEP = 2  # frames of 10 ms from one cepstrum to the next
_SLOPE = 2.0  # weight of the differences beside the coefficients
_CEPSTRA_SCALE = 4.5  # a typical distance between different words, so that both views count in the same unit
_FRAMES_WEIGHT = 0.5
_TOGETHER = 32  # words that are aligned at once: what they need fits into a processor's cache


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Utterance:
    """A spoken word as it is compared: `cepstra[t, 25]` every 20 ms, `frames[t', width]` every 40 ms, of length one."""

    cepstra: Frames
    frames: Frames


def cepstra(features: Features) -> Frames:
    """Cepstra and their differences of a word's log-mel features, `[ceil(t / 2), 25]`."""
    coefficients = features @ _COSINES
    slopes = _SLOPE * np.gradient(coefficients, axis=0) if len(features) > 1 else np.zeros_like(coefficients)
    both = np.concatenate((coefficients[:, 1:], slopes), axis=1)[::_STEP]
    spread: Frames = (both - both.mean(axis=0)) / (both.std(axis=0) + np.float32(1e-6))
    return spread


def distances(spoken: Utterance, others: Sequence[Utterance]) -> NDArray[np.float32]:
    """How far a spoken word is from each of several others, `[others]`: 0 for the same sound, about 1 for another."""
    of_cepstra = warp(spoken.cepstra, [other.cepstra for other in others])
    of_frames = warp(spoken.frames, [other.frames for other in others])
    return of_cepstra / np.float32(_CEPSTRA_SCALE) + np.float32(_FRAMES_WEIGHT) * of_frames


Measure = Callable[[Utterance, Sequence[Utterance]], NDArray[np.float32]]
"""`distances`, or what gives the same."""


class KnownDistances:
    """`distances` that remembers: of two utterances it is computed once, as long as both are in use.

    For one thread at a time.
    """

    def __init__(self) -> None:
        self._from: WeakKeyDictionary[Utterance, WeakKeyDictionary[Utterance, float]] = WeakKeyDictionary()

    def __call__(self, spoken: Utterance, others: Sequence[Utterance]) -> NDArray[np.float32]:
        row = self._from.setdefault(spoken, WeakKeyDictionary())
        if missing := [other for other in others if other not in row]:
            for other, distance in zip(missing, distances(spoken, missing).tolist(), strict=True):
                row[other] = self._from.setdefault(other, WeakKeyDictionary())[spoken] = distance
        return np.array([row[other] for other in others], np.float32)


def warp(spoken: Frames, others: Sequence[Frames]) -> NDArray[np.float32]:
    """Mean Euclidean distance along the best alignment with each of several others, `[others]`; symmetric.

    A step forward in both counts twice, so that every alignment has the same weight in all (Sakoe and Chiba's symmetric
    form 0).
    """
    means = np.zeros(len(others), np.float32)
    by_length = np.argsort([len(other) for other in others], kind="stable")
    for at in range(0, len(others), _TOGETHER):
        chosen = by_length[at : at + _TOGETHER]
        means[chosen] = _aligned(spoken, [others[number] for number in chosen])
    return means


def _aligned(spoken: Frames, others: Sequence[Frames]) -> NDArray[np.float32]:
    """`warp` of others that are about as long as one another: one antidiagonal of all their grids after the other."""
    lengths = np.array([len(other) for other in others])
    count, rows, columns = len(others), int(lengths.max()), len(spoken)
    padded = np.zeros((rows, count, spoken.shape[1]), np.float32)
    for number, other in enumerate(others):
        padded[: len(other), number] = other
    # Row by row: for one large product a BLAS wakes its threads, which then spin for longer than all of this takes.
    products = (padded @ spoken.T).transpose(0, 2, 1)
    squares = np.square(spoken).sum(axis=1)[:, None] + np.square(padded).sum(axis=2)[:, None]
    # local[row, column, other], with columns beyond the grid. The same memory, read in rows that are one shorter, has
    # the antidiagonals in its columns: skewed[diagonal, row] is local[row, diagonal - row].
    width = columns + rows
    local = np.full((rows, width, count), np.inf, np.float32)
    local[:, :columns] = np.sqrt(np.maximum(squares - 2 * products, 0))
    skewed = np.ascontiguousarray(
        local.reshape(rows * width, count)[:-rows].reshape(rows, width - 1, count).transpose(1, 0, 2)
    )
    best = np.full((width + 1, rows + 1, count), np.inf, np.float32)  # [diagonal, row]; the grid is from 1 on
    best[0, 0] = 0
    for diagonal in range(2, width + 1):
        first, last = max(1, diagonal - columns), min(rows, diagonal - 1)
        here = skewed[diagonal - 2, first - 1 : last]
        straight = np.minimum(best[diagonal - 1, first - 1 : last], best[diagonal - 1, first : last + 1])
        both = best[diagonal - 2, first - 1 : last] + here
        best[diagonal, first : last + 1] = np.minimum(straight, both) + here
    means: NDArray[np.float32] = best[lengths + columns, lengths, np.arange(count)] / (lengths + columns)
    return means


def _cosines() -> NDArray[np.float32]:
    """The orthonormal discrete cosine transform (type II) of the bands, coefficients 0 to `CEPSTRA`, `[BANDS, 13]`."""
    angles = np.pi / BANDS * np.outer(np.arange(BANDS) + 0.5, np.arange(CEPSTRA + 1))
    basis = np.cos(angles) * np.sqrt(2 / BANDS)
    basis[:, 0] /= np.sqrt(2)
    cosines: NDArray[np.float32] = basis.astype(np.float32)
    return cosines


_COSINES = _cosines()
