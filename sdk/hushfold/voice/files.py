"""Audio files as streams: wav, flac, ogg and whatever else libsndfile reads, at any sample rate, of any length.

And recordings of one word, whether an app has them as samples or as files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from ..errors import AudioError, VoiceError
from .audio import RATE, Audio, ResampleStream, needs_extra

Recorded = ArrayLike | str | os.PathLike[str]
"""A recording of one word: samples, as `as_audio` takes them, or the path of an audio file."""

_LONGEST = 60  # seconds of a recording with one word in it
_PAGE = 1 << 16  # bytes at the end of an ogg file in which its last page begins
_BLOCK = 0.1  # seconds of a file that are read at once
_ADVICE = "Give a recording as wav, flac or ogg"
_AGAIN = "Record or export it again"


def read_audio(source: str | os.PathLike[str] | BinaryIO) -> Iterator[Audio]:
    """A file's audio, block by block, so that its length does not matter. Channels are averaged.

    The file is opened, and its beginning read, by the call itself; what is damaged further on shows up on the way. It
    is closed at the end, or when the iterator is closed or dropped.

    Args:
        source: path of the file, or a file that is open for reading in binary and that can seek.

    Returns:
        Blocks of 16 kHz mono float32, 0.1 s each; some are shorter.

    Raises:
        AudioError: there is no such file, it may not be read, it is no audio, empty or damaged.
        VoiceError: soundfile, soxr or libsndfile is not installed.
    """
    soundfile = _soundfile()
    name = _name(source)
    if isinstance(source, (str, os.PathLike)):
        _require_file(Path(source), name)
        source = os.fspath(source)
    try:
        file = soundfile.SoundFile(source)
        # A sample now, so that what is no audio is refused here.
        empty = file.read(1, dtype="float32", always_2d=True).size == 0
        file.seek(0)
    except (soundfile.SoundFileError, TypeError, OSError) as error:  # TypeError: .raw, which has no header
        raise AudioError(f"{name} cannot be read as audio: {_reason(error)}", _ADVICE) from error
    if empty:
        raise AudioError(f"{name} holds no audio: it is empty, or cut off", "Record it again")
    with _naming(name):
        stream = ResampleStream(file.samplerate)
    return _blocks(file, name, stream, soundfile.SoundFileError)


def recorded(recording: Recorded, rate: int = RATE) -> Audio:
    """A recording of one word as audio.

    Args:
        recording: samples, or the path of a file.
        rate: of the samples, Hz; a file knows its own.

    Raises:
        AudioError: as `read_audio` and `as_audio` do; or the file goes on for more than a minute.
        VoiceError: a package that is needed to read files, or another rate, is not installed.
    """
    if isinstance(recording, (str, os.PathLike)):
        blocks, samples = [np.empty(0, np.float32)], 0
        for block in read_audio(recording):
            blocks.append(block)
            samples += len(block)
            if samples > _LONGEST * RATE:
                raise AudioError(
                    f"{os.fspath(recording)} is longer than {_LONGEST} s", "Give a recording with one word in it"
                )
        return np.concatenate(blocks)
    stream = ResampleStream(rate)
    return np.concatenate((stream.feed(recording), stream.flush()))


def _blocks(file: Any, name: str, stream: ResampleStream, failure: type[Exception]) -> Iterator[Audio]:
    with file:
        read = 0  # frames
        while True:
            try:
                block = file.read(int(_BLOCK * file.samplerate), dtype="float32", always_2d=True)
            except failure as error:
                raise AudioError(f"{name} is damaged: {_reason(error)}", _AGAIN) from error
            if not len(block):
                break
            read += len(block)
            with _naming(name):
                audio = stream.feed(block)
            if audio.size:
                yield audio
        if (rest := stream.flush()).size:
            yield rest
        if read < file.frames:  # in ogg and mp3, libsndfile leaves out what is damaged
            rate = file.samplerate
            raise AudioError(
                f"{name} is damaged: of {file.frames / rate:.1f} s, {read / rate:.1f} s can be read", _AGAIN
            )


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Names the file in what is wrong with its audio."""
    try:
        yield
    except AudioError as error:
        raise AudioError(f"{name}: {error.message}", error.advice) from error


def _soundfile() -> Any:
    try:
        import soundfile
    except ModuleNotFoundError as error:
        raise needs_extra("soundfile", "reading audio files") from error
    except OSError as error:  # it looks for the library when it is imported
        raise VoiceError(
            f"the library libsndfile, which reads audio files, is not there: {error}",
            "Install it: apt-get install libsndfile1, dnf install libsndfile, or brew install libsndfile",
        ) from error
    return soundfile


def _name(source: str | os.PathLike[str] | BinaryIO) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "the file"


def _require_file(path: Path, name: str) -> None:
    """The reasons that libsndfile would only call a system error or an unknown format, or does not mind."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _PAGE))
            tail = file.read(_PAGE)
    except FileNotFoundError as error:
        raise AudioError(f"there is no file {name}", "Look at its name and folder") from error
    except IsADirectoryError as error:
        raise AudioError(f"{name} is a folder", "Name a file in it") from error
    except OSError as error:
        raise AudioError(f"{name} cannot be opened: {error.strerror}", "Look at who may read it") from error
    if not head:
        raise AudioError(f"{name} holds no audio: it is an empty file", "Record it again")
    if _cut_off(head, size, tail):
        raise AudioError(f"{name} is damaged: its end is missing", _AGAIN)


def _cut_off(head: bytes, size: int, tail: bytes) -> bool:
    """Whether the end of a wav or ogg file is missing, by what these formats say of their length.

    A wav file begins with its size less 8; a recorder that could not know it writes 0 or all ones. A page of an ogg
    file has flags in its byte 5, of which 4 is for the last one; in byte 26 how many bytes follow that say, summed up,
    how long the rest is (RFC 3533).
    """
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        said = int.from_bytes(head[4:8], "little")
        return said not in (0, 0xFFFFFFFF) and said + 8 > size + 1  # the padding after an odd length may be left out
    if head[:4] == b"OggS":
        page = tail[max(0, tail.rfind(b"OggS")) :]
        if len(page) < 27:
            return True
        table = page[27 : 27 + page[26]]
        return not page[5] & 4 or len(page) < 27 + page[26] + sum(table)
    return False


def _reason(error: Exception) -> str:
    """What libsndfile says, without the name that it puts in front."""
    return str(getattr(error, "error_string", error)).rstrip(".")
