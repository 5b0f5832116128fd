"""Weights of the user's own: trained on old messages, tried on new ones, served only if they are better."""

from dataclasses import replace

import numpy as np
import pytest

from hushfold import personal
from hushfold.clock import ManualClock
from hushfold.conditions import Conditions, SimulatedConditions
from hushfold.device import Device
from hushfold.errors import ConditionsLost, MessagesDeleted, NotEligible
from hushfold.keys import KeyFile
from hushfold.memory import Blend, NgramMemory
from hushfold.model import TrainingModel
from hushfold.personal import FEWEST, PersonalWeights, Score
from hushfold.suggestions import Habits, Suggester

HABITS = ("wat r u doin", "c u at da park", "dun forget da milk", "r u comin home")
READY = Conditions(True, True, True)


@pytest.fixture
def build(tmp_path):
    """Builds devices on one folder, one after the other."""

    def build(**options):
        options = {"conditions": SimulatedConditions(READY), "clock": ManualClock(), "dwell": 0} | options
        return Device(tmp_path / "phone", KeyFile(tmp_path / "key"), **options)

    return build


@pytest.fixture
def device(build):
    with build() as device:
        for number in range(FEWEST):
            device.keyboard.learn(HABITS[number % len(HABITS)])
        yield device


@pytest.fixture
def weights_alone(monkeypatch):
    """The test without the user's habits, which know these few messages by heart."""
    monkeypatch.setattr(personal, "NgramMemory", lambda _: NgramMemory())


def probability(device, text, word):
    """Of a word, by the served weights alone."""
    offered = {found.text: found.probability for found in Suggester(device.files, served(device)).suggest(text, 10_000)}
    return offered[word]


def served(device):
    own = personal.load(device.store, device.files.manifest.size)
    return own.applied(device.weights()) if own and own.base == own_base(device) else device.weights()


def own_base(device):
    return personal.load(device.store, device.files.manifest.size).base


def scoring(monkeypatch, **top3):
    """Lets the released, the used and the trained weights score as given, without predicting."""
    tried = iter([0, *top3.values()])  # before them, the released weights without the user's habits
    monkeypatch.setattr(Score, "of", lambda *_: Score(100, 0, next(tried, 0)))


def test_what_a_user_writes_is_predicted_better_and_the_proof_says_so(device, weights_alone):
    before = probability(device, "wat r ", "u")
    trial = device.personalize()
    assert trial.kept is not None
    assert trial.kept.before == trial.released
    assert trial.kept.after == trial.trained
    assert trial.trained.top3 > trial.released.top3
    assert trial.used is None
    assert probability(device, "wat r ", "u") > before


def test_others_never_start_from_them(device, weights_alone):
    assert device.personalize().kept is not None
    np.testing.assert_array_equal(device.weights(), device.files.weights)


def test_they_are_served_after_a_restart(device, build, weights_alone):
    assert device.personalize().kept is not None
    suggestions = device.keyboard.suggest("wat r ", 20)
    device.close()
    with build() as again:
        assert again.keyboard.suggest("wat r ", 20) == suggestions


def test_the_messages_of_the_test_are_not_trained_on(device, monkeypatch):
    for _ in range(round(FEWEST / 4)):  # a fifth of all messages: those of the test
        device.keyboard.learn("hello beautiful ocean")
    ocean = device.files.vocabulary.encode_word("ocean")
    seen = []
    train_step = TrainingModel.train_step
    monkeypatch.setattr(
        TrainingModel, "train_step", lambda self, batch, *rest: seen.append(batch) or train_step(self, batch, *rest)
    )
    tried = []
    monkeypatch.setattr(Score, "of", lambda _, messages: tried.append(list(messages)) or Score(1, 0, 0))
    device.personalize()
    assert seen
    assert not any((batch.tokens == ocean).any() or (batch.targets == ocean).any() for batch in seen)
    assert tried == [["hello beautiful ocean"] * round(FEWEST / 4)] * 4  # of nobody, released, trained, tuned


@pytest.mark.parametrize(("released", "trained", "kept"), [(50, 51, True), (50, 50, False), (50, 49, False)])
def test_they_are_kept_only_if_they_are_better(device, monkeypatch, released, trained, kept):
    scoring(monkeypatch, released=released, trained=trained)
    assert (device.personalize().kept is not None) == kept
    assert (personal.load(device.store, device.files.manifest.size) is not None) == kept


@pytest.mark.parametrize(
    ("released", "trained", "used", "kept"),
    [(50, 60, 55, "trained"), (50, 55, 55, "used"), (50, 54, 55, "used"), (50, 50, 50, "used"), (50, 50, 49, None)],
)
def test_those_in_use_stay_until_others_are_better(device, monkeypatch, released, trained, used, kept):
    scoring(monkeypatch, released=50, trained=60)
    first = device.personalize().kept
    device.clock.advance(86_400)
    device.keyboard.learn("hello beautiful ocean")  # so that other weights come out
    scoring(monkeypatch, released=released, trained=trained, used=used)
    now = device.personalize().kept
    if kept is None:
        assert now is None
        assert personal.load(device.store, device.files.manifest.size) is None
    else:
        assert np.array_equal(now.change, first.change) == (kept == "used")
        assert now.after.top3 == {"trained": trained, "used": used}[kept]


def test_a_forgotten_message_takes_them_along(device, weights_alone):
    assert device.personalize().kept is not None
    assert device.keyboard.forget("park")
    assert personal.load(device.store, device.files.manifest.size) is None
    device.keyboard.wipe()  # the habits too: only the served weights are left to tell
    plain = Suggester(device.files, device.files.weights, Habits(device.keyboard.lexicon))
    assert device.keyboard.suggest("wat r ", 20) == plain.suggest("wat r ", 20)


def test_on_other_weights_they_wait_for_their_test(device, monkeypatch):
    """A new release is out: what was proven on the old one is carried over, and proven again."""
    scoring(monkeypatch, released=50, trained=51)
    device.personalize()
    newer = device.files.weights * np.float32(1.001)
    monkeypatch.setattr(device.model(), "weights", lambda: newer)
    exchanged = []
    monkeypatch.setattr(device.keyboard, "serve", lambda _, *served: exchanged.append(served))
    device.reload_model()
    vector, own = exchanged[-1]
    np.testing.assert_array_equal(vector, newer)
    assert own is None
    scoring(monkeypatch, released=50, trained=50, used=51)
    carried = device.personalize().kept
    vector, own = exchanged[-1]
    np.testing.assert_array_equal(vector, newer)
    assert own.to_bytes() == carried.to_bytes()


def test_a_session_that_lost_its_conditions_goes_on_where_it_was(device, weights_alone):
    def lose(now):
        if now.step == 2:
            device_conditions.set(idle=False)

    device_conditions = device.gate._source
    with pytest.raises(ConditionsLost):
        device.personalize(lose)
    device_conditions.set(idle=True)
    steps = []
    assert device.personalize(lambda now: steps.append(now.step)).kept is not None
    assert steps[0] == 3  # it went on where it was


def test_too_few_messages_prove_nothing(build):
    with build() as device:
        for _ in range(FEWEST - 1):
            device.keyboard.learn(HABITS[0])
        with pytest.raises(NotEligible, match=f"{FEWEST - 1} messages"):
            device.personalize()


def test_they_survive_being_stored(device):
    change = np.linspace(-1, 1, device.files.manifest.size).astype(np.float16)
    scales = np.linspace(0.1, 8, len(device.files.vocabulary), dtype=np.float32)
    blend = Blend(0.3, 0.7, (2.0, 5.0))
    proof = ("ab" * 32, Score(10, 1, 2), Score(10, 2, 3), 1_800_000_000.5)
    for own in (
        PersonalWeights(change.size, change, scales, blend, *proof),
        PersonalWeights(change.size, None, scales, blend, *proof),
    ):
        device.store.save_learned("personal-layer", own.to_bytes())
        restored = personal.load(device.store, change.size)
        np.testing.assert_array_equal(restored.scales, scales)
        np.testing.assert_array_equal(restored.applied(device.files.weights), own.applied(device.files.weights))
        assert replace(restored, change=None, scales=scales) == replace(own, change=None, scales=scales)
        assert personal.load(device.store, change.size + 1) is None


def test_what_helps_without_a_change_of_the_weights_is_kept_without_it(device, monkeypatch):
    scoring(monkeypatch, released=50, trained=49, tuned=51)
    trial = device.personalize()
    assert (trial.trained.top3, trial.tuned.top3) == (49, 51)
    assert trial.kept.change is None
    assert trial.kept.after == trial.tuned
    assert served(device) is not None
    habits = device.keyboard._suggester.habits
    np.testing.assert_array_equal(habits.scales, trial.kept.scales)
    assert habits.blend == trial.kept.blend != Blend()


@pytest.mark.parametrize(("likelier", "kept"), [(10.0, True), (-10.0, False), (0.0, False)])
def test_of_two_that_hit_as_many_words_the_likelier_is_better(device, monkeypatch, likelier, kept):
    scores = iter([Score(100, 0, 50, 300), Score(100, 0, 50, 300), Score(100, 0, 50, 300 - likelier)])
    monkeypatch.setattr(Score, "of", lambda *_: next(scores, Score(100, 0, 0, 0)))
    assert (device.personalize().kept is not None) == kept


def test_a_score_counts_words_hits_and_likelihood(device):
    suggester = device.keyboard._suggester
    messages = ["see you qzxqzx", "ok."]
    score = Score.of(suggester, messages)
    asked = [("", "see"), ("see ", "you"), ("see you ", "qzxqzx"), ("", "ok")]
    shown = [[found.text.lower() for found in suggester.suggest(before)] for before, _ in asked]
    assert score.words == 4
    assert score.top3 == sum(word in found for found, (_, word) in zip(shown, asked, strict=True))
    assert score.top1 == sum(word == found[0] for found, (_, word) in zip(shown, asked, strict=True))
    likelihoods = [max(suggester.probability(before, word), 1e-7) for before, word in asked]
    assert score.nats == pytest.approx(-np.log(likelihoods).sum())


def test_tuning_alone_makes_what_the_user_writes_likelier(device, monkeypatch):
    before = device.keyboard.probability("wat r ", "u")
    scoring(monkeypatch, released=50, trained=49, tuned=51)
    device.personalize()
    assert device.keyboard.probability("wat r ", "u") > before


@pytest.mark.parametrize("end", ["forget", "wipe"])
def test_scales_and_blend_go_with_what_they_were_learned_from(device, monkeypatch, end):
    scoring(monkeypatch, released=50, trained=49, tuned=51)
    assert device.personalize().kept is not None
    if end == "forget":
        device.keyboard.forget("park")
    else:
        device.keyboard.wipe()
    habits = device.keyboard._suggester.habits
    assert habits.scales is None
    assert habits.blend == Blend()
    assert personal.load(device.store, device.files.manifest.size) is None


def test_what_is_forgotten_while_it_is_tried_is_not_kept(device, monkeypatch):
    """Between training and the end of the trial: what was made of the message must not outlive it."""
    tries = []

    def forgetting(*_):
        tries.append(0)
        if len(tries) == 3:
            device.keyboard.forget("park")
        return Score(100, 0, 50 + len(tries))

    monkeypatch.setattr(Score, "of", forgetting)
    with pytest.raises(MessagesDeleted):
        device.personalize()
    assert personal.load(device.store, device.files.manifest.size) is None
