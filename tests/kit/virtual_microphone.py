"""A microphone without hardware: a PulseAudio daemon of the test's own, with a null sink whose monitor is recorded.

What is played into the sink is what the microphone hears. ALSA, through which PortAudio reaches PulseAudio, gets a
configuration of its own as well, so that nothing of the machine's sound is touched.
"""

import ctypes.util
import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from eventually import eventually

_PLUGIN = "libasound_module_pcm_pulse.so"
_SINK = ("sink_name=speaker", "rate=48000", "channels=1")
ASOUND = """
pcm.!default { type pulse }
ctl.!default { type pulse }
"""


def missing():
    """What has to be installed for it, or nothing."""
    there = {
        "pulseaudio": shutil.which("pulseaudio") and shutil.which("pactl") and shutil.which("pacat"),
        "libasound2-plugins": any(Path("/usr/lib").glob(f"*/alsa-lib/{_PLUGIN}")),
        "libportaudio2": ctypes.util.find_library("portaudio"),
    }
    return [package for package, found in there.items() if not found]


def require():
    """Skips the test where something is missing; in continuous integration, where nothing may be, it fails."""
    if packages := missing():
        message = f"a virtual microphone needs {', '.join(packages)}: make system-deps"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


# Kills what it starts when the test's process ends, however that does. Not as a `preexec_fn`, which would fork in
# earnest: gRPC, once TensorFlow Federated has loaded it, does not survive that.
_END_WITH_THE_TEST = ("setpriv", "--pdeathsig", "KILL")


class VirtualMicrophone:
    """A daemon and its null sink. Start it in `with`; at the end nothing is left of it but its folder."""

    def __init__(self, folder: Path):
        self._folder = folder
        socket = folder / "native"
        self.environment = {
            "XDG_RUNTIME_DIR": str(folder),
            "HOME": str(folder),
            "PULSE_SERVER": f"unix:{socket}",
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
        }
        self._modules = ["-L", f"module-native-protocol-unix socket={socket} auth-anonymous=1"]
        self._processes, self._players = [], []

    def __enter__(self):
        self._folder.mkdir(mode=0o700, exist_ok=True)
        (self._folder / "asound.conf").write_text(ASOUND)
        options = ["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "--disable-shm=yes"]
        options += ["--realtime=no", "--high-priority=no", "--log-level=error"]
        self._daemon = self._begin("pulseaudio", *options, *self._modules)
        self.plug_in()
        return self

    def __exit__(self, *_):
        for process in self._processes:
            process.kill()
            process.wait(30)

    def plug_in(self):
        """The microphone is there."""
        eventually(lambda: self._pactl("load-module", "module-null-sink", *_SINK))
        # A null sink works in steps of two seconds until somebody asks for shorter ones.
        recorded = self._folder / f"recorded-{len(self._processes)}"
        self._begin("pacat", "--record", "--device=speaker.monitor", "--latency-msec=10", str(recorded))
        eventually(lambda: recorded.exists() and recorded.stat().st_size)

    def unplug(self):
        """The microphone is gone; the sound server goes on."""
        assert self._pactl("unload-module", "module-null-sink") is not None

    def freeze(self):
        """The sound server answers nothing any more; `kill` still ends it."""
        self._daemon.send_signal(signal.SIGSTOP)

    def kill(self):
        """The sound server itself is gone."""
        self._daemon.kill()
        self._daemon.wait(30)

    def listeners(self):
        """How many record from it, the test's own recorder aside."""
        return len(self._pactl("list", "short", "source-outputs").splitlines()) - 1

    def play(self, audio, rate=16_000):
        """Begin to play float32 samples[n] into the microphone; several are mixed. Until it is `hush`ed."""
        sound = self._folder / f"sound-{len(self._processes)}"
        sound.write_bytes(np.asarray(audio, "<f4").tobytes())
        form = ["--raw", "--format=float32le", f"--rate={rate}", "--channels=1"]
        self._players.append(self._begin("pacat", "--playback", *form, "--device=speaker", str(sound)))

    def hush(self):
        """Nothing is played any more."""
        while self._players:
            player = self._players.pop()
            player.kill()
            player.wait(30)
        eventually(lambda: not self._pactl("list", "short", "sink-inputs"))

    def _begin(self, *command):
        command = (*_END_WITH_THE_TEST, *command)
        process = subprocess.Popen(command, env=os.environ | self.environment, stderr=subprocess.DEVNULL)
        self._processes.append(process)
        return process

    def _pactl(self, *words):
        """What the server answered; nothing if it did not do it."""
        command = ["pactl", *words]
        done = subprocess.run(command, env=os.environ | self.environment, capture_output=True, text=True, check=False)
        return None if done.returncode else done.stdout
