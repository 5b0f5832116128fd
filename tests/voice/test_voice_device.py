"""The voice of a device: it costs a keyboard nothing, follows releases, and survives a damaged one."""

import hashlib
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import made_up_words
import numpy as np
import pytest
from made_up_words import COMMANDS, say, takes
from synthetic_speech import placed

from hushfold.clock import ManualClock
from hushfold.conditions import SimulatedConditions
from hushfold.device import Device, bundled_model
from hushfold.errors import ModelError, StoreError
from hushfold.keys import KeyFile
from hushfold.releases import Release
from hushfold.training import TrainingTask
from hushfold.updates import ActiveModel
from hushfold.voice.recordings import Kind
from hushfold.voice.sound import SpokenSound
from hushfold_protocol.plan import TrainingParameters


@pytest.fixture
def build(tmp_path):
    """Builds devices on one folder, one after the other."""

    def build(**options):
        options = {"conditions": SimulatedConditions(), "clock": ManualClock(), "dwell": 0} | options
        return Device(tmp_path / "phone", KeyFile(tmp_path / "key"), **options)

    return build


def install(active, vector, manifest_sha256, tmp_path, number=1):
    """Activate a release of the voice model."""
    content = vector.astype("<f4").tobytes()
    path = tmp_path / "weights.f32"
    path.write_bytes(content)
    release = Release(
        model="voice",
        version=f"{number}.0.0",
        number=number,
        target=f"voice/{number}.0.0/weights.f32",
        sha256=hashlib.sha256(content).hexdigest(),
        manifest_sha256=manifest_sha256,
        minimum_sdk="0.1.0",
        rollout_percent=100,
        salt="",
    )
    active.activate(release, path)


def obeys(device):
    """Whether the weights are served that know made-up words as commands."""
    said = [device.voice.recognise(say(word, 20)) for word in COMMANDS.values()]
    return [detection and detection.word for detection in said] == list(COMMANDS)


# ------------------------------------------------------------------ one device, two models


def test_whoever_only_types_needs_no_voice_model(build, tmp_path):
    with build(voice_folder=tmp_path / "nowhere") as device:
        device.keyboard.learn("see you at the park")
        assert device.keyboard.suggest("see you ")
        device.reload_model()
        with pytest.raises(ModelError, match="nowhere"):
            _ = device.voice
        with pytest.raises(ModelError, match="nowhere"):
            device.model("voice")
        assert device.keyboard.suggest("see you ")


@pytest.mark.slow
def test_the_voice_works_without_what_streams_need(tmp_path):
    """Teaching and recognising recordings, without the packages of the extra, and without anything read for typing."""
    script = f"""
import sys
for package in ("sounddevice", "soundfile", "soxr", "webrtcvad"):
    sys.modules[package] = None
sys.path.insert(0, {str(Path(made_up_words.__file__).parent)!r})
from hushfold import Device, KeyFile
from made_up_words import say, takes
with Device({str(tmp_path / "phone")!r}, KeyFile({str(tmp_path / "key")!r})) as device:
    assert "hushfold.voice.activity" not in sys.modules
    device.voice.words.teach("lumos", takes("katam", 3))
    print(device.voice.recognise(say("katam", 20)).word)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "lumos", done.stderr


def test_there_is_one_voice(build):
    with build() as device:
        found = []
        threads = [threading.Thread(target=lambda: found.append(device.voice)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(voice) for voice in found}) == 1
        assert device.model("voice") is device.model("voice")
        with pytest.raises(ModelError, match=r"no model 'radio'.*'next_word' or 'voice'"):
            device.model("radio")


def test_a_missing_or_damaged_model_is_named(build, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundled_model("voice"), copy)
    with (copy / "inference_int8.tflite").open("ab") as file:
        file.write(b"\0")
    with build(voice_folder=copy) as device, pytest.raises(ModelError, match=r"inference_int8\.tflite"):
        _ = device.voice
    with (
        build(voice_folder=bundled_model()) as device,
        pytest.raises(ModelError, match="no voice model"),
    ):
        _ = device.voice


def test_what_was_taught_is_there_after_a_restart(build):
    with build() as device:
        device.voice.words.teach("lumos", takes("katam", 3))
    with build() as device:
        assert device.voice.recognise(say("katam", 20)).word == "lumos"
        stream = device.voice.stream()
        pcm = placed(2.5, (0.8, say("katam", 21, around=0.1)), floor=-65)
        assert [each.word for each in stream.feed(pcm)] == ["lumos"]


def test_a_closed_device_has_no_voice(build):
    device = build()
    device.close()
    with pytest.raises(StoreError, match="the device is closed"):
        _ = device.voice
    device = build()
    voice = device.voice
    voice.words.teach("lumos", takes("katam", 1))
    device.close()
    with pytest.raises(StoreError, match="the device is closed"):
        voice.recognise(say("katam", 20))


def test_what_is_on_the_disk_tells_nothing_without_the_key(build, tmp_path):
    with build() as device:
        device.voice.words.teach("expelliarmus", takes("katam", 3))
        device.voice.correct(device.voice.recognise(say("katam", 20)), "left")
        sound = SpokenSound.of(say("katam", 0))
    everything = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(everything) > 50_000
    assert b"expelliarmus" not in everything
    for content in (say("katam", 0).tobytes(), sound.features.tobytes(), sound.features.astype("<f2").tobytes()):
        assert not any(content[at : at + 24] in everything for at in range(0, len(content) - 24, 2048))


# ------------------------------------------------------------------ releases


def test_a_release_is_served_once_it_is_active_and_after_a_restart(build, commanded, tmp_path):
    with build() as device:
        suggested = device.keyboard.suggest("we are ")
        device.voice.words.teach("lumos", takes("imax", 3))
        assert not obeys(device)
        model = device.model("voice")
        install(model.active, commanded, model.manifest_sha256, tmp_path)
        assert not obeys(device)
        device.model("voice").reload()
        assert obeys(device)
        assert device.voice.recognise(say("imax", 20)).word == "lumos"
        assert np.array_equal(device.model("voice").weights(), commanded)
        assert device.active_model.active is None  # the keyboard's
        assert device.keyboard.suggest("we are ") == suggested
    with build() as device:
        assert obeys(device)
        assert device.voice.recognise(say("imax", 20)).word == "lumos"
        device.model("voice").active.roll_back()
        device.model("voice").reload()
        assert not obeys(device)


@pytest.mark.parametrize("damage", ["weights lost", "weights changed", "pointer garbled"])
def test_a_damaged_release_does_not_cost_the_voice(build, commanded, tmp_path, caplog, damage):
    folder = tmp_path / "phone" / "models" / "voice"
    manifest_sha256 = hashlib.sha256((bundled_model("voice") / "model.json").read_bytes()).hexdigest()
    install(ActiveModel(folder, manifest_sha256), commanded, manifest_sha256, tmp_path)
    weights = next(folder.glob("*.f32"))
    match damage:
        case "weights lost":
            weights.unlink()
        case "weights changed":
            weights.write_bytes(weights.read_bytes()[:-4])
        case "pointer garbled":
            (folder / "active.json").write_text("{")
    with build() as device:
        device.voice.words.teach("lumos", takes("imax", 3))
        assert device.voice.recognise(say("imax", 20)).word == "lumos"
        assert not obeys(device)
        assert "release of model voice cannot be used, the shipped model is served" in caplog.text
        with pytest.raises(ModelError):
            device.model("voice").reload()
        assert device.voice.recognise(say("imax", 20)).word == "lumos"
        assert device.keyboard.suggest("we are ")


def test_of_two_threads_that_reload_the_one_with_newer_weights_wins(build, commanded, tmp_path, monkeypatch):
    """A thread has read the old weights and is about to serve them when another one adopts a release."""
    with build() as device:
        model, voice = device.model("voice"), device.voice
        serve = voice.serve

        def adopt():
            install(model.active, commanded, model.manifest_sha256, tmp_path)
            model.reload()

        other = threading.Thread(target=adopt)

        def interrupted(weights):
            if other.ident is None:
                other.start()
                other.join(0.3)  # it waits for its turn; without a lock it would be done by now
            serve(weights)

        monkeypatch.setattr(model, "_serve", interrupted)
        model.reload()
        other.join()
        assert obeys(device)


# ------------------------------------------------------------------ training


def parameters(device, **changes):
    manifest = device.model("voice").files.manifest
    values = {"steps": 4, "batch": manifest.batch, "time": manifest.time, "learning_rate": 0.05, "max_examples": 50}
    return TrainingParameters(**values | {"seed": 1} | changes)


def test_a_session_of_the_voice_model_trains_on_recordings_and_not_on_messages(build):
    with build() as device:
        for command, word in COMMANDS.items():
            for pcm in takes(word, 2):
                device.voice.recordings.add(command, Kind.CORRECTED, SpokenSound.of(pcm).features)
        device.keyboard.learn("see you at the park")
        model = device.model("voice")
        task = TrainingTask("commands", b"plan", "adapter", parameters(device))
        losses = []
        update = model.training_session(task, model.weights()).run(lambda progress: losses.append(progress.loss))
        start, stop = model.files.manifest.parts["adapter"]
        assert update.shape == (stop - start,)
        assert losses[-1] < losses[0]
        assert device.store.load_checkpoint("voice/commands") is not None
        assert device.store.load_checkpoint("commands") is None
        device.keyboard.forget("park")
        assert device.store.load_checkpoint("voice/commands") is not None
        device.voice.learning_enabled = False
        assert device.store.load_checkpoint("voice/commands") is None
        assert [message.text for message in device.store.messages()] == []


def test_a_wipe_takes_the_voice_with_it(build):
    with build() as device:
        device.voice.words.teach("lumos", takes("katam", 3))
        device.store.wipe()
        detection = device.voice.recognise(say("katam", 20))
        assert detection is None or not detection.own
        assert device.voice.words.all() == []
