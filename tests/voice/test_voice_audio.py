"""Whatever an app feeds becomes 16 kHz mono float32, or a clear error."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushfold.errors import AudioError, VoiceError
from hushfold.voice.audio import RATE, ResampleStream, as_audio


@pytest.mark.parametrize(("kind", "full"), [(np.int16, 2**15), (np.int32, 2**31), (np.float32, 1), (np.float64, 1)])
def test_full_scale_of_every_type_is_one(kind, full):
    audio = as_audio(np.array([-full, 0, full // 2 if full > 1 else 0.5], kind))
    assert audio.dtype == np.float32
    assert audio.tolist() == [-1, 0, 0.5]


@given(st.lists(st.integers(-(2**15), 2**15 - 1)))
def test_16_bits_come_back_as_they_were(values):
    audio = as_audio(np.array(values, np.int16))
    assert np.array_equal(np.round(audio * 2**15), values)


@pytest.mark.parametrize("order", ["<i2", ">i2"])
def test_the_order_of_bytes_does_not_matter(order):
    assert as_audio(np.array([2**14, -(2**14)], order)).tolist() == [0.5, -0.5]


def test_channels_are_averaged():
    assert as_audio(np.array([[1, 0], [0.5, -0.5], [0.2, 0.4]])).tolist() == pytest.approx([0.5, 0, 0.3])
    assert as_audio(np.zeros((4, 1), np.int16)).shape == (4,)


@pytest.mark.parametrize(
    "block", [np.empty(0, np.int16), np.empty((0, 2), np.float32), []], ids=["mono", "stereo", "list"]
)
def test_nothing_is_audio_of_no_length(block):
    assert as_audio(block).shape == (0,)


def test_it_is_in_memory_of_its_own():
    block = np.ones(4, np.float32)
    audio = as_audio(block)
    block[:] = 0
    assert audio.tolist() == [1, 1, 1, 1]


def test_a_little_too_loud_is_clipped():
    assert as_audio(np.array([1.4, -1.2])).tolist() == [1, -1]


@pytest.mark.parametrize(
    ("block", "what"),
    [
        (b"\0\0\0\0", "type bytes"),
        (np.zeros(3, np.int64), "type int64"),
        (np.zeros(3, np.uint8), "type uint8"),
        (np.zeros(3, complex), "type complex"),
        (["a"], "type str"),
        (None, "type object"),
        ([[1.0], [1.0, 2.0]], "cannot be made"),
        (np.float32(1), "shape ()"),
        (np.zeros((2, 3, 4)), "shape (2, 3, 4)"),
        (np.zeros((2, 16000)), "shape (2, 16000)"),
        (np.zeros((3, 0)), "shape (3, 0)"),
        (np.array([0, np.nan]), "not numbers"),
        (np.array([0, np.inf]), "not numbers"),
        (np.array([[np.inf, -np.inf]]), "not numbers"),
        (np.array([1e300]), "not numbers"),
        (np.array([0, 12000.0]), "up to 12000"),
    ],
)
def test_what_is_no_audio_is_refused(block, what):
    with pytest.raises(AudioError) as caught:
        as_audio(block)
    assert what in caught.value.message
    assert caught.value.advice


# ---------------------------------------------------------------- sample rates


def resampled(audio, rate, cuts):
    stream = ResampleStream(rate)
    pieces = [stream.feed(block) for block in np.split(audio, sorted(cuts))]
    return np.concatenate([*pieces, stream.flush()])


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_a_tone_stays_the_tone_that_it_is(rate):
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    heard = resampled(tone.astype(np.float32), rate, [])
    assert len(heard) == RATE
    phase = 2 * np.pi * 1000 * np.arange(RATE) / RATE
    waves = np.stack([np.sin(phase), -np.cos(phase)], axis=1)[400:-400]
    (sine, cosine), *_ = np.linalg.lstsq(waves, heard[400:-400], rcond=None)
    assert np.hypot(sine, cosine) == pytest.approx(0.5, abs=1e-4)
    assert 0 <= np.arctan2(cosine, sine) / (2 * np.pi * 1000) + 1e-9 < 0.15e-3  # seconds later: two samples or less
    assert np.abs(heard[400:-400] - waves @ [sine, cosine]).max() < 1e-3


def test_what_is_above_the_new_range_is_gone():
    tone = 0.5 * np.sin(2 * np.pi * 12_000 * np.arange(48_000) / 48_000)
    assert np.abs(resampled(tone, 48_000, []))[400:-400].max() < 1e-3


@given(cuts=st.lists(st.integers(0, 9600), max_size=20), rate=st.sampled_from([16_000, 44_100, 48_000]))
def test_how_a_stream_is_cut_does_not_matter(cuts, rate):
    audio = np.random.default_rng(1).uniform(-1, 1, 9600).astype(np.float32)
    assert np.array_equal(resampled(audio, rate, cuts), resampled(audio, rate, []))


@pytest.mark.parametrize(
    ("rate", "lag"),
    [(8_000, 0.031), (16_000, 0.0), (22_050, 0.0141), (44_100, 0.0141), (48_000, 0.0141), (96_000, 0.0141)],
)
def test_it_lags_by_no_more_than_it_says(rate, lag):
    stream, fed, ready = ResampleStream(rate), 0, 0
    for _ in range(100):
        ready += len(stream.feed(np.zeros(rate // 50, np.int16)))
        fed += rate // 50
        assert fed / rate - ready / RATE <= lag


def test_after_the_end_another_stream_begins():
    stream = ResampleStream(48_000)
    audio = np.random.default_rng(1).uniform(-1, 1, 4800).astype(np.float32)
    first = np.concatenate([stream.feed(audio), stream.flush()])
    assert np.array_equal(np.concatenate([stream.feed(audio), stream.flush()]), first)


@pytest.mark.parametrize("rate", [0, -1, 1000, 10**7, float("nan")])
def test_a_rate_that_cannot_be_is_refused(rate):
    with pytest.raises(AudioError, match="samples a second"):
        ResampleStream(rate)


def test_without_soxr_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "soxr", None)
    assert ResampleStream(RATE).feed([0.5]).tolist() == [0.5]
    with pytest.raises(VoiceError, match=r"soxr.*pip install 'hushfold\[voice\]'"):
        ResampleStream(48_000)


def test_the_voice_loads_without_its_extra():
    script = (
        "import sys\n"
        "sys.modules |= dict.fromkeys(('sounddevice', 'soundfile', 'soxr', 'webrtcvad'))\n"
        "from hushfold.voice import activity, audio, files, level, microphone, portaudio\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
