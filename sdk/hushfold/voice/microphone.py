"""A microphone as blocks of audio, and what to do when there is none.

    with Microphone() as microphone:
        for block in microphone:
            ...  # 16 kHz mono float32

The device is open inside the `with` only, and is always let go of; a `for` over a microphone that is not open opens it
for the loop. What PortAudio reports, often as one number for many reasons, is told apart in `portaudio`.
"""

from __future__ import annotations

import atexit
import logging
import math
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from ..errors import MicrophoneError
from . import portaudio
from .audio import MOST_CHANNELS, RATE, Audio, ResampleStream

_log = logging.getLogger(__name__)

_BLOCK = 0.02  # seconds
_RELEASE = 2.0  # seconds that closing a device may take which went away


class Microphone:
    """A microphone that is listened to. Iterate over it in one thread; it may be closed from another.

    Args:
        device: part of the name of an input device, as `microphones` gives them, or its number in PortAudio; the
            system's default microphone otherwise.
        patience: seconds without a block after which the microphone counts as gone.
        backlog: seconds that are kept for a slow listener; after that the oldest are lost, and counted.
        refused_after: seconds of digital silence from the beginning on after which the microphone counts as refused:
            macOS reports no error, but gives zeros. By default 3 there, and never elsewhere, where a muted microphone
            may give zeros.
    """

    def __init__(
        self,
        device: str | int | None = None,
        *,
        patience: float = 4.0,
        backlog: float = 5.0,
        refused_after: float | None = None,
    ) -> None:
        self._device = device
        self._patience = patience
        if refused_after is None:
            refused_after = 3.0 if sys.platform == "darwin" else math.inf
        self._refused_after = refused_after
        self._opening = threading.Lock()  # held while it opens, so that who closes it then closes what was opened
        self._changed = threading.Condition()  # guards what follows
        self._blocks: deque[Any] = deque(maxlen=max(1, round(backlog / _BLOCK)))
        self._stream: Any = None  # a sounddevice.InputStream while it is open
        self._ended = False  # by PortAudio, not by us
        self._overruns = 0
        self._name = "the microphone"
        self._resample = ResampleStream(RATE)

    @property
    def is_open(self) -> bool:
        """Whether the device is in use."""
        return self._stream is not None

    @property
    def overruns(self) -> int:
        """How often audio was lost since it was opened, because it was not taken, or not taken over, in time."""
        return self._overruns

    @property
    def name(self) -> str:
        """What it is called in messages; of the device, once it is or was open."""
        return self._name

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Begin to listen.

        Raises:
            MicrophoneError: there is no microphone, it may not be used or gives no audio that could be used.
            VoiceError: a package is missing.
            RuntimeError: it is open.
        """
        with self._opening:
            if self.is_open:
                raise RuntimeError("this microphone is open")
            sounddevice = portaudio.load()
            try:
                self._start(sounddevice)
            except MicrophoneError:
                if not portaudio.look_again(sounddevice):
                    raise
                self._start(sounddevice)  # it may have been plugged in since PortAudio looked

    def close(self) -> None:
        """Let go of the device; whoever iterates is at the end. Closing again does nothing."""
        with self._opening:
            self._close(lost=False)

    def __iter__(self) -> Iterator[Audio]:
        """Blocks of 20 ms, until it is closed. Opens it for the loop if it is not open.

        Raises:
            MicrophoneError: it went away, or gives nothing. The device is closed.
        """
        if self.is_open:
            yield from self._listen()
        else:
            with self:
                yield from self._listen()

    def _listen(self) -> Iterator[Audio]:
        silence = 0.0  # seconds from the beginning; infinite once something was heard
        while (block := self._take()) is not None:
            audio = self._resample.feed(block)
            if np.any(audio):
                silence = -math.inf
            silence += len(audio) / RATE
            if silence >= self._refused_after:
                self._close(lost=False)
                raise portaudio.refused(self._name, "it gives nothing but digital silence")
            if audio.size:
                yield audio

    def _take(self) -> Any:
        """The next block as PortAudio gave it; None once it is closed."""
        with self._changed:
            heard = self._changed.wait_for(lambda: self._blocks or self._ended or not self.is_open, self._patience)
            if not self.is_open:
                return None
            if self._blocks:
                return self._blocks.popleft()
        self._close(lost=True)
        if heard:
            raise MicrophoneError(f"{self._name} went away while it was listened to", portaudio.PLUG_IN)
        raise MicrophoneError(
            f"{self._name} has given nothing for {self._patience:g} s: it may be unplugged", portaudio.PLUG_IN
        )

    # ---------------------------------------------------------------- PortAudio

    def _start(self, sounddevice: Any) -> None:
        """Open the device and start it, at 16 kHz in mono or else as it likes it best."""
        info = portaudio.find(sounddevice, self._device)
        self._name = f'the microphone "{info["name"]}"'
        native, most = info["default_samplerate"], min(info["max_input_channels"], MOST_CHANNELS)
        formats = list(dict.fromkeys([(RATE, 1), (RATE, most), (native, 1), (native, most)]))
        for rate, channels in formats:
            self._resample = ResampleStream(rate)
            self._blocks.clear()
            self._ended, self._overruns = False, 0
            stream = None
            try:
                stream = sounddevice.InputStream(
                    samplerate=rate,
                    blocksize=round(_BLOCK * rate),
                    device=info["index"],
                    channels=channels,
                    dtype="float32",
                    # Of the defaults of each kind of host, the one below a tenth of a second.
                    latency="low" if sys.platform == "win32" else "high",
                    callback=self._heard,
                    finished_callback=self._finished,
                )
                stream.start()
            except sounddevice.PortAudioError as error:
                if stream is not None:
                    stream.close()
                if not portaudio.is_of_format(error) or (rate, channels) == formats[-1]:
                    raise portaudio.explained(error, self._name, formats) from error
            else:
                self._stream = stream
                return

    def _heard(self, block: Any, _frames: int, _time: Any, status: Any) -> None:
        """In PortAudio's thread: a block, in memory that is its own."""
        with self._changed:
            if status.input_overflow or len(self._blocks) == self._blocks.maxlen:
                self._overruns += 1
            self._blocks.append(block.copy())
            self._changed.notify_all()

    def _finished(self) -> None:
        """In PortAudio's thread: nothing more will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _close(self, lost: bool) -> None:
        with self._changed:
            stream, self._stream = self._stream, None
            self._changed.notify_all()
        if stream is None:
            return
        if not (lost or self._ended):
            stream.close()
            return
        # PortAudio's thread for a device that went away may never end, nor the wait for it (PortAudio issue 1037).
        closing = threading.Thread(target=stream.close, name="hushfold-microphone-close", daemon=True)
        closing.start()
        closing.join(_RELEASE)
        if closing.is_alive():
            _log.warning("PortAudio does not let go of %s, which went away", self._name)
            atexit.unregister(portaudio.load()._exit_handler)  # which would wait for it, too


def microphones() -> list[str]:
    """Names of the input devices that there are, the default first. What was plugged in meanwhile is among them, unless
    the app has a stream of sounddevice open.

    Raises:
        MicrophoneError: PortAudio is not there.
        VoiceError: sounddevice is not installed.
    """
    sounddevice = portaudio.load()
    portaudio.look_again(sounddevice)
    devices = [device for device in sounddevice.query_devices() if device["max_input_channels"] > 0]
    default = sounddevice.default.device[0]
    return [device["name"] for device in sorted(devices, key=lambda device: device["index"] != default)]
