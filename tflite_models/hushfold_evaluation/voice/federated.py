"""Federated against central training at equal data, on base words of speakers whom neither has heard.

The base has not been trained on one speaker in six. By a draw, half of these are the phones of a task, and the others
are measured. What is learned is the model's last layer, from nothing: the base as it is shipped knows these words too
well for a few hundred recordings to teach it anything. A rehearsal of the task (`hushfold-demo rehearse --speech`)
leaves the federated weights. Central training starts from the same weights, has the same recordings in one place and
passes over them as often, by stochastic gradient descent on the same part of the model; of several rates the one that
is best on the measured speakers counts.

    right      percent of the clips whose most probable base word is the right one
    ratio      of that to central training's, the same speakers resampled for both
"""

from __future__ import annotations

import csv
import io
import random
import tarfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from hushfold.device import VOICE_MODEL, bundled_model
from hushfold.errors import AudioError
from hushfold.model import TrainingModel
from hushfold.voice.model import VoiceModel
from hushfold.voice.sound import SpokenSound
from hushfold_format import VoiceFiles, window_batches
from hushfold_format.logmel import Features

from ..errors import UsageError
from ..rehearsals import WEIGHTS, read_report, require_strangers, write_model
from ..statistics import Estimate, resamples
from .clips import COMMANDS, RATE, Clip
from .figures import Share, overall, ratio

RATES = (0.1, 0.3, 1.0, 3.0)
"""Learning rates of central training that are tried."""
_PART = "adapter"  # the last layer
_DRAFT = ".unfinished"

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of both; see the module.

    Attributes:
        phones, speakers: who taught, and who was measured, by so many `clips`.
        shipped: percent that is right by the base, whose last layer has learned from ten times as many speakers.
        federated, central: the same of both.
        federated_ratio: to central training, no percentage.
        rate: central training's.
        passes: over the recordings, of each.
    """

    phones: int
    speakers: int
    clips: int
    shipped: Estimate
    federated: Estimate
    central: Estimate
    federated_ratio: Estimate
    rate: float
    passes: int


def halves(clips: Sequence[Clip], seed: int) -> tuple[list[Clip], list[Clip]]:
    """The clips of those who teach and of those who are measured, speakers drawn by the seed.

    Raises UsageError where there are too few speakers.
    """
    speakers = sorted({clip.speaker for clip in clips})
    if len(speakers) < 2:
        raise UsageError("there are no two speakers whom the base was not trained on", "Give other recordings")
    teaching = set(random.Random(seed).sample(speakers, len(speakers) // 2))
    return [c for c in clips if c.speaker in teaching], [c for c in clips if c.speaker not in teaching]


def write_clips(table: Path, clips: Sequence[Clip]) -> None:
    """A set of clips, as a rehearsal reads it: `table`, and a tar beside it. Raises UsageError where it cannot."""
    archive = table.with_suffix(".tar")
    try:
        table.parent.mkdir(parents=True, exist_ok=True)
        with (
            tarfile.open(archive.with_suffix(_DRAFT), "w") as tar,
            table.with_suffix(_DRAFT + ".csv").open("w", newline="", encoding="utf-8") as lines,
        ):
            rows = csv.writer(lines)
            rows.writerow(("file", "label", "speaker", "samples"))
            for number, clip in enumerate(clips):
                content = io.BytesIO()
                soundfile.write(content, clip.pcm, RATE, format="WAV", subtype="FLOAT")
                entry = tarfile.TarInfo(f"{number:05}.wav")
                entry.size = content.tell()
                content.seek(0)
                tar.addfile(entry, content)
                rows.writerow((entry.name, clip.word, clip.speaker, len(clip.pcm)))
        archive.with_suffix(_DRAFT).replace(archive)
        table.with_suffix(_DRAFT + ".csv").replace(table)
    except OSError as error:
        raise UsageError(f"{table} cannot be written: {error.strerror}") from None


def write_unlearned(folder: Path) -> None:
    """The shipped model whose last layer has learned nothing, in a folder of models. Raises UsageError as above."""
    source = bundled_model(VOICE_MODEL)
    try:
        (folder / VOICE_MODEL).mkdir(parents=True, exist_ok=True)
        write_model(source, folder / VOICE_MODEL, _unlearned(VoiceFiles.load(source)).astype("<f4").tobytes())
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}") from None


def compare(folder: Path, clips: Sequence[Clip], seed: int) -> Comparison:
    """Train centrally what the rehearsal in `folder` has learned from, and measure both.

    Args:
        folder: of a rehearsal that started from the model of `write_unlearned`.
        clips: of all speakers whom the base has not heard, of whom `halves` taught the task.
        seed: that of `halves`; also of the intervals and of central training.

    Raises:
        UsageError: it is no finished rehearsal of that model by these speakers.
    """
    files = VoiceFiles.load(bundled_model(VOICE_MODEL))
    start = _unlearned(files)
    report = read_report(folder, start)
    teaching, measured = halves(clips, seed)
    speakers = {clip.speaker for clip in teaching}
    advice = "Give the same --seed as when the clips were written, and rehearse again"
    require_strangers(folder, report["people"], sorted({clip.speaker for clip in measured}), advice)
    if set(report["people"]) != speakers:
        raise UsageError(f"the task in {folder} learned from others than these {len(speakers)} speakers", advice)
    task = tomllib.loads(report["task"])
    if task["task"]["part"] != _PART:
        raise UsageError(f"the task in {folder} learned the part {task['task']['part']}", f"Rehearse one of {_PART}")
    passes = int(task["training"]["steps"]) * len(report["rounds"])
    federated = np.fromfile(folder / WEIGHTS, "<f4").astype(np.float32, copy=False)
    heard = _windows(measured, files)
    shares = {name: _right(files, vector, heard) for name, vector in (("shipped", files.weights), ("task", federated))}
    lesson = _windows(teaching, files)
    tried = {rate: _right(files, _train(files, start, lesson, rate, passes, seed), heard) for rate in RATES}
    rate = max(tried, key=lambda each: (sum(share.count for share in tried[each].values()), -each))
    samples = resamples(len(shares["task"]), seed)
    shipped, learned, central = (list(each.values()) for each in (shares["shipped"], shares["task"], tried[rate]))
    return Comparison(
        phones=len(speakers),
        speakers=len(learned),
        clips=sum(share.clips for share in learned),
        shipped=overall(shipped, samples),
        federated=overall(learned, samples),
        central=overall(central, samples),
        federated_ratio=ratio(learned, central, samples),
        rate=rate,
        passes=passes,
    )


Window = tuple[Clip, Features]


def _windows(clips: Sequence[Clip], files: VoiceFiles) -> list[Window]:
    """Each clip as the model takes it; silent ones are left out, as a device does."""
    windows = []
    for clip in clips:
        try:
            windows.append((clip, SpokenSound.of(clip.pcm).window(files.manifest.time)))
        except AudioError:
            continue
    return windows


def _unlearned(files: VoiceFiles) -> Vector:
    vector = files.weights.copy()
    vector[slice(*files.manifest.parts[_PART])] = 0
    return vector


def _train(files: VoiceFiles, start: Vector, lesson: Sequence[Window], rate: float, passes: int, seed: int) -> Vector:
    model = TrainingModel(files)
    model.load(start)
    windows = [window for _, window in lesson]
    labels = [files.labels.index(clip.word) for clip, _ in lesson]
    for number in range(passes):
        for batch in window_batches(windows, labels, files.manifest.batch, seed=number << 32 | seed):
            model.train_step(batch, rate, _PART)
    return model.vector()


def _right(files: VoiceFiles, vector: Vector, heard: Sequence[Window]) -> Mapping[str, Share]:
    """Of each speaker, how many clips are taken for what they are, by the quantised model as it is served."""
    model = VoiceModel(files, vector)
    places = [files.labels.index(word) for word in COMMANDS]
    hits: dict[str, list[bool]] = {}
    for clip, window in heard:
        word = COMMANDS[int(model.classify(window)[places].argmax())]
        hits.setdefault(clip.speaker, []).append(word == clip.word)
    return {speaker: Share.of(each) for speaker, each in sorted(hits.items())}
