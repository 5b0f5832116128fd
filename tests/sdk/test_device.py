"""The device as an app builds it."""

import hashlib
import shutil
import threading

import numpy as np
import pytest

from hushfold.clock import ManualClock
from hushfold.conditions import Reason, SimulatedConditions
from hushfold.device import Device, bundled_model
from hushfold.errors import KeyUnavailable, ModelError, StoreError, WrongKey
from hushfold.keys import KeyFile
from hushfold.releases import Release
from hushfold.training import TrainingTask
from hushfold_format import FIRST_WORD
from hushfold_protocol.plan import TrainingParameters


@pytest.fixture
def build(tmp_path):
    """Builds devices on one folder, one after the other."""

    def build(**options):
        options = {"conditions": SimulatedConditions(), "clock": ManualClock(), "dwell": 0} | options
        return Device(tmp_path / "phone", KeyFile(tmp_path / "key"), **options)

    return build


def install(device, files, tmp_path, number=1):
    """Activate a release that favours one word; how that word is written."""
    rank = next(rank for rank in range(50) if files.vocabulary.is_word(FIRST_WORD + rank))
    vector = files.weights.copy()
    files.manifest.split(vector)["bucket_bias"][1 + rank] = 50.0
    content = vector.astype("<f4").tobytes()
    path = tmp_path / "weights.f32"
    path.write_bytes(content)
    manifest = hashlib.sha256((bundled_model() / "model.json").read_bytes()).hexdigest()
    release = Release(
        model=files.manifest.name,
        version="9.0.0",
        number=number,
        target=f"{files.manifest.name}/9.0.0/weights.f32",
        sha256=hashlib.sha256(content).hexdigest(),
        manifest_sha256=manifest,
        minimum_sdk="0.1.0",
        rollout_percent=100,
        salt="",
    )
    device.active_model.activate(release, path)
    return files.vocabulary.surface(FIRST_WORD + rank)


def test_it_works_offline_from_what_is_bundled(build, files):
    with build() as device:
        assert device.active_model.active is None
        assert np.array_equal(device.weights(), files.weights)
        assert device.keyboard.suggest("we are ")
        assert device.keyboard.learn("see you at the park")
        assert [message.text for message in device.store.messages()] == ["see you at the park"]


def test_what_was_learned_is_there_after_a_restart(build):
    with build() as device:
        device.keyboard.learn("see you at the park")
    with build() as device:
        assert len(device.keyboard.messages()) == 1


def test_the_gate_follows_the_conditions_given(build):
    conditions = SimulatedConditions()
    with build(conditions=conditions) as device:
        assert device.gate.waiting_for() == ()
        conditions.set(external_power=False)
        assert device.gate.waiting_for() == (Reason.EXTERNAL_POWER,)


def test_by_default_an_unknown_host_is_not_trained_on(build):
    with build(conditions=None) as device:
        assert Reason.IDLE in device.gate.waiting_for()


def test_the_budget_is_the_one_given(build):
    with build(epsilon_limit=3.5) as device:
        assert device.budget.limit == 3.5
        assert device.budget.delta == device.policy.max_delta


def test_a_release_is_served_once_it_is_active_and_after_a_restart(build, files, tmp_path):
    with build() as device:
        before = device.keyboard.suggest("we are ")
        favourite = install(device, files, tmp_path)
        assert device.keyboard.suggest("we are ") == before
        device.reload_model()
        assert device.keyboard.suggest("we are ")[0].text == favourite
    with build() as device:
        assert device.keyboard.suggest("we are ")[0].text == favourite
        device.active_model.roll_back()
        device.reload_model()
        assert device.keyboard.suggest("we are ") == before


def test_of_two_threads_that_reload_the_one_with_newer_weights_wins(build, files, tmp_path, monkeypatch):
    """A thread has read the old weights and is about to serve them when another one adopts a release."""
    with build() as device:
        serve, favourites = device.keyboard.serve, []

        def adopt():
            favourites.append(install(device, files, tmp_path))
            device.reload_model()

        other = threading.Thread(target=adopt)

        def interrupted(*arguments):
            monkeypatch.undo()
            other.start()
            other.join(1.0)  # it waits for its turn; without a lock it would be done by now
            serve(*arguments)

        monkeypatch.setattr(device.keyboard, "serve", interrupted)
        device.reload_model()
        other.join()
        assert device.keyboard.suggest("we are ")[0].text == favourites[0]


@pytest.mark.parametrize("damage", ["weights lost", "weights changed", "pointer garbled"])
def test_a_damaged_release_does_not_cost_the_keyboard(build, files, tmp_path, caplog, damage):
    with build() as device:
        shipped = device.keyboard.suggest("we are ")
        install(device, files, tmp_path)
    folder = tmp_path / "phone" / "models" / files.manifest.name
    weights = next(folder.glob("*.f32"))
    match damage:
        case "weights lost":
            weights.unlink()
        case "weights changed":
            weights.write_bytes(weights.read_bytes()[:-4])
        case "pointer garbled":
            (folder / "active.json").write_text("{")
    with build() as device:
        assert device.keyboard.suggest("we are ") == shipped
        with pytest.raises(ModelError):
            device.reload_model()
        assert device.keyboard.suggest("we are ") == shipped
    assert "the shipped model is served" in caplog.text


def test_a_session_of_the_device_trains_on_its_messages(build, files):
    parameters = TrainingParameters(
        steps=2,
        batch=files.manifest.batch,
        time=files.manifest.time,
        learning_rate=0.1,
        max_examples=10,
        seed=1,
    )
    with build() as device:
        for number in range(3):
            device.keyboard.learn(f"see you at the park {number}")
        update = device.training_session(TrainingTask("words", b"local", "adapter", parameters), device.weights()).run()
    start, stop = files.manifest.parts["adapter"]
    assert update.shape == (stop - start,)
    assert np.any(update)


def test_a_missing_or_damaged_model_is_named(build, tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        build(model_folder=tmp_path / "nowhere")
    copy = tmp_path / "copy"
    shutil.copytree(bundled_model(), copy)
    with (copy / "training.tflite").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ModelError, match=r"training\.tflite"):
        build(model_folder=copy)


def test_a_wrong_key_opens_nothing(build, tmp_path):
    build().close()
    (tmp_path / "key").write_bytes(bytes(32))
    with pytest.raises(WrongKey):
        build()
    (tmp_path / "key").write_bytes(b"short")
    with pytest.raises(KeyUnavailable):
        build()


def test_closed_it_still_suggests_but_keeps_nothing(build):
    device = build()
    device.close()
    assert device.keyboard.suggest("we are ")
    with pytest.raises(StoreError, match=r"the device is closed.*Open a new Device"):
        device.keyboard.learn("see you at the park")
    device.close()


def test_a_closed_device_is_not_entered_again(build):
    with build() as device:
        pass
    with pytest.raises(StoreError, match=r"the device is closed.*Open a new Device"), device:
        pass
