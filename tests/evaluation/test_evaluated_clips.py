"""Recordings from their files, who was trained on, and where in a recording the word is."""

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from tone_words import clip, tone, write_set

from hushfold_evaluation.errors import UsageError
from hushfold_evaluation.voice.clips import COMMANDS, RATE, Clip, by_speaker, digest, held_out, read, spoken
from hushfold_models.voice import clips as trained_on
from hushfold_models.voice.config import COMMANDS as TRAINED_COMMANDS


def test_a_set_is_read_as_it_was_written(tmp_path):
    written = [clip("left"), clip("open", "ben"), Clip(tone("two"), "2", "anna")]
    write_set(tmp_path, "words", written)
    found = read("words", tmp_path)
    assert [(each.word, each.speaker) for each in found] == [("left", "anna"), ("open", "ben"), ("two", "anna")]
    for each, before in zip(found, written, strict=True):
        np.testing.assert_allclose(each.pcm, before.pcm, atol=1e-6)
        assert each.pcm.dtype == np.float32
    assert [each.word for each in read("words", tmp_path, lambda row: row["speaker"] == "ben")] == ["open"]


def test_takes_stay_in_the_order_of_the_table():
    takes = [clip(word, speaker) for _ in range(3) for word in ("up", "go") for speaker in ("anna", "ben")]
    found = by_speaker(takes)
    assert list(found) == ["anna", "ben"]
    assert found["ben"]["go"] == [each for each in takes if (each.word, each.speaker) == ("go", "ben")]


def damage_table(folder):
    (folder / "words.csv").write_text("file,label\n00000.ogg,left\n")


def damage_sound(folder):
    content = (folder / "words.tar").read_bytes()
    (folder / "words.tar").write_bytes(content[:512] + b"no sound" + content[520:])


def lose_sound(folder):
    with (folder / "words.csv").open("a") as table:
        table.write("99999.ogg,left,anna,100\n")


def other_rate(folder):
    import io
    import tarfile

    content = io.BytesIO()
    soundfile.write(content, np.zeros(800), 8_000, format="WAV")
    with tarfile.open(folder / "words.tar", "w") as tar:
        member = tarfile.TarInfo("00000.ogg")
        member.size = len(content.getvalue())
        tar.addfile(member, io.BytesIO(content.getvalue()))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "words.csv").unlink(), "words.csv cannot be read: there is no such file"),
        (lambda folder: (folder / "words.tar").unlink(), "words.tar cannot be read: there is no such file"),
        (lambda folder: (folder / "words.tar").write_bytes(b"no tar" * 200), "words.tar cannot be read"),
        (damage_table, "words.csv cannot be read: there is not everywhere a speaker"),
        (damage_sound, "words.tar cannot be read: 00000.ogg is no sound"),
        (lose_sound, "99999.ogg"),
        (other_rate, "8000 samples a second, not 16000"),
    ],
)
def test_what_cannot_be_read_is_named_with_what_to_do(tmp_path, damage, said):
    write_set(tmp_path, "words", [clip("left")])
    damage(tmp_path / "speech")
    with pytest.raises(UsageError) as raised:
        read("words", tmp_path)
    assert said in str(raised.value)
    assert "HUSHFOLD_DATA" in raised.value.advice
    assert "\n" not in str(raised.value)


@given(st.text(min_size=1))
def test_the_same_speakers_are_held_out_here_as_in_training(speaker):
    assert held_out(speaker) == trained_on.held_out(trained_on.Clip(np.zeros(1, np.float32), "left", speaker))


@given(st.lists(st.floats(-1, 1, width=32), min_size=1))
def test_the_same_noises_are_held_out_here_as_in_training(samples):
    pcm = np.array(samples, np.float32)
    assert held_out(digest(pcm)) == trained_on.held_out(trained_on.Clip(pcm, "rain", ""))


def test_about_one_speaker_in_six_is_held_out():
    assert 130 < sum(held_out(f"sc-{number}") for number in range(1000)) < 210


def test_the_base_words_are_those_of_the_model():
    assert COMMANDS == TRAINED_COMMANDS


@pytest.mark.parametrize("noise", [0.0, 0.003])
def test_a_word_is_where_it_is_loud(noise):
    pcm = tone("left", seconds=0.4, around=0.3) + noise * np.random.default_rng(0).standard_normal(RATE)
    start, end = spoken(pcm.astype(np.float32))
    assert start == pytest.approx(0.3 * RATE, abs=160)
    assert end == pytest.approx(0.7 * RATE, abs=160)


@pytest.mark.parametrize("pcm", [np.zeros(0), np.zeros(100), np.zeros(RATE), np.ones(RATE)])
def test_what_has_no_word_is_taken_as_a_whole(pcm):
    assert spoken(pcm.astype(np.float32)) == (0, len(pcm))
