"""From labelled seconds of sound to the static batches of a voice model's training graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .logmel import BANDS, Features


class WindowBatch(NamedTuple):
    """Inputs of `train` and `evaluate`: `features[b, t, BANDS]` and `mask[b]` (0 or 1) float32, `labels[b]` int32."""

    features: NDArray[np.float32]
    labels: NDArray[np.int32]
    mask: NDArray[np.float32]


def window_batches(
    windows: Sequence[Features], labels: Sequence[int], batch: int, *, seed: int | None = None
) -> Iterator[WindowBatch]:
    """Windows `[t, BANDS]`, all of one length, in batches; the last one is filled up with masked rows.

    Args:
        windows: features of each.
        labels: index of each one's label.
        batch: windows per batch.
        seed: shuffles them, the same way for the same seed; None keeps their order.
    """
    order = np.arange(len(windows)) if seed is None else np.random.default_rng(seed).permutation(len(windows))
    for first in range(0, len(order), batch):
        chosen = order[first : first + batch]
        filled = WindowBatch(
            np.zeros((batch, len(windows[0]), BANDS), np.float32),
            np.zeros(batch, np.int32),
            np.zeros(batch, np.float32),
        )
        for row, number in enumerate(chosen):
            filled.features[row], filled.labels[row], filled.mask[row] = windows[number], labels[number], 1
        yield filled
