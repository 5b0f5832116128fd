"""Audio, as all of the voice knows it: 16 kHz, mono, float32 in [-1, 1], in blocks of any length.

Whatever an app has is turned into that here: integers or floating point, one channel or more, any sample rate.
"""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import AudioError, VoiceError

Audio = NDArray[np.float32]  # samples[n], 16 kHz

RATE = 16_000  # samples a second
MOST_CHANNELS = 32

_FULL_SCALE = {"int16": 2.0**15, "int32": 2.0**31}
_FLOATS = ("float32", "float64")
_LOUDEST = 8.0  # times full scale, 18 dB: codecs overshoot, but not by that; beyond, it was scaled as integers are
_RATES = (4_000, 768_000)  # Hz


def as_audio(block: ArrayLike) -> Audio:
    """A block of samples as audio, in memory of its own. Its sample rate stays as it is: see `ResampleStream`.

    Args:
        block: samples[n] or samples[n, channels], which are averaged; int16 or int32 of full scale, or float32 or
            float64 in [-1, 1]. What is a little above 1 is clipped. May be empty.

    Raises:
        AudioError: another type or shape; NaN or infinite values; floating-point values in the range of integers.
    """
    try:
        samples = np.asarray(block)
    except ValueError as error:
        raise AudioError(
            f"audio cannot be made from this: {error}", "Give an array, every row of the same length"
        ) from error
    kind = samples.dtype.name
    if kind not in _FULL_SCALE and kind not in _FLOATS:
        raise AudioError(
            f"audio cannot be made from values of type {kind}",
            "Give an array of int16, int32, float32 or float64; numpy.frombuffer(data, numpy.int16) makes one of bytes",
        )
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 1 <= samples.shape[1] <= MOST_CHANNELS):
        raise AudioError(
            f"audio cannot be made from an array of shape {samples.shape}",
            f"Give samples[n], or samples[n, channels] with 1 to {MOST_CHANNELS} channels",
        )
    with np.errstate(all="ignore"):  # what is no number is found below
        if samples.ndim == 2:
            samples = samples.mean(axis=1, dtype=np.float64)
        audio = np.asarray(samples / _FULL_SCALE.get(kind, 1.0), np.float32)
    if audio.size:
        peak = float(np.abs(audio).max())
        if not np.isfinite(peak):
            raise AudioError("the audio has values that are not numbers (NaN or infinite)", "Look at what recorded it")
        if peak > _LOUDEST:
            raise AudioError(
                f"the audio has values up to {peak:.6g}, and floating-point audio lies between -1 and 1",
                "Divide what was scaled as integers are, by 32768 for 16 bits, or give it as integers",
            )
    return _clipped(audio)


def _clipped(audio: Audio) -> Audio:
    clipped: Audio = np.clip(audio, -1.0, 1.0, dtype=np.float32)
    return clipped


def needs_extra(package: str, what_for: str) -> VoiceError:
    """The error for a package of the extra `voice` that is not installed."""
    return VoiceError(
        f"{what_for} needs the package {package}, which is not installed", "pip install 'hushfold[voice]'"
    )


class ResampleStream:
    """A stream of audio at any sample rate, turned into one at 16 kHz (band-limited: soxr, quality HQ).

    What comes out lags behind what went in: by 14 ms at most at rates from 22 to 96 kHz, 30 at 8 kHz; at 16 kHz by
    nothing.

    Args:
        rate: samples a second of what is fed, 4,000 to 768,000.

    Raises:
        AudioError: not such a rate.
        VoiceError: soxr is not installed.
    """

    def __init__(self, rate: float) -> None:
        if not (isinstance(rate, Real) and _RATES[0] <= rate <= _RATES[1]):
            raise AudioError(
                f"audio with {rate!r} samples a second cannot be used",
                f"Give the number of samples a second, between {_RATES[0]:,} and {_RATES[1]:,}",
            )
        self.rate = rate
        self._stream: Any = None  # at 16 kHz there is nothing to do
        if rate != RATE:
            try:
                import soxr
            except ModuleNotFoundError as error:
                raise needs_extra("soxr", f"audio at {rate:g} Hz") from error
            # The engine for variable rates, since the other one works in blocks, and lags three to four times as much.
            # Its sound is 0.1 ms later.
            self._stream = soxr.ResampleStream(rate, RATE, 1, dtype="float32", quality="HQ", vr=True)

    def feed(self, block: ArrayLike) -> Audio:
        """What is ready at 16 kHz after this block, any that `as_audio` takes; may be empty. Raises what it does."""
        audio = as_audio(block)
        return audio if self._stream is None else self._resampled(audio)

    def flush(self) -> Audio:
        """The rest, at the end of the stream. What is fed afterwards begins a new one."""
        if self._stream is None:
            return np.empty(0, np.float32)
        rest = self._resampled(np.empty(0, np.float32), last=True)
        self._stream.clear()
        return rest

    def _resampled(self, audio: Audio, last: bool = False) -> Audio:
        # A band-limited signal overshoots where the one that went in was clipped.
        return _clipped(self._stream.resample_chunk(audio, last=last))
