"""PortAudio, which reaches the microphones of every system: loading it, its devices, and what its errors mean.

It reports many reasons as one number, and some as none; what each system really does is in the comments.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from pathlib import Path
from typing import Any

from ..errors import MicrophoneError
from .audio import needs_extra

_DEVICES = Path("/dev/snd")  # on Linux

# PaErrorCode, of portaudio.h.
_INVALID_RATE, _INVALID_CHANNELS, _HOST_ERROR = -9997, -9998, -9999
_INVALID_DEVICE, _DEVICE_UNAVAILABLE = -9996, -9985
_NOT_OPENED = -9993  # "illegal combination of devices": all that is said for ALSA when a device could not be opened

# What Windows says underneath when its privacy settings refuse the microphone, by the interface that is used.
_MME_ERROR = 1  # MMSYSERR_ERROR
_ACCESS_DENIED = -2147024891  # HRESULT E_ACCESSDENIED, 0x80070005
# It has other numbers for it, too (PortAudio issues 293 and 360).
_OR_REFUSED = "; or allow desktop apps to use it, in Settings, Privacy" if sys.platform == "win32" else ""

PLUG_IN = "Plug it in, or choose another microphone in the system's sound settings, and listen again"


def load() -> Any:
    """The module sounddevice, with PortAudio behind it.

    Raises:
        MicrophoneError: PortAudio is not there, or does not start.
        VoiceError: sounddevice is not installed.
    """
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        raise needs_extra("sounddevice", "a microphone") from error
    except OSError as error:  # it looks for the library when it is imported
        advice = {
            "darwin": "Install it: brew install portaudio",
            "win32": "Install sounddevice again: its wheel for Windows has the library with it",
        }.get(sys.platform, "Install it: apt-get install libportaudio2, dnf install portaudio or pacman -S portaudio")
        raise MicrophoneError("PortAudio, the library that reaches microphones, is not installed", advice) from error
    except Exception as error:  # PortAudioError, of the module that was not imported: PortAudio itself does not start
        raise MicrophoneError(
            f"the sound system of this machine cannot be reached: {error}", "See whether other apps can record"
        ) from error
    return sounddevice


def find(sounddevice: Any, device: str | int | None) -> Any:
    """What PortAudio knows of an input device, by its number or part of its name; None is the system's default.

    Raises:
        MicrophoneError: there is none, not that one, or none that may be used.
    """
    try:
        return sounddevice.query_devices(device, "input")
    except (sounddevice.PortAudioError, ValueError) as error:
        inputs = [found for found in sounddevice.query_devices() if found["max_input_channels"] > 0]
        if inputs and device is None:
            return inputs[0]
        if inputs:
            names = ", ".join(found["name"] for found in inputs)
            raise MicrophoneError(
                f"there is no microphone {device!r}, or more than one", f"Choose one: {names}"
            ) from error
        if _is_forbidden():
            raise refused("the microphone", "the devices in /dev/snd may not be read") from error
        raise MicrophoneError(
            "there is no microphone", "Plug one in, or switch it on in the system's sound settings"
        ) from error


def look_again(sounddevice: Any) -> bool:
    """Let PortAudio look for devices anew: it only does when it starts. Whether it did.

    It does not while this process has streams open, the app's own among them: they would be pulled from under them.
    """
    if any(_is_open_stream(sounddevice, thing) for thing in gc.get_objects()):
        return False
    sounddevice._terminate()
    sounddevice._initialize()
    return True


def _is_open_stream(sounddevice: Any, thing: Any) -> bool:
    kinds = (sounddevice.RawInputStream, sounddevice.RawOutputStream, sounddevice.InputStream, sounddevice.OutputStream)
    # The type, since isinstance would ask a proxy for what it stands for. One that failed to open has no latency.
    return issubclass(type(thing), kinds) and hasattr(thing, "_latency") and not thing.closed


def is_of_format(error: Exception) -> bool:
    """Whether it may go with another rate, or with other channels."""
    code, host = _codes(error)
    return code in (_INVALID_RATE, _INVALID_CHANNELS) or (code, host) == (_HOST_ERROR, -errno.EINVAL)


def _codes(error: Exception) -> tuple[int, int]:
    """PortAudio's code, and that of the system underneath: errno for ALSA, HRESULT or MMRESULT for Windows."""
    code = error.args[1] if len(error.args) > 1 else 0
    return code, error.args[2][1] if len(error.args) > 2 else 0


def explained(error: Exception, name: str, formats: list[tuple[float, int]]) -> MicrophoneError:
    """What PortAudio reports, as a person understands it."""
    code, host = _codes(error)
    if host in (-errno.EACCES, -errno.EPERM, _ACCESS_DENIED) or (code, host) == (_HOST_ERROR, _MME_ERROR):
        return refused(name, str(error))
    if code == _NOT_OPENED and _is_forbidden():
        return refused(name, "the devices in /dev/snd may not be read")
    if code == _DEVICE_UNAVAILABLE or host == -errno.EBUSY:
        return MicrophoneError(f"{name} is in use by another app", f"Close the app that records{_OR_REFUSED}")
    if is_of_format(error):
        tried = ", ".join(f"{rate:g} Hz with {channels} channels" for rate, channels in formats)
        return MicrophoneError(
            f"{name} gives no audio that can be used; tried: {tried}", f"Choose another microphone{_OR_REFUSED}"
        )
    if code == _INVALID_DEVICE or host in (-errno.ENODEV, -errno.ENXIO, -errno.EIO, -errno.ENOENT):
        return MicrophoneError(f"there is nothing behind {name}", PLUG_IN)
    return MicrophoneError(f"{name} cannot be opened: {error}", f"See whether other apps can record{_OR_REFUSED}")


def _is_forbidden() -> bool:
    """Whether Linux has devices to record with, and this user may read none of them."""
    captures = list(_DEVICES.glob("pcmC*c"))
    return bool(captures) and not any(os.access(capture, os.R_OK) for capture in captures)


def refused(name: str, why: str) -> MicrophoneError:
    """The error for a microphone that the system does not let this app use."""
    advice = {
        "darwin": "Allow it in System Settings, Privacy & Security, Microphone; if it is allowed, see if it is muted",
        "win32": "Allow it in Settings, Privacy & security, Microphone, for desktop apps, too",
    }.get(sys.platform, "Allow it: add the user to the group audio (sudo usermod -aG audio NAME) and log in again")
    return MicrophoneError(f"this app may not use {name}: {why}", advice)
