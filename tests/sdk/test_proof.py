"""What the user is told of what learning has done: true, and not more than was measured."""

from datetime import date

import numpy as np
import pytest

from hushfold import personal
from hushfold.clock import ManualClock
from hushfold.conditions import Conditions, SimulatedConditions
from hushfold.device import Device
from hushfold.errors import ConditionsLost, NotEligible
from hushfold.keys import KeyFile
from hushfold.personal import FEWEST, Score
from hushfold.proof import Verdict
from hushfold.suggestions import Kind, Suggestion

HABITS = ("wat r u doin", "c u at da park", "dun forget da milk", "r u comin home")
READY = Conditions(True, True, True)


@pytest.fixture
def build(tmp_path):
    """Builds devices on one folder, one after the other."""

    def build():
        conditions = SimulatedConditions(READY)
        return Device(
            tmp_path / "phone", KeyFile(tmp_path / "key"), conditions=conditions, clock=ManualClock(), dwell=0
        )

    return build


@pytest.fixture
def device(build):
    with build() as device:
        yield device


def write(device, messages):
    for number in range(messages):
        assert device.keyboard.learn(HABITS[number % len(HABITS)])


@pytest.fixture
def tried(device, monkeypatch):
    """Runs a night of which the scores are given, in percent."""
    write(device, FEWEST)

    def night(**top3):
        device.clock.advance(86_400)
        device.keyboard.learn(f"hello {'beautiful ' * (1 + len(device.keyboard.messages()))}ocean")  # other weights
        scores = iter(top3.values())
        with monkeypatch.context() as patched:
            patched.setattr(Score, "of", lambda *_: Score(100, 0, next(scores, 0)))
            return device.personalize()

    return night


def today(device):
    return date.fromtimestamp(device.clock.now()).isoformat()


def test_a_new_user_is_told_what_is_missing(device):
    write(device, 12)
    proof = device.proof()
    assert (proof.verdict, proof.messages, proof.needed) == (Verdict.UNTRIED, 12, FEWEST)
    assert (proof.before, proof.now, proof.tried_at) == (None, None, None)
    assert str(proof) == "40 messages are needed to prove anything; 12 so far; no taps counted yet"
    with pytest.raises(NotEligible):
        device.personalize()
    assert device.proof() == proof
    write(device, FEWEST)
    assert str(device.proof()).startswith("nothing is proven yet: it is tried while the device is idle and charging")


def test_the_proof_of_a_real_night(device, monkeypatch):
    write(device, 2 * FEWEST)
    trial = device.personalize()
    proof = device.proof()
    assert proof.before.words == proof.now.words == trial.released.words > 0
    assert proof.now == (trial.kept.after if trial.kept else trial.released)
    assert proof.before.top3 < trial.released.top3  # the words of the user are not those of people
    assert proof.tried_at == device.clock.now()


def test_before_is_what_somebody_would_get_whom_the_keyboard_does_not_know(build, device):
    """Neither words nor habits nor offensive words that the user writes: the suggestions of a new device."""
    for _ in range(2 * FEWEST):
        device.keyboard.learn("wat da shit lah")
    proof_of = device.personalize() and device.proof()
    asked = ["", "wat ", "wat da ", "wat da shit "]
    words = ["wat", "da", "shit", "lah"]
    device.keyboard.wipe()
    hits = sum(
        word in [found.text.lower() for found in device.keyboard.suggest(text)]
        for text, word in zip(asked, words, strict=True)
    )
    messages = round(0.2 * 2 * FEWEST)
    assert proof_of.before.top3 == messages * hits
    assert proof_of.before.words == messages * 4


def test_better_weights_are_told_with_what_they_bring_and_the_taps_saved(device, tried):
    tried(unlearned=31, released=35, trained=38)
    for _ in range(103):
        device.keyboard.accepted(Suggestion("abcd", Kind.NEXT_WORD, 0.5), "")
    proof = device.proof()
    assert proof.verdict is Verdict.BETTER
    assert str(proof) == (
        f"top-3 right: 31 % before, 38 % now (of 100 words that nothing was trained on, {today(device)}); "
        f"412 taps saved since {today(device)}"
    )


def test_weights_that_do_not_help_are_told_and_what_habits_do_is_still_shown(device, tried):
    tried(unlearned=31, released=35, trained=35)
    proof = device.proof()
    assert proof.verdict is Verdict.NO_BETTER
    assert (proof.before.top3, proof.now.top3) == (31, 35)
    assert "31 % before, 35 % now" in str(proof)
    assert "would not add to that, and are not in use" in str(proof)


def test_a_keyboard_that_learning_made_worse_is_told_so(device, tried):
    tried(unlearned=31, released=29, trained=28)
    assert "31 % before, 29 % now" in str(device.proof())


def test_weights_that_no_longer_help_are_told_until_others_do(device, tried):
    tried(unlearned=31, released=35, trained=38)
    tried(unlearned=31, released=36, trained=36, used=33)
    switched_off = f"no longer better than the released model: switched off on {today(device)}"
    for _ in range(2):
        proof = device.proof()
        assert proof.verdict is Verdict.SWITCHED_OFF
        assert (proof.before.top3, proof.now.top3) == (31, 36)
        assert switched_off in str(proof)
        tried(unlearned=31, released=36, trained=36)  # another night without success
    tried(unlearned=31, released=36, trained=40)
    assert device.proof().verdict is Verdict.BETTER
    assert "switched off" not in str(device.proof())


def test_on_a_new_release_the_proof_says_that_it_waits(device, tried, monkeypatch):
    tried(unlearned=31, released=35, trained=38)
    newer = device.files.weights * np.float32(1.001)
    monkeypatch.setattr(device, "weights", lambda: newer)
    assert device.proof().verdict is Verdict.WAITING
    assert "off until they have been tried on it" in str(device.proof())
    tried(unlearned=31, released=35, trained=38, used=38)
    assert device.proof().verdict is Verdict.BETTER


def test_the_proof_outlives_the_process(build, device, tried):
    tried(unlearned=31, released=35, trained=38)
    proof = device.proof()
    device.close()
    with build() as again:
        assert again.proof() == proof


@pytest.mark.parametrize("deleted", ["forgotten", "wiped"])
def test_no_proof_is_left_of_messages_that_were_deleted(device, tried, deleted):
    tried(unlearned=31, released=35, trained=38)
    if deleted == "forgotten":
        device.keyboard.forget("park")
    else:
        device.keyboard.wipe()
    assert device.proof().verdict is Verdict.UNTRIED
    assert device.proof().now is None


def test_a_proof_of_weights_that_are_gone_is_none(device, tried):
    """They were cleared by a forgotten message in the moment before the record was written."""
    tried(unlearned=31, released=35, trained=38)
    personal.clear(device.store)
    assert device.proof().verdict is Verdict.UNTRIED


def test_messages_without_words_prove_nothing_and_break_nothing(device):
    for _ in range(FEWEST):
        assert device.keyboard.learn("\U0001f602 !")
    device.personalize()
    assert str(device.proof()).startswith("nothing is proven: the newest messages have no words to predict")


def test_a_lost_condition_stops_before_anything_is_decided(device):
    write(device, FEWEST)
    device.gate._source.set(idle=False)
    with pytest.raises(ConditionsLost):
        device.personalize()
    assert device.proof().verdict is Verdict.UNTRIED
