"""Audio files are streams of 16 kHz mono; what cannot be read says why."""

import io
import sys

import numpy as np
import pytest
import soundfile
from synthetic_speech import voice

from hushfold.errors import AudioError, VoiceError
from hushfold.voice.files import read_audio

KINDS = {
    "wav": {"subtype": "PCM_16"},
    "flac": {},
    "ogg": {},
    "opus": {"format": "OGG", "subtype": "OPUS"},
}


def contents(source):
    return np.concatenate(list(read_audio(source)))


@pytest.fixture
def recording(tmp_path):
    """Writes samples to a file, and gives its path."""

    def write(samples, rate=16_000, name="recording.wav", **options):
        soundfile.write(tmp_path / name, samples, rate, **options)
        return tmp_path / name

    return write


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_every_kind_sounds_as_it_was_recorded(recording, kind, rate):
    said = np.repeat(voice(1.0), rate // 16_000)
    heard = contents(recording(said, rate, f"recording.{kind}", **KINDS[kind]))
    assert heard.dtype == np.float32
    assert len(heard) == 16_000
    spectrum, expected = (np.abs(np.fft.rfft(sound))[50:3000] for sound in (heard, voice(1.0)))
    assert np.corrcoef(spectrum, expected)[0, 1] > 0.95


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_depth_has_the_same_level(recording, subtype):
    said = voice(0.2)
    assert contents(recording(said, subtype=subtype)) == pytest.approx(said, abs=0.01)


def test_channels_are_averaged(recording):
    said = voice(0.2)
    assert contents(recording(np.column_stack([said, np.zeros_like(said)]))) == pytest.approx(said / 2, abs=1e-4)


def test_a_long_file_comes_in_short_blocks(recording):
    path = recording(np.zeros(700 * 8_000, np.int16), 8_000)
    lengths = [len(block) for block in read_audio(path)]
    assert sum(lengths) == 700 * 16_000
    assert max(lengths) <= 4_000


def test_an_open_file_will_do(recording):
    path = recording(voice(0.3))
    assert np.array_equal(contents(io.BytesIO(path.read_bytes())), contents(path))
    assert np.array_equal(contents(str(path)), contents(path))


def test_the_file_is_closed_when_nobody_reads_on(recording):
    blocks = read_audio(recording(voice(0.5)))
    next(blocks)
    file = blocks.gi_frame.f_locals["file"]
    blocks.close()
    assert file.closed


# ---------------------------------------------------------------- what cannot be read


def refused(source):
    """The error of the call itself, before anything is read."""
    with pytest.raises(AudioError) as caught:
        read_audio(source)
    assert caught.value.advice
    return caught.value.message


def test_a_file_that_is_not_there(tmp_path):
    assert refused(tmp_path / "none.wav") == f"there is no file {tmp_path / 'none.wav'}"


def test_a_folder(tmp_path):
    assert "is a folder" in refused(tmp_path)


@pytest.mark.parametrize("name", ["notes.txt", "notes.wav", "notes.raw"])
def test_a_file_that_is_no_audio(tmp_path, name):
    (tmp_path / name).write_text("no audio, whatever its name says")
    assert "cannot be read as audio" in refused(tmp_path / name)


def test_an_open_file_that_is_no_audio():
    assert refused(io.BytesIO(b"no audio")).startswith("the file cannot be read as audio")


def test_files_without_audio(tmp_path, recording):
    (tmp_path / "empty.wav").touch()
    assert "empty file" in refused(tmp_path / "empty.wav")
    assert "holds no audio" in refused(recording(np.empty(0)))


def test_a_rate_that_no_microphone_has(recording):
    assert "1000 samples a second" in refused(recording(voice(0.2), 1000))


@pytest.mark.parametrize("kind", ["flac", "ogg"])
def test_damage_further_on_is_found_on_the_way(recording, kind):
    path = recording(np.random.default_rng(0).normal(0, 0.1, 320_000), 16_000, f"recording.{kind}")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(content)
    blocks = read_audio(path)
    assert len(next(blocks)) > 0
    with pytest.raises(AudioError, match=r"recording\.\w+ is damaged"):
        list(blocks)


@pytest.mark.parametrize("kind", ["wav", "ogg"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_file_whose_end_is_missing_is_damaged(recording, kind, share):
    """libsndfile would read what is there and say nothing."""
    path = recording(np.random.default_rng(0).normal(0, 0.1, 160_000), 16_000, f"recording.{kind}")
    assert sum(map(len, read_audio(path))) == 160_000
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "is damaged: its end is missing" in refused(path)


@pytest.mark.parametrize("said", [0, 0xFFFFFFFF])
def test_a_recorder_that_did_not_know_the_length_is_believed(recording, said):
    path = recording(voice(0.5))
    content = bytearray(path.read_bytes())
    content[4:8] = said.to_bytes(4, "little")
    path.write_bytes(content)
    assert sum(map(len, read_audio(path))) == 8000


@pytest.mark.parametrize(("value", "what"), [(np.nan, "not numbers"), (3000.0, "up to 3000")])
def test_values_that_are_no_audio_name_their_file(recording, value, what):
    path = recording(np.full(100, value), subtype="FLOAT")
    with pytest.raises(AudioError, match=rf"recording\.wav.*{what}"):
        list(read_audio(path))


# ---------------------------------------------------------------- what is not installed


def test_without_soundfile_it_says_what_to_install(monkeypatch, recording):
    path = recording(voice(0.2))
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(VoiceError, match=r"soundfile.*pip install 'hushfold\[voice\]'"):
        read_audio(path)


def test_without_libsndfile_it_says_what_to_install(monkeypatch, recording):
    """The real package, where it finds neither the library that its wheel brings nor the system's."""
    path = recording(voice(0.2))
    monkeypatch.delitem(sys.modules, "soundfile")
    monkeypatch.setitem(sys.modules, "_soundfile_data", None)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    monkeypatch.setattr("os.path.isfile", lambda path: False)
    with pytest.raises(VoiceError, match="apt-get install libsndfile1"):
        read_audio(path)
