"""Audio files as streams: wav, flac, ogg and whatever else libsndfile reads, at any sample rate, of any length."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import AudioError, VoiceError
from .audio import Audio, ResampleStream, needs_extra

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
    """The reasons that libsndfile would only call a system error or an unknown format."""
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except FileNotFoundError as error:
        raise AudioError(f"there is no file {name}", "Look at its name and folder") from error
    except IsADirectoryError as error:
        raise AudioError(f"{name} is a folder", "Name a file in it") from error
    except OSError as error:
        raise AudioError(f"{name} cannot be opened: {error.strerror}", "Look at who may read it") from error
    if empty:
        raise AudioError(f"{name} holds no audio: it is an empty file", "Record it again")


def _reason(error: Exception) -> str:
    """What libsndfile says, without the name that it puts in front."""
    return str(getattr(error, "error_string", error)).rstrip(".")
