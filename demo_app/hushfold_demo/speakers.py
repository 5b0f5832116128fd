"""What simulated people say: recordings of commands, a speaker for each phone."""

from __future__ import annotations

import csv
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hushfold import AudioError, Device, SpokenSound
from hushfold.device import VOICE_MODEL
from hushfold.voice.audio import RATE
from hushfold.voice.recordings import Kind

from .errors import UsageError

_WANTED = "Give a table file,label,speaker,samples, with the clips in a tar of the same name beside it"


@dataclass(frozen=True, slots=True, eq=False)
class Speaker:
    """Someone who speaks. `clips` are what was said and how it sounds, float32 at 16 kHz."""

    name: str
    clips: tuple[tuple[str, NDArray[np.float32]], ...]

    model: ClassVar[str] = VOICE_MODEL

    @property
    def identity(self) -> list[object]:
        """What tells this speaker from another, as JSON."""
        return [self.name, [[label, hashlib.sha256(pcm.tobytes()).hexdigest()] for label, pcm in self.clips]]

    def teach(self, device: Device) -> None:
        """Say everything, and confirm what it was; what is too quiet to be heard is left out."""
        for label, pcm in self.clips:
            try:
                sound = SpokenSound.of(pcm)
            except AudioError:
                continue
            device.voice.recordings.add(label, Kind.CONFIRMED, sound.features)


def read_speakers(table: Path) -> list[Speaker]:
    """The speakers of a set of clips, by name. Raises UsageError if it is none, or soundfile is not installed."""
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise UsageError(f"clips need the package soundfile: {error}", "pip install 'hushfold[voice]'") from None
    said: dict[str, list[tuple[str, NDArray[np.float32]]]] = {}
    try:
        with table.open(newline="", encoding="utf-8") as lines, tarfile.open(table.with_suffix(".tar")) as clips:
            for row in csv.DictReader(lines):
                content = clips.extractfile(row["file"])
                if content is None:
                    raise KeyError(row["file"])
                pcm, rate = soundfile.read(io.BytesIO(content.read()), dtype="float32", always_2d=True)
                if rate != RATE:
                    raise UsageError(f"{row['file']} has {rate} samples a second, not {RATE}", "Resample the clips")
                said.setdefault(row["speaker"], []).append((row["label"], np.ascontiguousarray(pcm[:, 0])))
    except FileNotFoundError as error:
        raise UsageError(f"{error.filename}: there is no such file", _WANTED) from None
    except (OSError, UnicodeDecodeError, tarfile.TarError, KeyError, csv.Error, soundfile.SoundFileError) as error:
        raise UsageError(f"the clips of {table} cannot be read: {error}", _WANTED) from None
    if not said:
        raise UsageError(f"{table} names no clip", _WANTED)
    return [Speaker(name, tuple(clips)) for name, clips in sorted(said.items())]
