"""Recorded speech and noise, and which speakers and sounds are held out.

A set is a plain tar of clips and a table `file,label,speaker,samples` beside it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from hushfold_format.logmel import SAMPLE_RATE

from ..corpus import DATA_VARIABLE, CorpusError

_HELD_OUT = 6  # one speaker in so many is never trained on


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A recording: `pcm` is float32 at 16 kHz, full scale at -1 and 1."""

    pcm: NDArray[np.float32]
    label: str
    speaker: str


@dataclass(frozen=True, slots=True)
class Source:
    """Speech or noise that allows trained weights to be shipped."""

    file: str
    title: str
    credit: str
    licence: str


COMMANDS = Source("commands", "Speech Commands, 12 of its words, 836 people", "Warden 2018", "CC BY 4.0")
NOISE = Source("noise", "ESC-10, 40 background sounds", "Piczak 2015", "CC BY 3.0")
SOURCES = (COMMANDS, NOISE)


def read(name: str, data: Path) -> list[Clip]:
    """The clips of a set under `data`, in the table's order.

    Raises:
        CorpusError: a file of the set is missing or not what it should be.
    """
    speech = data / "speech"
    table, archive = speech / f"{name}.csv", speech / f"{name}.tar"
    try:
        with table.open(newline="", encoding="utf-8") as lines, tarfile.open(archive) as tar:
            return [Clip(_decoded(tar, row["file"]), row["label"], row["speaker"]) for row in csv.DictReader(lines)]
    except FileNotFoundError as error:
        raise CorpusError(
            f"{error.filename} is missing: set ${DATA_VARIABLE} to the folder that holds speech/"
        ) from error
    except (OSError, csv.Error, tarfile.TarError, KeyError, ValueError) as error:
        raise CorpusError(f"the set {name!r} in {speech} is damaged ({error}): fetch it again") from error


def held_out(clip: Clip) -> bool:
    """Whether nothing may be trained on the speaker; of sounds without one, on the sound."""
    who = clip.speaker or hashlib.sha256(clip.pcm.tobytes()).hexdigest()
    return int.from_bytes(hashlib.sha256(f"voice/{who}".encode()).digest()[:8], "big") % _HELD_OUT == 0


def _decoded(tar: tarfile.TarFile, file: str) -> NDArray[np.float32]:
    content = tar.extractfile(file)
    if content is None:
        raise ValueError(f"{file} is no file")
    try:
        pcm, rate = soundfile.read(io.BytesIO(content.read()), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{file}: {error.error_string}") from error
    if rate != SAMPLE_RATE:
        raise ValueError(f"{file} has {rate} samples a second, not {SAMPLE_RATE}")
    return np.ascontiguousarray(pcm[:, 0])
