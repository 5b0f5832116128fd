"""Recorded words and noises: the files, who was trained on, and where in a recording its word is.

A set is a plain tar of clips at 16 kHz, which libsndfile reads, and a table `file,label,speaker,samples` beside it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from ..errors import UsageError

RATE = 16_000  # samples a second
COMMANDS = ("right", "left", "up", "down", "go", "zero", "one", "five", "eight", "bed", "cat", "happy")
"""The base words."""

_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_COLUMNS = ("file", "label", "speaker")
_HELD_OUT = 6  # the base is not trained on one speaker in so many
_FRAME = 160  # samples, 10 ms
_RANGE = 30.0  # dB below the loudest frame of a clip: what is quieter is not its word
_SHARE = 0.3  # of the way from a clip's background to its loudest frame, in dB: likewise
_BACKGROUND = 0.1  # quantile of the frames' levels

Audio = NDArray[np.float32]
"""`samples[n]`: 16 kHz, one channel, full scale at -1 and 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A recording of one word, or of a noise: then `speaker` is empty."""

    pcm: Audio
    word: str
    speaker: str


Row = Mapping[str, str]
"""Of a table: `file`, `label` and `speaker` of a clip."""


def table(name: str, data: Path) -> list[Row]:
    """The table of a set under `data`. Raises UsageError if a file of the set is missing, or the table damaged."""
    path, archive = _files(name, data)
    try:
        with path.open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        if missing := [column for column in _COLUMNS if not rows or any(row.get(column) is None for row in rows)]:
            raise ValueError(f"there is not everywhere a {missing[0]}")
        path = archive
        path.open("rb").close()
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(name, path, error) from error
    return [*rows]


def read(name: str, data: Path, wanted: Callable[[Row], bool] = lambda _: True) -> list[Clip]:
    """The clips of a set under `data` whose row of the table is wanted, in the table's order; digits become words.

    Raises:
        UsageError: a file of the set is missing or damaged; it is named.
    """
    rows = [row for row in table(name, data) if wanted(row)]
    archive = _files(name, data)[1]
    try:
        with tarfile.open(archive, "r:") as tar:
            return [Clip(_decoded(tar, row["file"]), _word(row["label"]), row["speaker"]) for row in rows]
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise _unreadable(name, archive, error) from error


def held_out(who: str) -> bool:
    """Whether the base was not trained on a speaker; of a noise, `who` is its `digest`."""
    return int.from_bytes(hashlib.sha256(f"voice/{who}".encode()).digest()[:8], "big") % _HELD_OUT == 0


def chosen_by(speaker: str) -> bool:
    """Whether the product's thresholds were chosen by what a speaker of taught words, or of digits, has said."""
    return hashlib.sha256(f"voice thresholds/{speaker}".encode()).digest()[7] % 2 == 1


def digest(pcm: Audio) -> str:
    """By which a noise is known: hash of its samples."""
    return hashlib.sha256(pcm.tobytes()).hexdigest()


def by_speaker(clips: Sequence[Clip]) -> dict[str, dict[str, list[Clip]]]:
    """The takes of each word by each speaker, in their order."""
    speakers: dict[str, dict[str, list[Clip]]] = {}
    for clip in clips:
        speakers.setdefault(clip.speaker, {}).setdefault(clip.word, []).append(clip)
    return speakers


def spoken(pcm: Audio) -> tuple[int, int]:
    """Where the word of a clip begins and ends, in samples: from its first to its last frame that is loud enough.

    That is 30 dB below the loudest or more, and 0.3 of the way, in dB, from the clip's background to it: an estimate,
    to a frame of 10 ms, which noise in a clip makes longer.
    """
    frames = pcm[: len(pcm) // _FRAME * _FRAME].reshape(-1, _FRAME)
    if not len(frames):
        return 0, len(pcm)
    levels = 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1) + 1e-10)
    loudest, background = float(levels.max()), float(np.quantile(levels, _BACKGROUND))
    inside = np.flatnonzero(levels >= max(loudest - _RANGE, background + _SHARE * (loudest - background)))
    return int(inside[0]) * _FRAME, (int(inside[-1]) + 1) * _FRAME


def _files(name: str, data: Path) -> tuple[Path, Path]:
    return data / "speech" / f"{name}.csv", data / "speech" / f"{name}.tar"


def _unreadable(name: str, path: Path, error: Exception) -> UsageError:
    reason = "there is no such file" if isinstance(error, FileNotFoundError) else str(error.args[-1])
    return UsageError(
        f"the recordings in {path} cannot be read: {reason}",
        f"Name a folder that has speech/{name}.csv and speech/{name}.tar in it, by the environment variable "
        "HUSHFOLD_DATA or as make DATA=folder",
    )


def _word(label: str) -> str:
    return _DIGITS[int(label)] if label.isdigit() else label


def _decoded(tar: tarfile.TarFile, file: str) -> Audio:
    content = tar.extractfile(file)
    if content is None:
        raise ValueError(f"{file} is no file")
    try:
        pcm, rate = soundfile.read(io.BytesIO(content.read()), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{file} is no sound ({error.error_string})") from error
    if rate != RATE:
        raise ValueError(f"{file} has {rate} samples a second, not {RATE}")
    return np.ascontiguousarray(pcm[:, 0])
