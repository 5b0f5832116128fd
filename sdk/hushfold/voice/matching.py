"""How alike two spoken words are: dynamic time warping (Sakoe and Chiba 1978) over two views of the sound.

*Cepstra* describe the sound as it is, in frames of 20 ms, normalised over the word so that neither microphone nor level
counts. *Frames* of the voice model, 40 ms each, describe what is said, and care less about who says it. Speakers say a
word alike each time, so a few recordings of theirs, compared with both views, are enough to know it by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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


class Utterance(NamedTuple):
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


def warp(spoken: Frames, others: Sequence[Frames]) -> NDArray[np.float32]:
    """Mean Euclidean distance along the best alignment with each of several others, `[others]`.

    A step forward in both counts twice, so that every alignment has the same weight in all (Sakoe and Chiba's symmetric
    form 0). All others are aligned at once, one antidiagonal of their grids after the other.
    """
    if not others:
        return np.zeros(0, np.float32)
    lengths = np.array([len(other) for other in others])
    padded = np.zeros((len(others), int(lengths.max()), spoken.shape[1]), np.float32)
    for row, other in zip(padded, others, strict=True):
        row[: len(other)] = other
    products = padded @ spoken.T
    squares = np.square(spoken).sum(axis=1) + np.square(padded).sum(axis=2)[..., None]
    local = np.sqrt(np.maximum(squares - 2 * products, 0))  # [other, frame of the other, frame of the spoken]
    rows, columns = local.shape[1:]
    best = np.full((len(others), rows + 1, columns + 1), np.inf, np.float32)
    best[:, 0, 0] = 0
    for diagonal in range(2, rows + columns + 1):
        row = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        column = diagonal - row
        here = local[:, row - 1, column - 1]
        straight = np.minimum(best[:, row - 1, column], best[:, row, column - 1]) + here
        best[:, row, column] = np.minimum(straight, best[:, row - 1, column - 1] + 2 * here)
    aligned: NDArray[np.float32] = best[np.arange(len(others)), lengths, columns] / (lengths + columns).astype(
        np.float32
    )
    return aligned


def _cosines() -> NDArray[np.float32]:
    """The orthonormal discrete cosine transform (type II) of the bands, coefficients 0 to `CEPSTRA`, `[BANDS, 13]`."""
    angles = np.pi / BANDS * np.outer(np.arange(BANDS) + 0.5, np.arange(CEPSTRA + 1))
    basis = np.cos(angles) * np.sqrt(2 / BANDS)
    basis[:, 0] /= np.sqrt(2)
    cosines: NDArray[np.float32] = basis.astype(np.float32)
    return cosines


_COSINES = _cosines()
