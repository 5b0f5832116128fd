"""A microphone gives audio while it is open, is always let go of, and says what to do when it cannot be had.

The microphone is a virtual one, of a PulseAudio daemon of the test's own: see the kit.
"""

import logging
import re
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import virtual_microphone
from eventually import eventually
from synthetic_speech import noise, voice

from hushfold.errors import MicrophoneError, VoiceError
from hushfold.voice import microphone, portaudio
from hushfold.voice.activity import VoiceActivity
from hushfold.voice.microphone import Microphone, microphones

RATE = 16_000
LOST = r"went away|given nothing for"  # PortAudio's thread ends, or goes on without a block (its issue 1037)


@pytest.fixture(scope="module")
def running():
    yield from started()


@pytest.fixture
def shared(running):
    """One microphone for all tests that leave it as it was; it is quiet when a test begins."""
    yield running
    running.hush()


@pytest.fixture
def own():
    """A microphone that a test may break."""
    yield from started()


def started():
    virtual_microphone.require()
    with (
        tempfile.TemporaryDirectory(prefix="hushfold-") as folder,  # the path of a socket must be short
        virtual_microphone.VirtualMicrophone(Path(folder)) as device,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in device.environment.items():
            patch.setenv(name, value)
        portaudio.look_again(portaudio.load())
        yield device


def tone(seconds, peak=0.3, frequency=440):
    return (peak * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def heard(blocks, seconds):
    """That much of the stream, from where something is heard on."""
    pieces, length = [], 0
    for block in blocks:
        if length or np.abs(block).max() > 0.01:
            pieces.append(block)
            length += len(block)
        if length >= seconds * RATE:
            break
    return np.concatenate(pieces)


def pitch(sound):
    return np.argmax(np.abs(np.fft.rfft(sound * np.hanning(len(sound))))) * RATE / len(sound)


# ---------------------------------------------------------------- listening


def test_it_hears_what_is_played(shared):
    with Microphone() as opened:
        assert opened.is_open
        shared.play(tone(1.0))
        sound = heard(opened, 0.8)
    assert not opened.is_open
    assert sound.dtype == np.float32
    assert pitch(sound) == pytest.approx(440, abs=3)
    assert np.sqrt(np.mean(sound[1600:-1600] ** 2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)
    assert opened.overruns == 0


def test_blocks_are_20_ms(shared):
    with Microphone() as opened:
        assert [len(block) for block, _ in zip(opened, range(5), strict=False)] == [320] * 5


def test_the_device_is_in_use_inside_the_context_only(shared):
    opened = Microphone()
    for _ in range(2):
        assert shared.listeners() == 0
        with opened:
            assert shared.listeners() == 1
    assert shared.listeners() == 0


def test_a_loop_opens_it_for_itself(shared):
    opened = Microphone()
    for _block in opened:
        assert opened.is_open
        break
    assert not opened.is_open
    assert shared.listeners() == 0


def test_whatever_goes_wrong_it_is_let_go_of(shared):
    def listen():
        with Microphone() as opened:
            for _block in opened:
                raise KeyError("the app's own")

    with pytest.raises(KeyError):
        listen()
    assert shared.listeners() == 0


def test_another_thread_may_close_it(shared):
    with Microphone() as opened:
        threading.Timer(0.2, opened.close).start()
        for _block in opened:
            pass
        assert not opened.is_open
        opened.close()


def test_it_is_open_once(shared):
    with Microphone() as opened, pytest.raises(RuntimeError, match="is open"):
        opened.open()


def test_who_listens_too_slowly_loses_the_oldest_and_can_tell(shared):
    with Microphone(backlog=0.1) as opened:
        eventually(lambda: opened.overruns > 5)
        assert len(next(iter(opened))) == 320


def test_microphones_have_names_and_looking_them_up_disturbs_nobody(shared):
    with Microphone("default") as opened:
        blocks = iter(opened)
        next(blocks)
        assert microphones() == ["default"]
        next(blocks)
    assert microphones() == ["default"]


@pytest.mark.parametrize("refused", [500_000, 600_000])
def test_a_device_that_cannot_16_khz_is_listened_to_as_it_likes(shared, monkeypatch, refused):
    """PulseAudio can any rate that is real, so here the first choice is one that it truly refuses."""
    monkeypatch.setattr(microphone, "RATE", refused)
    with Microphone() as opened:
        shared.play(tone(1.0))
        sound = heard(opened, 0.8)
    assert pitch(sound) == pytest.approx(440, abs=3)


def test_a_device_that_gives_nothing_usable(shared, monkeypatch):
    monkeypatch.setattr(microphone, "RATE", 500_000)
    find = portaudio.find
    monkeypatch.setattr(portaudio, "find", lambda *which: find(*which) | {"default_samplerate": 600_000})
    with pytest.raises(MicrophoneError, match=r"no audio that can be used; tried: 500000 Hz.*600000 Hz"):
        Microphone().open()
    assert shared.listeners() == 0


def test_nothing_but_zeros_means_that_macos_refuses_it(own):
    with Microphone(refused_after=0.3) as opened:
        with pytest.raises(MicrophoneError, match=r"may not use .*digital silence"):
            list(opened)
        assert not opened.is_open


def test_a_word_that_is_said_to_it_is_found(shared):
    activity = VoiceActivity()
    with Microphone() as opened:
        shared.play(np.concatenate([noise(1.0, -60), voice(0.5), noise(2.0, -60)]))
        segment = next(segment for block in opened for segment in activity.feed(block))
    assert (segment.offset - segment.onset) / RATE == pytest.approx(0.5, abs=0.06)


# ---------------------------------------------------------------- going away


def test_unplugged_while_it_is_listened_to(own):
    opened = Microphone()
    with opened:
        blocks = iter(opened)
        next(blocks)
        own.unplug()
        with pytest.raises(MicrophoneError, match=LOST) as caught:
            list(blocks)
        assert "Plug it in" in caught.value.advice
        assert not opened.is_open
    with pytest.raises(MicrophoneError, match="nothing behind"):
        opened.open()
    own.plug_in()
    with opened:
        assert len(next(iter(opened))) == 320


def test_the_sound_server_dies(own):
    with Microphone() as opened:
        blocks = iter(opened)
        next(blocks)
        own.kill()
        with pytest.raises(MicrophoneError, match=LOST):
            list(blocks)
    with pytest.raises(MicrophoneError):
        opened.open()


def test_a_device_that_does_not_even_let_go(own, monkeypatch, caplog):
    """The server hangs: no block comes, and closing waits for it. The app does neither."""
    monkeypatch.setattr(microphone, "_RELEASE", 0.3)
    unregistered = []
    monkeypatch.setattr("atexit.unregister", unregistered.append)
    with Microphone(patience=0.5) as opened:
        blocks = iter(opened)
        next(blocks)
        own.freeze()
        with pytest.raises(MicrophoneError, match=r"given nothing for 0\.5 s"), caplog.at_level(logging.WARNING):
            list(blocks)
    assert "does not let go" in caplog.text
    assert unregistered == [portaudio.load()._exit_handler]
    own.kill()
    closing = [thread for thread in threading.enumerate() if thread.name == "hushfold-microphone-close"]
    eventually(lambda: not any(thread.is_alive() for thread in closing))


# ---------------------------------------------------------------- not there


def test_a_name_that_no_device_has(shared):
    with pytest.raises(MicrophoneError, match=r"no microphone 'studio'.*Choose one: default"):
        Microphone("studio").open()


@pytest.mark.skipif(any(Path("/dev/snd").glob("pcmC*c")), reason="this machine has a sound card")
@pytest.mark.parametrize("device", [None, "studio", 7])
def test_no_microphone_at_all(monkeypatch, tmp_path, device):
    virtual_microphone.require()
    (tmp_path / "asound.conf").write_text(virtual_microphone.ASOUND)
    for name, value in virtual_microphone.VirtualMicrophone(tmp_path).environment.items():  # which does not run
        monkeypatch.setenv(name, value)
    assert microphones() == []
    with pytest.raises(MicrophoneError, match=r"there is no microphone.*Plug one in"):
        Microphone(device).open()


def test_without_portaudio_it_says_what_to_install(monkeypatch):
    """The real package, where the library is not found."""
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(MicrophoneError, match=r"PortAudio.*apt-get install libportaudio2"):
        Microphone().open()


def test_without_sounddevice_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(VoiceError, match=r"sounddevice.*pip install 'hushfold\[voice\]'"):
        microphones()


# ---------------------------------------------------------------- what other systems report


def host(number, text):
    return ("Error opening InputStream: Unanticipated host error", -9999, (0, number, text))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (host(-13, "Permission denied"), "may not use"),
        (host(1, "Undefined external error."), "may not use"),  # Windows, MME, privacy settings
        (host(-2147024891, "Access is denied."), "may not use"),  # Windows, WASAPI
        (("Error opening InputStream: Device unavailable", -9985), "in use by another app"),
        (host(-16, "Device or resource busy"), "in use by another app"),
        (("Error opening InputStream: Invalid sample rate", -9997), "no audio that can be used"),
        (("Error opening InputStream: Invalid number of channels", -9998), "no audio that can be used"),
        (host(-22, "Invalid argument"), "no audio that can be used"),
        (host(-19, "No such device"), "nothing behind"),
        (("Error opening InputStream: Invalid device", -9996), "nothing behind"),
        (("Error opening InputStream: Internal PortAudio error", -9986), "cannot be opened: .*Internal"),
        (("Could not obtain stream info",), "cannot be opened: Could not"),
    ],
)
def test_what_portaudio_reports_is_told_apart(arguments, message):
    virtual_microphone.require()
    error = portaudio.load().PortAudioError(*arguments)
    explained = portaudio.explained(error, 'the microphone "Desk"', [(16_000, 1), (44_100, 2)])
    assert 'the microphone "Desk"' in explained.message
    assert re.search(message, explained.message)
    assert explained.advice


def test_devices_that_may_not_be_read_are_told_from_none(monkeypatch, tmp_path):
    virtual_microphone.require()
    # All that ALSA's part of PortAudio says of a device that it could not open.
    error = portaudio.load().PortAudioError("Error opening InputStream: Illegal combination of I/O devices", -9993)
    (tmp_path / "pcmC0D0c").touch()
    monkeypatch.setattr(portaudio, "_DEVICES", tmp_path)
    assert "cannot be opened" in portaudio.explained(error, "Desk", []).message
    monkeypatch.setattr("os.access", lambda path, mode: False)  # the tests may run as root, who may read anything
    explained = portaudio.explained(error, "Desk", [])
    assert "may not use Desk" in explained.message
    assert "group audio" in explained.advice
