"""Recorded and made-up speech that the voice model learns from, and who is held out."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
import synthesisers
from hypothesis import given
from hypothesis import strategies as st

from hushfold_models.corpus import CorpusError
from hushfold_models.voice import clips, synthesis
from hushfold_models.voice.clips import Clip, held_out
from hushfold_models.voice.config import COMMANDS
from hushfold_models.voice.synthesis import UNTAUGHT, choose, pronounce, say, unmistakable

TONE = (0.5 * np.sin(np.arange(800) / 5)).astype(np.float32)


def _write(data: Path, table: str, sounds: Mapping[str, bytes]) -> Path:
    """A set `words` in the folder of the data sets, which is returned."""
    speech = data / "speech"
    speech.mkdir(parents=True)
    (speech / "words.csv").write_text("file,label,speaker,samples\n" + table)
    with tarfile.open(speech / "words.tar", "w") as tar:
        for name, content in sounds.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return data


def _sound(pcm: np.ndarray = TONE, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, pcm, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


class TestRecordings:
    def test_a_set_is_read_in_the_table_s_order(self, tmp_path: Path) -> None:
        data = _write(
            tmp_path, "b.wav,left,anna,800\na.wav,rain,,400\n", {"a.wav": _sound(TONE[:400]), "b.wav": _sound()}
        )
        first, second = clips.read("words", data)
        assert (first.label, first.speaker) == ("left", "anna")
        assert (second.label, second.speaker) == ("rain", "")
        assert np.array_equal(first.pcm, TONE)
        assert np.array_equal(second.pcm, TONE[:400])
        assert first.pcm.dtype == np.float32

    def test_one_channel_is_taken(self, tmp_path: Path) -> None:
        data = _write(tmp_path, "a.wav,left,anna,800\n", {"a.wav": _sound(np.stack([TONE, 0 * TONE], axis=1))})
        assert np.array_equal(clips.read("words", data)[0].pcm, TONE)

    @pytest.mark.parametrize("missing", ["words.csv", "words.tar"])
    def test_a_missing_file_is_named_and_who_names_its_folder(self, tmp_path: Path, missing: str) -> None:
        data = _write(tmp_path, "a.wav,left,anna,800\n", {"a.wav": _sound()})
        (data / "speech" / missing).unlink()
        advice = r"is missing: set \$HUSHFOLD_DATA to the folder that holds speech/"
        with pytest.raises(CorpusError, match=f"{re.escape(str(data / 'speech' / missing))} {advice}"):
            clips.read("words", data)

    @pytest.mark.parametrize(
        ("table", "sound", "message"),
        [
            ("b.wav,left,anna,800\n", _sound(), "b.wav"),
            ("a.wav,left,anna,800\n", b"no sound", "a.wav: Format not recognised"),
            ("a.wav,left,anna,800\n", _sound(rate=8_000), "a.wav has 8000 samples a second, not 16000"),
        ],
        ids=["not in the archive", "no sound", "another rate"],
    )
    def test_a_damaged_set_is_named(self, tmp_path: Path, table: str, sound: bytes, message: str) -> None:
        data = _write(tmp_path, table, {"a.wav": sound})
        with pytest.raises(CorpusError, match=f"the set 'words' in .*speech is damaged .*{message}"):
            clips.read("words", data)

    @pytest.mark.parametrize("name", ["words.csv", "words.tar"])
    def test_a_file_of_another_kind(self, tmp_path: Path, name: str) -> None:
        data = _write(tmp_path, "a.wav,left,anna,800\n", {"a.wav": _sound()})
        (data / "speech" / name).write_bytes(bytes(range(256)) * 4)
        with pytest.raises(CorpusError, match="damaged"):
            clips.read("words", data)

    def test_every_set_has_a_licence_that_lets_weights_be_shipped(self) -> None:
        """Attribution alone: nothing non-commercial, nothing that asks for the same licence."""
        assert all(re.fullmatch(r"CC BY \d\.0", source.licence) for source in clips.SOURCES)


class TestHeldOut:
    def test_a_speaker_is_held_out_or_not_whatever_is_said(self) -> None:
        assert len({held_out(Clip(pcm, word, "anna")) for word in ("left", "up") for pcm in (TONE, 2 * TONE)}) == 1

    def test_the_split_is_the_one_that_the_shipped_base_was_trained_with(self) -> None:
        """Who is held out must not change with the code: figures would be of speakers that were trained on."""
        found = [number for number in range(60) if held_out(Clip(TONE, "left", f"speaker {number}"))]
        assert found == [0, 3, 4, 10, 15, 17, 36, 38, 45, 47]

    def test_a_sound_without_a_speaker_stands_for_itself(self) -> None:
        sounds = [TONE * np.float32(level) for level in np.linspace(0.1, 1, 50)]
        found = [held_out(Clip(sound, "rain", "")) for sound in sounds]
        assert 1 <= sum(found) <= 20
        assert found == [held_out(Clip(sound.copy(), "another name", "")) for sound in sounds]

    @given(st.sets(st.text(min_size=1), min_size=1))
    def test_nobody_is_on_both_sides(self, speakers: set[str]) -> None:
        recorded = [Clip(TONE, word, speaker) for speaker in speakers for word in COMMANDS]
        unseen = {clip.speaker for clip in recorded if held_out(clip)}
        assert unseen.isdisjoint(clip.speaker for clip in recorded if not held_out(clip))


_ANY_WORD = st.one_of(st.sampled_from(sorted({*COMMANDS, *UNTAUGHT})), st.text("abcdeé-' 0", max_size=14))


class TestChoice:
    @given(st.lists(_ANY_WORD, unique=True), st.integers(0, 50), st.integers(0, 9))
    def test_no_command_and_none_of_the_words_that_others_are_measured_with(
        self, words: list[str], count: int, seed: int
    ) -> None:
        chosen = choose(words, count, seed)
        assert not {*COMMANDS, *UNTAUGHT} & set(chosen)
        assert set(chosen) <= set(words)
        assert len(chosen) == len(set(chosen)) <= count
        assert all(re.fullmatch("[a-z]{3,12}", word) for word in chosen)

    def test_frequent_words_are_all_there_and_rare_ones_are_drawn(self) -> None:
        words = [f"word{letters}" for letters in (f"{a}{b}" for a in "abcdefghij" for b in "abcdefghij")]
        first, second = (choose(words, 40, seed) for seed in (1, 2))
        assert first[:5] == second[:5] == words[:5]
        assert set(first) != set(second)
        assert first == choose(words, 40, 1)
        assert len(first) == len(second) == 40

    def test_words_that_sound_like_a_command_are_left_out(self) -> None:
        spelt = {word: tuple(word) for word in (*COMMANDS, *UNTAUGHT, "wonder", "tree")}
        spelt |= {"won": spelt["one"], "too": spelt["two"], "write": spelt["right"], "hm": ()}
        assert unmistakable(["wonder", "won", "too", "hm", "tree", "write"], spelt) == ["wonder", "tree"]


class TestWithoutSynthesisers:
    @pytest.fixture(autouse=True)
    def nothing_installed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))

    def test_pronunciations_say_what_to_install(self) -> None:
        with pytest.raises(CorpusError, match="espeak-ng is not installed: run make system-deps"):
            pronounce(["hello"])

    def test_speech_says_what_to_install_and_leaves_nothing_behind(self, tmp_path: Path) -> None:
        with pytest.raises(CorpusError, match=r"(espeak-ng|flite) is not installed: run make system-deps"):
            list(say(["hello"] * 20, tmp_path / "said", 0))
        assert not list((tmp_path / "said").iterdir())

    def test_a_synthesiser_that_fails_is_quoted(self, tmp_path: Path) -> None:
        for name in ("espeak-ng", "flite"):
            script = tmp_path / name
            script.write_text("#!/bin/sh\necho 'no voice today' >&2\nexit 3\n")
            script.chmod(0o755)
        with pytest.raises(CorpusError, match="espeak-ng failed: no voice today"):
            pronounce(["hello"])
        with pytest.raises(CorpusError, match="failed: no voice today"):
            list(say(["hello"], tmp_path / "said", 0))

    def test_a_synthesiser_that_leaves_words_out(self, tmp_path: Path) -> None:
        script = tmp_path / "espeak-ng"
        script.write_text("#!/bin/sh\necho 'h ə l oʊ'\n")
        script.chmod(0o755)
        assert pronounce(["hello"]) == {"hello": ("h", "ə", "l", "oʊ")}
        with pytest.raises(CorpusError, match="pronounced 1 of 2 words"):
            pronounce(["hello", "there"])


class TestSynthesis:
    @pytest.fixture(autouse=True)
    def installed(self) -> None:
        synthesisers.require()

    def test_words_become_phonemes_without_stress(self) -> None:
        assert pronounce(["hello", "seven"]) == {"hello": ("h", "ə", "l", "oʊ"), "seven": ("s", "ɛ", "v", "ə", "n")}

    def test_words_that_sound_alike_are_pronounced_alike(self) -> None:
        spelt = pronounce(["won", "too", "rite", *COMMANDS, *UNTAUGHT])
        assert unmistakable(["won", "too", "rite"], spelt) == []

    def test_every_voice_exists(self) -> None:
        """An unknown variant is no error: it sounds like the voice without one."""
        variants = subprocess.run(["espeak-ng", "--voices=variant"], capture_output=True, text=True, check=True).stdout
        assert {f"!v/{name}" for name in synthesis._VARIANTS} <= set(variants.split())
        for language in (*synthesis._ACCENTS, *synthesis._LANGUAGES):
            subprocess.run(["espeak-ng", "-q", "-v", language, "word"], check=True)
        listed = subprocess.run(["flite", "-lv"], capture_output=True, text=True, check=True).stdout
        assert set(synthesis._FLITE) <= set(listed.split())

    def test_words_are_said_and_said_again_from_their_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        words = ["banana", "mountain", "yes", "seventeen", "quick", "water"] * 3
        said = list(say(words, tmp_path / "said", 5))
        assert [each and each.word for each in said] == words
        for each in said:
            assert each is not None
            assert each.pcm.dtype == np.int16
            assert 2_000 < len(each.pcm) <= 15_500  # an eighth of a second to a second
            assert 24_000 < np.abs(each.pcm.astype(int)).max() < 28_000
            loud = np.flatnonzero(np.abs(each.pcm.astype(int)) >= 524)  # a fiftieth of the peak
            assert loud[0] <= 400
            assert len(each.pcm) - loud[-1] <= 800
        voices = {each.pcm.tobytes() for each in said if each and each.word == "banana"}
        assert len(voices) == 3
        monkeypatch.setenv("PATH", "")  # from here on nothing can be said
        again = list(say(words, tmp_path / "said", 5))
        assert [each and each.pcm.tobytes() for each in again] == [each and each.pcm.tobytes() for each in said]

    def test_the_same_seed_says_the_same(self, tmp_path: Path) -> None:
        first, same, other = (
            [each and each.pcm.tobytes() for each in say(["window"] * 6, tmp_path / name, seed)]
            for name, seed in (("first", 1), ("same", 1), ("other", 2))
        )
        assert first == same
        assert not set(first) & set(other)

    def test_what_was_said_for_other_words_is_not_taken_for_these(self, tmp_path: Path) -> None:
        list(say(["window", "garden"], tmp_path, 1))
        garden, again = say(["garden", "garden"], tmp_path, 1)
        (window,) = say(["window"], tmp_path, 1)
        (fresh,) = say(["garden"], tmp_path / "elsewhere", 1)
        assert garden is not None
        assert again is not None
        assert window is not None
        assert fresh is not None
        assert garden.pcm.tobytes() == fresh.pcm.tobytes() != window.pcm.tobytes()

    def test_what_comes_out_too_long_is_left_out(self, tmp_path: Path) -> None:
        (long,) = say(["incomprehensibilities" * 3], tmp_path, 1)
        assert long is None


@pytest.mark.parametrize("pcm", [np.zeros(0), np.zeros(5_000), np.ones(10)], ids=["empty", "silent", "a click"])
def test_what_is_no_word_is_left_out(pcm: np.ndarray) -> None:
    assert synthesis._trimmed(_sound(pcm.astype(np.float32))) is None
    assert synthesis._trimmed(b"") is None


def test_a_word_is_cut_out_brought_to_16_khz_and_to_one_level() -> None:
    rate = 22_050
    wave = np.zeros(rate, np.float32)
    wave[5_000:10_000] = 0.01 * np.sin(2 * np.pi * 440 * np.arange(5_000) / rate)
    pcm = synthesis._trimmed(_sound(wave, rate))
    assert pcm is not None
    assert len(pcm) == pytest.approx(5_000 * 16_000 / rate + 1_200, abs=80)
    assert np.abs(pcm.astype(int)).max() == pytest.approx(0.8 * 32_767, rel=0.01)
    spectrum = np.abs(np.fft.rfft(pcm[600:3_800].astype(float) * np.hanning(3_200)))
    assert spectrum.argmax() * 16_000 / 3_200 == pytest.approx(440, abs=5)
