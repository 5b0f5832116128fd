"""What the base of the voice model hears, how it learns from it, and how it is measured."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import synthesisers
from hypothesis import given, settings
from hypothesis import strategies as st

from hushfold_format.logmel import BANDS, SAMPLE_RATE, log_mel
from hushfold_models.corpus import CorpusError
from hushfold_models.pretraining import Point
from hushfold_models.voice import augmentation, base, pretraining, synthesis
from hushfold_models.voice.augmentation import disturb, mask, silence
from hushfold_models.voice.clips import Clip, held_out
from hushfold_models.voice.config import COMMANDS, LABELS, SILENCE, SMALL, UNKNOWN, initial_vector, split
from hushfold_models.voice.pictures import draw_confusion
from hushfold_models.voice.pretraining import Example, Schedule, pretrain
from hushfold_models.voice.quality import Figures, measure

NOISES = [0.1 * np.random.default_rng(seed).standard_normal(2 * SAMPLE_RATE).astype(np.float32) for seed in range(3)]


def _tone(frequency: float, samples: int = 8_000) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * frequency * np.arange(samples) / SAMPLE_RATE)).astype(np.float32)


def _chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@st.composite
def _clips(draw: st.DrawFn) -> np.ndarray:
    """Speech as it may come: from a sample to two seconds, silent, quiet, or cut at full scale."""
    samples = draw(st.one_of(st.sampled_from([1, 2, 100, 12_799, 12_800, 16_000, 32_000]), st.integers(1, 32_000)))
    level = draw(st.sampled_from([0.0, 1e-6, 0.01, 1.0, 100.0]))
    sound = _chance(draw(st.integers(0, 99))).standard_normal(samples) * level
    return np.clip(sound, -1, 1).astype(np.float32)


class TestAugmentation:
    @settings(deadline=None)
    @given(_clips(), st.integers(0, 2**32 - 1))
    def test_any_clip_becomes_a_second_that_can_be_heard(self, clip: np.ndarray, seed: int) -> None:
        before = clip.copy()
        sound = disturb(clip, NOISES, _chance(seed))
        assert sound.shape == (SAMPLE_RATE,)
        assert sound.dtype == np.float32
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() < 7  # full scale, with white noise as loud
        assert np.array_equal(clip, before)
        assert np.isfinite(log_mel(sound)).all()

    @given(st.integers(0, 2**32 - 1))
    def test_silence_is_a_second_of_noise(self, seed: int) -> None:
        sound = silence(NOISES, _chance(seed))
        assert sound.shape == (SAMPLE_RATE,)
        assert sound.dtype == np.float32
        assert 1e-4 < sound.std() < 0.3

    def test_the_same_draws_do_the_same(self) -> None:
        clip = _tone(440)
        assert np.array_equal(disturb(clip, NOISES, _chance(1)), disturb(clip, NOISES, _chance(1)))
        assert not np.array_equal(disturb(clip, NOISES, _chance(1)), disturb(clip, NOISES, _chance(2)))

    def test_noise_is_never_taken_from_beyond_its_end(self) -> None:
        second = [NOISES[0][:SAMPLE_RATE]]
        for seed in range(20):
            assert len(disturb(_tone(440), second, _chance(seed))) == SAMPLE_RATE
            assert augmentation._background(second, _chance(seed)).std() == pytest.approx(1, abs=1e-3)

    @given(st.integers(1, 12_000), st.integers(0, 99))
    def test_a_short_word_stays_whole_wherever_it_is_put(self, samples: int, seed: int) -> None:
        sound = augmentation._placed(np.ones(samples, np.float32), _chance(seed))
        assert sound.sum() == samples
        assert len(np.flatnonzero(np.diff(sound))) <= 2

    @given(st.integers(12_801, 40_000), st.integers(0, 99))
    def test_of_a_long_clip_the_middle_is_kept(self, samples: int, seed: int) -> None:
        sound = augmentation._placed(np.arange(1, samples + 1, dtype=np.float32), _chance(seed))
        middle = sound[SAMPLE_RATE // 2]
        assert abs(middle - samples / 2) <= 1_602

    @given(st.integers(0, 99))
    def test_of_a_gated_clip_the_word_is_left_and_the_room_around_it_is_gone(self, seed: int) -> None:
        room = 0.002 * _chance(seed).standard_normal(16_000).astype(np.float32)
        room[6_000:10_000] += _tone(440, 4_000)
        gated = augmentation._gated(room, _chance(seed))
        assert np.array_equal(gated[6_000:10_000], room[6_000:10_000])
        assert not gated[: 6_000 - 2_500].any()
        assert not gated[10_000 + 2_500 :].any()
        kept = np.flatnonzero(gated)
        assert kept[0] <= 6_000 - 300
        assert np.abs(gated[kept[0] : kept[0] + 40]).max() < 0.001  # softly

    def test_a_third_of_the_clips_is_heard_without_its_room(self) -> None:
        room = 0.05 * _chance().standard_normal(16_000).astype(np.float32)
        room[6_000:10_000] += _tone(440, 4_000)
        quietest = [
            np.sort(np.square(disturb(room, NOISES, _chance(seed))).reshape(-1, 160).mean(axis=1))[5]
            / np.square(disturb(room, NOISES, _chance(seed))).max()
            for seed in range(300)
        ]
        assert 0.04 < np.mean(np.array(quietest) < 1e-5) < 0.2  # and without noise over it

    def test_a_faster_speaker_is_shorter_and_higher(self) -> None:
        fast = augmentation._at_speed(_tone(1_000, 16_000), 1.25)
        assert len(fast) == 12_800
        assert np.abs(np.fft.rfft(fast * np.hanning(12_800))).argmax() * SAMPLE_RATE / 12_800 == pytest.approx(
            1_250, abs=2
        )

    def test_speeds_places_levels_and_noise_vary(self) -> None:
        sounds = [disturb(_tone(1_000), NOISES, _chance(seed)) for seed in range(200)]
        peaks = np.array([np.abs(sound).max() for sound in sounds])
        assert peaks.min() < 0.05
        assert peaks.max() > 0.9
        spectra = np.array([np.abs(np.fft.rfft(sound)) for sound in sounds])
        pitches = spectra.argmax(axis=1)
        assert 840 < pitches.min() < 900
        assert 1_120 < pitches.max() < 1_190
        quiet = np.array([np.median(np.abs(sound)) / np.abs(sound).max() for sound in sounds])
        assert (quiet > 0.1).any()  # in noise
        assert (quiet < 0.01).any()  # without

    @settings(deadline=None)
    @given(_clips(), _clips(), st.integers(0, 99))
    def test_any_two_clips_can_be_spliced(self, one: np.ndarray, other: np.ndarray, seed: int) -> None:
        spliced = augmentation.splice(one, other, _chance(seed))
        assert spliced.dtype == np.float32
        assert len(spliced) <= 0.65 * (len(one) + len(other)) + 1
        assert np.abs(spliced).max(initial=0) <= 1
        assert disturb(spliced, NOISES, _chance(seed)).shape == (SAMPLE_RATE,)

    def test_a_spliced_word_begins_as_one_and_ends_as_the_other(self) -> None:
        one, other = np.pad(_tone(1_000), 3_000), np.pad(_tone(3_000), 1_000)
        for seed in range(20):
            spliced = augmentation.splice(one, other, _chance(seed))
            assert 5_000 < len(spliced) < 11_000  # both without the silence around them
            ends = (spliced[:2_600], spliced[-2_600:])
            assert [round(np.abs(np.fft.rfft(end)).argmax() / 2_600 * SAMPLE_RATE, -3) for end in ends] == [
                1_000,
                3_000,
            ]
            assert np.abs(np.diff(spliced)).max() < 0.4  # no click at the seam

    def test_neighbouring_bands_of_some_windows_are_hidden(self) -> None:
        features = _chance().normal(-5, 3, (400, 98, BANDS)).astype(np.float32)
        before = features.copy()
        mask(features, _chance(1))
        changed = (features != before).any(axis=1)
        hidden = changed.any(axis=1)
        assert 0.2 < hidden.mean() < 0.4
        for window, was, bands in zip(features[hidden], before[hidden], changed[hidden], strict=True):
            (at,) = np.nonzero(bands)
            assert len(at) <= 6
            assert np.array_equal(at, np.arange(at[0], at[-1] + 1))
            assert np.allclose(window[:, at], was.mean(), atol=1e-4)


PITCHES = [400.0, 700.0, 1_200.0]  # of the words that are learned
SCHEDULE = Schedule(epochs=3, rate=1e-2, warmup=5, words=8, reversed=2, spliced=1, silent=1)


def _words(count: int, seed: int) -> list[Example]:
    chance = _chance(seed)
    labels = chance.integers(0, len(PITCHES), count)
    return [Example(_tone(PITCHES[at] * chance.uniform(0.97, 1.03)), int(at), (int(at), 4)) for at in labels]


RECORDED = _words(24, 1)
SYNTHETIC = [
    Example((_tone(frequency) * 32_767).astype(np.int16), UNKNOWN, (3, 4, 3))
    for frequency in np.linspace(2_000, 4_000, 30)
]


class TestBatches:
    def _batches(self, lesson: Sequence[Example], schedule: Schedule = SCHEDULE) -> list[pretraining.Batch]:
        return list(pretraining._batches(lesson, NOISES, schedule, _chance(3)))

    def test_a_batch_has_words_what_is_no_word_and_silence(self) -> None:
        batches = self._batches([*RECORDED, *SYNTHETIC])
        assert len(batches) == 54 // 8
        for batch in batches:
            commands = batch.labels[:8][batch.labels[:8] != UNKNOWN]
            spliced = len(set(commands)) > 1  # of one command nothing else can be made
            assert batch.features.shape == (11 + spliced, 98, BANDS)
            assert batch.features.dtype == np.float32
            assert (batch.labels.dtype, batch.phonemes.dtype, batch.lengths.dtype) == (np.int32,) * 3
            assert batch.labels[8:].tolist() == [UNKNOWN, UNKNOWN, *[UNKNOWN] * spliced, SILENCE]
            assert batch.phonemes.shape == (8, 16)
            for label, phonemes, length in zip(batch.labels, batch.phonemes, batch.lengths, strict=False):
                wanted = (3, 4, 3) if label == UNKNOWN else (label, 4)
                assert tuple(phonemes[:length]) == wanted
                assert not phonemes[length:].any()

    def test_commands_alone_are_spliced_and_never_with_themselves(self) -> None:
        """Half of a command and half of the same one would be that command."""
        high, low = (Example(_tone(pitch), label, (1,)) for label, pitch in enumerate((3_000, 500)))
        other = Example(_tone(1_500), UNKNOWN, (2,))
        (spliced,) = pretraining._spliced([low, low, high, other, low], 1, _chance())
        spectrum = np.abs(np.fft.rfft(spliced * np.hanning(len(spliced)), SAMPLE_RATE))
        assert spectrum[490:511].max() > 100
        assert spectrum[2_990:3_011].max() > 100
        assert spectrum[1_490:1_511].max() < 20
        assert len(list(pretraining._spliced([low, high] * 20, 5, _chance()))) == 5
        assert list(pretraining._spliced([low, low, other], 5, _chance())) == []
        assert list(pretraining._spliced([other, other], 5, _chance())) == []

    def test_nothing_is_heard_twice_in_an_epoch(self) -> None:
        lesson = [Example(_tone(440), number % 12, (number,)) for number in range(40)]
        seen = [int(each) for batch in self._batches(lesson) for each in batch.phonemes[:, 0]]
        assert sorted(seen) == list(range(40))
        assert seen != sorted(seen)

    def test_long_words_are_cut_and_integers_are_as_loud_as_floats(self) -> None:
        schedule = Schedule(words=1, reversed=0, spliced=0, silent=0)
        pcm = (_tone(440) * 32_767).round()
        integers = Example(pcm.astype(np.int16), 0, tuple(range(20)))
        floats = integers._replace(pcm=(pcm / 32_768).astype(np.float32))
        ((first,), (second,)) = (self._batches([each], schedule) for each in (integers, floats))
        assert np.allclose(first.features, second.features, atol=1e-3)
        assert first.lengths.tolist() == [16]
        assert first.phonemes.tolist() == [list(range(16))]

    def test_the_rate_rises_and_falls(self) -> None:
        schedule = Schedule(rate=1.0, warmup=10)
        rates = [schedule.rate_at(step, step / 100) for step in range(101)]
        assert rates[0] == pytest.approx(0.1)
        assert int(np.argmax(rates)) == 9
        assert rates[50] == pytest.approx(0.5)
        assert rates[100] == pytest.approx(0, abs=1e-9)
        assert all(later <= earlier for earlier, later in pairwise(rates[9:]))


def _pretrain(folder: Path, epochs: int = 3, stop_at: int | None = None) -> tuple[np.ndarray, list[Point]]:
    unseen = _words(12, 2)
    placed = np.stack([log_mel(np.pad(each.pcm, 4_000)) for each in unseen])
    labels = np.array([each.label for each in unseen], np.int32)

    def report(point: Point) -> None:
        if point.step == stop_at:
            raise KeyboardInterrupt

    # A tone that is heard backwards is the same tone, and would be taught as no word.
    schedule = replace(SCHEDULE, epochs=epochs, reversed=0)
    return pretrain(SMALL, RECORDED, SYNTHETIC, NOISES, 5, (placed, labels), folder, schedule, report)


def test_too_few_words_for_a_batch(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="6 words are no batch of 8"):
        pretrain(SMALL, RECORDED[:3], SYNTHETIC, NOISES, 5, (np.zeros(0), np.zeros(0)), tmp_path, SCHEDULE)


@pytest.mark.slow
class TestPretraining:
    def test_it_learns(self, tmp_path: Path) -> None:
        vector, history = _pretrain(tmp_path, epochs=30)
        unseen = [point.held_out for point in history if point.held_out is not None]
        assert [point.epochs for point in history if point.held_out is not None] == list(range(1, 31))
        assert unseen[0] > 1.0
        assert unseen[-1] < 0.6
        clips = [Clip(np.pad(each.pcm, 4_000), COMMANDS[each.label], "anna") for each in _words(30, 3)]
        figures = measure(SMALL, vector, clips, NOISES)
        assert figures.accuracy.value > 0.9
        assert figures.alarms < 5

    def test_a_stopped_run_goes_on_after_its_last_epoch(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pretraining, "_REPORT_EVERY", 4)
        whole, history = _pretrain(tmp_path / "whole")
        with pytest.raises(KeyboardInterrupt):
            _pretrain(tmp_path / "cut", stop_at=history[len(history) // 2].step)
        again, its_history = _pretrain(tmp_path / "cut")
        assert np.array_equal(again, whole)
        assert its_history == history
        assert np.array_equal(_pretrain(tmp_path / "cut")[0], again)  # a finished run has nothing left to do


def _deaf(label: int) -> np.ndarray:
    """Weights that hear the same label in everything."""
    vector = initial_vector(SMALL, 0)
    parameters = split(SMALL, vector)
    parameters["head"][:] = 0
    parameters["head_bias"][label] = 20
    return vector


UP, LEFT = COMMANDS.index("up"), COMMANDS.index("left")


class TestQuality:
    SPOKEN = (
        *(Clip(_tone(440, SAMPLE_RATE), "up", "anna") for _ in range(3)),
        *(Clip(_tone(440, SAMPLE_RATE), "left", "ben") for _ in range(3)),
        Clip(_tone(440, SAMPLE_RATE), "up", "carl"),
    )

    def test_what_is_counted(self) -> None:
        figures = measure(SMALL, _deaf(UP), self.SPOKEN, NOISES[:2])
        assert figures.clips == 7
        assert figures.accuracy.value == pytest.approx(4 / 7)
        assert (figures.accuracy.low, figures.accuracy.high) == (0, 1)  # any of three speakers may be drawn
        assert figures.speakers == [0, 1]  # one clip says too little about carl
        wanted = np.zeros((len(COMMANDS), len(LABELS)), int)
        wanted[UP, UP], wanted[LEFT, UP] = 4, 3
        assert figures.confusion == wanted.tolist()
        assert figures.noise_hours == pytest.approx(2 * 3 * 2 / 3600)  # two sounds of two seconds at three levels
        assert figures.alarms == 6  # one for each, since it never ends
        # Garwood 1936: of six events, the upper limit of the mean is 13.06.
        assert figures.alarms_per_hour_at_most == pytest.approx(13.06 / figures.noise_hours, rel=1e-3)

    @pytest.mark.parametrize("label", [UNKNOWN, SILENCE])
    def test_what_is_no_command_is_no_alarm(self, label: int) -> None:
        figures = measure(SMALL, _deaf(label), self.SPOKEN, NOISES[:1])
        assert figures.alarms == 0
        assert figures.alarms_per_hour_at_most == pytest.approx(3.689 / figures.noise_hours, rel=1e-3)
        assert figures.accuracy.value == 0

    def test_intervals_are_over_speakers(self) -> None:
        """Thirty clips of one speaker say as little about others as one does."""
        many = [Clip(_tone(440, SAMPLE_RATE), "up" if number % 2 else "left", f"{number}") for number in range(30)]
        one = [Clip(clip.pcm, clip.label, "anna") for clip in many]
        wide = measure(SMALL, _deaf(UP), many, NOISES[:1]).accuracy
        assert 0.3 < wide.low < wide.value == 0.5 < wide.high < 0.7
        alone = measure(SMALL, _deaf(UP), one, NOISES[:1]).accuracy
        assert (alone.low, alone.value, alone.high) == (0.5, 0.5, 0.5)

    def test_figures_survive_their_file(self) -> None:
        figures = measure(SMALL, _deaf(UP), self.SPOKEN, NOISES[:1])
        assert Figures.from_json(json.loads(json.dumps(asdict(figures)))) == figures

    def test_the_confusion_is_a_picture_and_the_same_each_time(self) -> None:
        figures = measure(SMALL, _deaf(UP), self.SPOKEN, NOISES[:1])
        picture = draw_confusion(figures)
        assert picture.startswith(b"\x89PNG")
        assert picture == draw_confusion(figures)
        assert picture != draw_confusion(measure(SMALL, _deaf(LEFT), self.SPOKEN, NOISES[:1]))


def _write(data: Path, name: str, clips: Sequence[Clip]) -> None:
    speech = data / "speech"
    speech.mkdir(parents=True, exist_ok=True)
    rows = ["file,label,speaker,samples"]
    with tarfile.open(speech / f"{name}.tar", "w") as tar:
        for number, clip in enumerate(clips):
            sound = io.BytesIO()
            soundfile.write(sound, clip.pcm, SAMPLE_RATE, format="WAV", subtype="FLOAT")
            entry = tarfile.TarInfo(f"{number}.wav")
            entry.size = len(sound.getvalue())
            tar.addfile(entry, io.BytesIO(sound.getvalue()))
            rows.append(f"{number}.wav,{clip.label},{clip.speaker},{len(clip.pcm)}")
    (speech / f"{name}.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.slow
def test_a_base_is_trained_from_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis, "COMMAND_VOICES", 2)
    synthesisers.require()
    words = [
        Clip(np.pad(_tone(300 + 100 * number), 4_000), word, f"speaker {speaker}")
        for speaker in range(6)
        for number, word in enumerate(COMMANDS)
    ]
    noises = [
        Clip(0.1 * _chance(number).standard_normal(2 * SAMPLE_RATE).astype(np.float32), "rain", "")
        for number in range(12)
    ]
    unseen = [clip for clip in words if held_out(clip)]
    assert {clip.speaker for clip in unseen} == {"speaker 0", "speaker 3", "speaker 4"}
    assert 0 < sum(map(held_out, noises)) < len(noises)
    _write(tmp_path, "commands", words)
    _write(tmp_path, "noise", noises)
    vocabulary = ["the", "won", "seven", "mountain", "water", "too"]
    schedule = Schedule(epochs=1, words=16)
    work = tmp_path / "work"
    points: list[Point] = []

    figures = base.train(tmp_path, vocabulary, work, schedule, points.append)
    assert figures.clips == len(unseen)
    assert points[-1].epochs == 1
    assert Figures.from_json(json.loads((work / "figures.json").read_text())) == figures
    weights = np.fromfile(work / "weights.f32", "<f4")
    assert np.isfinite(weights).all()
    assert all((work / name).read_bytes().startswith(b"\x89PNG") for name in ("loss.png", "confusion.png"))
    said = sorted(path.name for path in (work / "said").iterdir())
    times = {"the": 4, "mountain": 4, "water": 4} | dict.fromkeys(COMMANDS, 2)
    assert Counter(Path(name).stem.split("-")[-1] for name in said) == times

    assert base.train(tmp_path, vocabulary, work, schedule, points.append) == figures  # nothing left to do
    assert np.array_equal(np.fromfile(work / "weights.f32", "<f4"), weights)
    with pytest.raises(CorpusError, match="work holds a run with other words: remove it, or name another folder"):
        base.train(tmp_path, [*vocabulary, "forest"], work, schedule, points.append)
    monkeypatch.setattr(synthesis, "COMMAND_VOICES", 3)
    with pytest.raises(CorpusError, match="holds a run with other words"):
        base.train(tmp_path, vocabulary, work, schedule, points.append)
