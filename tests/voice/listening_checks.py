"""From end to end, without hardware: what is said into a microphone comes out as a word, and the device is let go of.

The microphone is a virtual one, of a PulseAudio daemon of the test's own, and the speaker is espeak-ng where it is
installed.
"""

import io
import shutil
import subprocess
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile
import soxr
from eventually import eventually
from made_up_words import RATE, say
from microphone_checks import LOST, started
from synthetic_speech import placed

from hushfold.errors import MicrophoneError
from hushfold.voice.microphone import Microphone

pytestmark = pytest.mark.timeout(60)  # whoever hears nothing listens for ever


@pytest.fixture(scope="module")
def running():
    yield from started()


@pytest.fixture
def microphone(running):
    """The virtual one; it is quiet when a test begins."""
    yield running
    running.hush()


@pytest.fixture
def own():
    """One that a test may break."""
    yield from started()


def spoken(text, take):
    """One take of a word by a synthesiser; each at another pace and pitch. float32 samples[n]."""
    if not shutil.which("espeak-ng"):
        return say({"lumos": "katam", "nox": "eskau"}[text], take)
    command = ["espeak-ng", "-s", str(140 + 7 * take), "-p", str(44 + 3 * take), "--stdout", text]
    content = subprocess.run(command, capture_output=True, check=True).stdout
    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    return placed(1.6, (0.3, soxr.resample(samples, rate, RATE)[: round(1.2 * RATE)]), floor=-65)


@pytest.fixture
def taught(voice):
    for word in ("lumos", "nox"):
        voice.words.teach(word, [spoken(word, take) for take in range(3)])
    return voice


@contextmanager
def played_when_somebody_listens(microphone, pcm):
    """Something is said as soon as it can be heard."""
    over = threading.Event()

    def play():
        eventually(lambda: microphone.listeners() == 1)
        microphone.play(pcm)
        over.wait()  # the player ends with the thread that has started it

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_taught_word_is_heard_and_the_microphone_let_go_of(microphone, taught):
    pcm = np.concatenate([placed(1.0, floor=-65), spoken("nox", 5), spoken("lumos", 4), placed(2.0, floor=-65)])
    heard = []
    with played_when_somebody_listens(microphone, pcm):
        for detection in taught.listen():
            if detection.own:
                heard.append(detection)
            if len(heard) == 2:
                assert microphone.listeners() == 1
                break
        assert microphone.listeners() == 0
    assert [detection.word for detection in heard] == ["nox", "lumos"]
    assert 1.0 < heard[1].start - heard[0].start < 2.2


def test_another_thread_ends_it(microphone, taught):
    opened = Microphone()

    def close():
        eventually(lambda: microphone.listeners() == 1)
        opened.close()

    closer = threading.Thread(target=close)
    closer.start()
    assert list(taught.listen(opened)) == []
    closer.join()
    assert microphone.listeners() == 0


def test_whoever_closes_it_while_it_opens_closes_what_was_opened(microphone, monkeypatch):
    opened, start = Microphone(), Microphone._start
    closer = threading.Thread(target=opened.close)

    def interrupted(self, sounddevice):
        closer.start()
        closer.join(0.2)  # it has to wait, or it would find nothing to close
        start(self, sounddevice)

    monkeypatch.setattr(Microphone, "_start", interrupted)
    opened.open()
    closer.join()
    assert not opened.is_open
    assert microphone.listeners() == 0


def test_whatever_the_app_raises_it_is_let_go_of(microphone, taught):
    pcm = np.concatenate([spoken("lumos", 4), placed(2.0, floor=-65)])

    def listen():
        for _detection in taught.listen():
            raise KeyError("the app's own")

    with played_when_somebody_listens(microphone, pcm):
        with pytest.raises(KeyError):
            listen()
        assert microphone.listeners() == 0


def test_a_microphone_that_goes_away_ends_it_with_what_to_do(own, taught):
    def unplug():
        eventually(lambda: own.listeners() == 1)
        own.unplug()

    unplugging = threading.Thread(target=unplug)
    unplugging.start()
    with pytest.raises(MicrophoneError, match=LOST) as caught:
        list(taught.listen())
    assert "Plug it in" in caught.value.advice
    unplugging.join()
    with pytest.raises(MicrophoneError):
        next(taught.listen())
