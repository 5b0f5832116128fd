"""Weights of the user's own across releases: through the real update path, and decided by the gate each time."""

import hashlib

import numpy as np
import pytest
from release_repository import METADATA_URL, TARGETS_URL, ReleaseRepository

from hushfold import personal
from hushfold.clock import ManualClock
from hushfold.conditions import Conditions, SimulatedConditions
from hushfold.device import Device, bundled_model
from hushfold.keys import KeyFile
from hushfold.participation import Participation
from hushfold.personal import FEWEST, Score
from hushfold.proof import Verdict
from hushfold.service import Service
from hushfold.suggestions import Suggester
from hushfold_format.manifest import MANIFEST

HABITS = ("wat r u doin", "c u at da park", "dun forget da milk", "r u comin home")
TYPED = "it is raining again and we are still here, wat r "  # read before weights change, and after


@pytest.fixture
def device(tmp_path):
    conditions = SimulatedConditions(Conditions(True, True, True))
    with Device(
        tmp_path / "phone", KeyFile(tmp_path / "key"), conditions=conditions, clock=ManualClock(), dwell=0
    ) as device:
        for number in range(FEWEST):
            device.keyboard.learn(HABITS[number % len(HABITS)])
        yield device


@pytest.fixture
def release(device):
    """Publishes weights and lets the device find, verify, download and adopt them, as an app does."""
    repository = ReleaseRepository()
    participation = Participation(device, service(repository), "keyboard-en")
    participation._channel._urls = (METADATA_URL, TARGETS_URL)
    participation._channel._fetcher = repository  # all but the transport is real
    manifest = hashlib.sha256((bundled_model() / MANIFEST).read_bytes()).hexdigest()
    numbers = iter(range(1, 100))

    def publish(vector):
        number, name = next(numbers), device.files.manifest.name
        version = f"9.{number}.0"
        custom = {
            "model": name,
            "version": version,
            "release": number,
            "minimum_sdk": "0.1.0",
            "rollout_percent": 100,
            "salt": "s",
            "manifest_sha256": manifest,
        }
        repository.add(f"{name}/{version}/weights.f32", vector.astype("<f4").tobytes(), custom)
        assert participation.update_model() == version
        np.testing.assert_array_equal(device.weights(), vector)

    return publish


def service(repository):
    nowhere = "http://127.0.0.1:1"  # no server listens there
    return Service(nowhere, nowhere, bytes(32), repository.root_json)


@pytest.fixture
def night(device, monkeypatch):
    """Trains for real and lets the weights score as given, in percent."""

    def personalize(**top3):
        scores = iter([0, *top3.values()])  # the first without the user's habits
        with monkeypatch.context() as patched:
            patched.setattr(Score, "of", lambda *_: Score(100, 0, next(scores, 0)))
            return device.personalize()

    return personalize


def newer(device, number):
    """Weights of a next release."""
    return device.files.weights * np.float32(1 + number / 100)


def serves(device, vector):
    """Whether suggestions are those of these weights, for a text that was read with others before.

    A state that was kept over the exchange of weights would show: nothing else has read the text.
    """
    fresh = Suggester(device.files, vector, device.keyboard._suggester.habits)
    return device.keyboard.suggest(TYPED, 50) == fresh.suggest(TYPED, 50)


def own(device):
    return personal.load(device.store, device.files.manifest.size)


def test_over_two_releases_they_wait_are_tried_and_are_kept_or_dropped(device, release, night):
    first = night(released=50, trained=51).kept
    assert serves(device, first.applied(device.files.weights))

    release(newer(device, 1))
    assert serves(device, newer(device, 1))  # without them, until they are tried
    assert device.proof().verdict is Verdict.WAITING
    np.testing.assert_array_equal(own(device).change, first.change)  # and they are carried over

    carried = night(released=50, trained=50, used=51).kept
    np.testing.assert_array_equal(carried.change, first.change)
    assert serves(device, carried.applied(newer(device, 1)))
    assert device.proof().verdict is Verdict.BETTER

    release(newer(device, 2))
    assert serves(device, newer(device, 2))
    assert night(released=51, trained=51, used=50).kept is None
    assert serves(device, newer(device, 2))
    assert own(device) is None
    assert device.proof().verdict is Verdict.SWITCHED_OFF


def test_on_a_new_release_weights_trained_from_it_may_take_their_place(device, release, night):
    first = night(released=50, trained=51).kept
    release(newer(device, 1))
    now = night(released=50, trained=53, used=52).kept
    assert not np.array_equal(now.change, first.change)
    assert serves(device, now.applied(newer(device, 1)))


def test_going_back_to_the_release_of_the_proof_serves_them_again(device, release, night):
    first = night(released=50, trained=51).kept
    release(newer(device, 1))
    device.active_model.roll_back()
    device.reload_model()
    assert serves(device, first.applied(device.files.weights))
    assert device.proof().verdict is Verdict.BETTER


def test_a_regression_rolls_back_by_itself_and_others_may_follow(device, night):
    night(released=50, trained=51)
    device.keyboard.learn("hello beautiful ocean")
    assert night(released=52, trained=52, used=51).kept is None
    assert serves(device, device.files.weights)
    again = night(released=50, trained=51).kept
    assert serves(device, again.applied(device.files.weights))


def test_a_release_while_the_device_trains_does_not_serve_what_was_proven_on_the_one_before(device, release, night):
    published = []

    def adopt(progress):
        if not published:
            published.append(newer(device, 1))
            release(published[0])

    scores = iter([Score(100, 0, top3) for top3 in (0, 50, 51, 50)])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Score, "of", lambda *_: next(scores))
        kept = device.personalize(adopt).kept
    assert kept is not None
    assert kept.base == hashlib.sha256(device.files.weights.astype("<f4").tobytes()).hexdigest()
    assert serves(device, newer(device, 1))
    assert device.proof().verdict is Verdict.WAITING


def test_the_gate_decides_by_real_predictions_on_a_new_release(device, release, monkeypatch):
    """Nothing is acted: what is in use afterwards predicts the newest messages at least as well as the release."""
    device.personalize()
    release(newer(device, 1))
    trial = device.personalize()
    in_use = trial.kept.after if trial.kept else trial.released
    assert in_use.top3 == max(score.top3 for score in (trial.released, trial.used, trial.trained) if score)
    vector = trial.kept.applied(newer(device, 1)) if trial.kept else newer(device, 1)
    assert serves(device, vector)
