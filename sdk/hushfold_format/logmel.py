"""The front end of the voice model: from sound to log-mel features.

Devices, training and evaluation compute it here, in float32 and outside the model's graph: quantised with the rest,
it would cost the model its quiet sounds. A frame is 25 ms under a Hann window, one every 10 ms; its power spectrum is
summed by 40 triangular filters that are equally wide on the mel scale (Stevens, Volkmann and Newman 1937, in the form
1127 ln(1 + f / 700)).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz
FRAME = 400  # samples, 25 ms
HOP = 160  # samples, 10 ms
BANDS = 40
SPECTRUM = 512  # points of the Fourier transform
LOWEST, HIGHEST = 60.0, 7_600.0  # Hz
_TOGETHER = 16  # frames: for a larger product a BLAS wakes its threads, which then spin for longer than the work takes
FLOOR = 1e-6  # added to the power of a band: what is far below a quiet room is silence

Samples = NDArray[np.float32]
"""Sound: 16 kHz, one channel, full scale at -1 and 1."""
Features = NDArray[np.float32]
"""`[frame, band]`, the natural logarithm of power."""


def frames(samples: int) -> int:
    """How many frames so many samples give: only whole ones."""
    return max(0, (samples - FRAME) // HOP + 1)


def log_mel(pcm: Samples) -> Features:
    """Features of a sound, `[frames(len(pcm)), BANDS]`."""
    count = frames(len(pcm))
    if not count:
        return np.zeros((0, BANDS), np.float32)
    cut = np.lib.stride_tricks.sliding_window_view(pcm, FRAME)[: count * HOP : HOP]
    spectrum = np.fft.rfft(cut * _WINDOW, SPECTRUM)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    features = np.empty((count, BANDS), np.float32)
    for start in range(0, count, _TOGETHER):
        np.matmul(power[start : start + _TOGETHER], _FILTERS, out=features[start : start + _TOGETHER])
    bands: Features = np.log(features + np.float32(FLOOR))
    return bands


class LogMelStream:
    """Features of a sound that comes in blocks of any size: the same as `log_mel` of the whole."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)

    def feed(self, pcm: Samples) -> Features:
        """Features of the frames that this block completes."""
        pcm = np.concatenate((self._rest, pcm))
        self._rest = pcm[frames(len(pcm)) * HOP :]
        return log_mel(pcm)


def _mel(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    mel: NDArray[np.float64] = 1127.0 * np.log1p(frequency / 700.0)
    return mel


def _filters() -> NDArray[np.float32]:
    """Weights of the bands, `[SPECTRUM // 2 + 1, BANDS]`."""
    of_bin = _mel(np.arange(SPECTRUM // 2 + 1) * (SAMPLE_RATE / SPECTRUM))[:, None]
    low, high = _mel(np.array([LOWEST, HIGHEST]))
    edges = np.linspace(low, high, BANDS + 2)
    rising = (of_bin - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - of_bin) / (edges[2:] - edges[1:-1])
    filters: NDArray[np.float32] = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return filters


_WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)).astype(np.float32)
_FILTERS = _filters()
