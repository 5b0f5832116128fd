"""The front end of the voice model, against SciPy's short-time Fourier transform and the mel scale's own words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import stft

from hushfold_format.logmel import (
    BANDS,
    FLOOR,
    FRAME,
    HIGHEST,
    HOP,
    LOWEST,
    SAMPLE_RATE,
    SPECTRUM,
    LogMelStream,
    frames,
    log_mel,
)


def _noise(samples: int, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def _tone(frequency: float, level: float = 0.5, samples: int = SAMPLE_RATE) -> np.ndarray:
    return (level * np.sin(2 * np.pi * frequency * np.arange(samples) / SAMPLE_RATE)).astype(np.float32)


def _edges() -> np.ndarray:
    """Frequencies (Hz) of the corners of the filters, `[BANDS + 2]`: equally far apart on the mel scale."""
    mels = np.linspace(*(1127 * np.log(1 + np.array([LOWEST, HIGHEST]) / 700)), BANDS + 2)
    return 700 * (np.exp(mels / 1127) - 1)


def _oracle(pcm: np.ndarray) -> np.ndarray:
    """The features by SciPy and by interpolation over mels, in float64, one filter after the other."""
    of_bin, _, spectrum = stft(
        pcm.astype(float),
        SAMPLE_RATE,
        window="hann",
        nperseg=FRAME,
        noverlap=FRAME - HOP,
        nfft=SPECTRUM,
        boundary=None,
        padded=False,
    )
    power = np.abs(spectrum.T * FRAME / 2) ** 2  # SciPy divides by the sum of the window
    mels, corners = (1127 * np.log(1 + f / 700) for f in (of_bin, _edges()))
    filters = [np.interp(mels, corners[band : band + 3], [0, 1, 0]) for band in range(BANDS)]
    return np.log(power @ np.array(filters).T + FLOOR)


@pytest.mark.parametrize("samples", [FRAME, FRAME + HOP - 1, FRAME + HOP, SAMPLE_RATE, 2 * SAMPLE_RATE + 77])
@pytest.mark.parametrize("level", [1e-4, 0.1, 1.0])
def test_features_are_scipy_s(samples: int, level: float) -> None:
    pcm = _noise(samples, level=level)
    features = log_mel(pcm)
    assert features.dtype == np.float32
    assert features.shape == (frames(samples), BANDS)
    assert np.allclose(features, _oracle(pcm), atol=1e-3)


def test_a_second_has_98_frames() -> None:
    """What the model's window is: whole frames of 25 ms, one every 10 ms."""
    assert frames(SAMPLE_RATE) == 98


@given(st.integers(0, 40_000))
def test_frames_are_whole_ones(samples: int) -> None:
    count = frames(samples)
    ends = [first + FRAME for first in range(0, samples, HOP) if first + FRAME <= samples]
    assert count == len(ends)
    assert log_mel(np.zeros(samples, np.float32)).shape == (count, BANDS)


@given(st.lists(st.integers(0, 3 * FRAME), max_size=30), st.integers(0, 2**32 - 1))
def test_a_stream_gives_what_the_whole_gives(blocks: list[int], seed: int) -> None:
    pcm = _noise(sum(blocks), seed)
    stream = LogMelStream()
    pieces = [stream.feed(block) for block in np.split(pcm, np.cumsum(blocks)[:-1])] if blocks else []
    streamed = np.concatenate([np.zeros((0, BANDS), np.float32), *pieces])
    assert streamed.shape == (frames(len(pcm)), BANDS)
    assert np.allclose(streamed, log_mel(pcm), atol=1e-4)


def test_a_frame_comes_with_the_sample_that_completes_it() -> None:
    stream = LogMelStream()
    assert len(stream.feed(_noise(FRAME - 1))) == 0
    assert len(stream.feed(_noise(1))) == 1
    assert len(stream.feed(_noise(HOP - 1))) == 0
    assert len(stream.feed(_noise(1))) == 1


def test_a_stream_keeps_less_than_a_frame() -> None:
    """It may run for days."""
    stream = LogMelStream()
    for block in np.split(_noise(SAMPLE_RATE), 50):
        stream.feed(block)
        assert len(stream._rest) < FRAME


@pytest.mark.parametrize("band", range(BANDS))
def test_a_pure_tone_is_loudest_in_its_band(band: int) -> None:
    assert (log_mel(_tone(_edges()[band + 1])).argmax(axis=1) == band).all()


@pytest.mark.parametrize("frequency", [20.0, 7_900.0])
def test_what_is_outside_of_the_bands_is_hardly_heard(frequency: float) -> None:
    inside, outside = (np.exp(log_mel(_tone(f))).sum(axis=1).mean() for f in (1_000.0, frequency))
    assert outside < inside / 100


def test_twice_as_loud_is_the_same_everywhere() -> None:
    pcm = _noise(SAMPLE_RATE)
    assert np.allclose(log_mel(2 * pcm) - log_mel(pcm), 2 * np.log(2), atol=1e-3)


def test_silence_is_the_floor() -> None:
    assert np.allclose(log_mel(np.zeros(SAMPLE_RATE, np.float32)), np.log(FLOOR))
    assert np.allclose(log_mel(_noise(SAMPLE_RATE, level=1e-7)), np.log(FLOOR), atol=1e-3)


@pytest.mark.parametrize("pcm", [np.ones(SAMPLE_RATE), -np.ones(SAMPLE_RATE), np.sign(_tone(3.0))])
def test_clipped_sounds_are_finite(pcm: np.ndarray) -> None:
    assert np.isfinite(log_mel(pcm.astype(np.float32))).all()


def test_a_buffer_that_is_filled_anew_changes_nothing() -> None:
    """Microphones hand out the same memory again and again."""
    whole, buffer, stream, found = _noise(1_280), np.empty(128, np.float32), LogMelStream(), []
    for block in np.split(whole, 10):
        buffer[:] = block
        found.append(stream.feed(buffer))
    assert np.allclose(np.concatenate(found), log_mel(whole), atol=1e-4)
