"""A session does the plan's work, only while it may, and comes to the same result however often it is stopped."""

import multiprocessing
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from hushfold.clock import ManualClock
from hushfold.conditions import Conditions, Gate, Reason, Requirements, SimulatedConditions
from hushfold.device import bundled_model
from hushfold.errors import ConditionsLost, MessagesDeleted, ModelError, NotEligible, TrainingDiverged
from hushfold.keyboard import Keyboard
from hushfold.lessons import MessageLessons
from hushfold.model import TrainingModel
from hushfold.store import Store
from hushfold.training import Progress, TrainingSession, TrainingTask
from hushfold_format import NextWordFiles, batches, message_ids
from hushfold_protocol.plan import TrainingParameters

KEY = bytes(range(32))
STEPS = 7
SAYINGS = (
    "see you at the park tomorrow",
    "thank you so much for the lift",
    "i am on my way home now",
    "what do you want to eat tonight",
    "sounds good to me, let us do that",
    "can you call me when you get there",
)


class Phone:
    """A store with messages, conditions that can be set, and sessions on them."""

    def __init__(self, files, path):
        self.files = files
        self.clock = ManualClock()
        self.store = Store(path, KEY)
        self.conditions = SimulatedConditions()
        self.gate = Gate(self.conditions, Requirements(), self.clock, dwell=0)

    def type(self, count):
        for number in range(count):
            self.clock.advance(60)
            self.store.add_message(f"{SAYINGS[number % len(SAYINGS)]} {number % 3}", self.clock.now())

    def session(self, task, start=None, **options):
        start = self.files.weights if start is None else start
        return TrainingSession(
            self.files, MessageLessons(self.files, self.store), task, start, self.store, self.gate, **options
        )


@pytest.fixture
def phone(files, tmp_path):
    made = Phone(files, tmp_path / "store.db")
    made.type(40)
    yield made
    made.store.close()


def make_task(files, **changes):
    parameters = TrainingParameters(
        steps=STEPS,
        batch=files.manifest.batch,
        time=files.manifest.time,
        learning_rate=0.25,
        max_examples=36,
        seed=4_000_000_000,
    )
    return TrainingTask("words", b"plan 1", "adapter", replace(parameters, **changes))


@pytest.fixture
def task(files):
    return make_task(files)


def stop_at(step):
    """A progress callback that ends the session after `step` steps, as a closing app might."""

    def progress(now):
        if now.step == step:
            raise KeyboardInterrupt

    return progress


def loss(files, vector, messages):
    """Sum over batches of their mean loss under `vector`."""
    model, total = TrainingModel(files), 0.0
    ids = [message_ids(message.text, files.vocabulary) for message in messages]
    for batch in batches(ids, files.manifest.batch, files.manifest.time):
        model.load(vector)
        total += model.train_step(batch, 1e-6, "adapter")  # the loss before the step
    return total


@pytest.mark.parametrize("part", ["adapter", "whole"])
def test_an_update_is_start_minus_end_and_helps(phone, task, files, part):
    update = phone.session(replace(task, part=part)).run()
    start, stop = files.manifest.parts[part]
    assert update.shape == (stop - start,)
    assert update.dtype == np.float32
    learned = files.weights.copy()
    learned[start:stop] -= update
    assert loss(files, learned, phone.store.messages()) < loss(files, files.weights, phone.store.messages())


def test_a_session_is_the_plain_loop_over_shuffled_passes(phone, task, files):
    """The whole computation again, in six lines."""
    parameters = task.parameters
    newest = phone.store.messages(limit=parameters.max_examples)
    ids = [message_ids(message.text, files.vocabulary) for message in newest]
    model, step, passed = TrainingModel(files), 0, 0
    model.load(files.weights)
    while step < STEPS:
        for batch in batches(ids, parameters.batch, parameters.time, seed=(passed << 32) + parameters.seed):
            if step < STEPS:
                model.train_step(batch, parameters.learning_rate, "adapter")
                step += 1
        passed += 1
    assert passed > 1
    part = slice(*files.manifest.parts["adapter"])
    assert np.array_equal(phone.session(task).run(), files.weights[part] - model.vector()[part])


def test_the_order_follows_from_the_seed(phone, task):
    first = phone.session(task).run()
    phone.store.clear_checkpoint("words")
    assert np.array_equal(phone.session(task).run(), first)
    other = replace(task, parameters=replace(task.parameters, seed=1))
    assert not np.array_equal(phone.session(other).run(), first)


@pytest.mark.parametrize("part", ["adapter", "whole"])
def test_stopped_at_every_step_it_comes_to_the_same_result(phone, task, part):
    task = replace(task, part=part)
    whole = phone.session(task).run()
    phone.store.clear_checkpoint("words")
    for step in range(1, STEPS):
        with pytest.raises(KeyboardInterrupt):
            phone.session(task).run(stop_at(step))
        assert phone.store.load_checkpoint("words").step == step
    resumed = phone.session(task).run()
    assert np.array_equal(resumed, whole)


def killed_at(path, step):
    """Run a session in this process and have the system kill it at `step`."""
    phone = Phone(NextWordFiles.load(bundled_model()), path)

    def progress(now):
        if now.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    phone.session(make_task(phone.files), checkpoint_steps=2).run(progress)


def test_killed_it_goes_on_from_the_last_checkpoint(phone, task, tmp_path):
    expected = phone.session(task).run()
    phone.store.clear_checkpoint("words")
    process = multiprocessing.get_context("spawn").Process(target=killed_at, args=(tmp_path / "store.db", 5))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert phone.store.load_checkpoint("words").step == 4
    steps = []
    assert np.array_equal(phone.session(task).run(lambda now: steps.append(now.step)), expected)
    assert steps == [5, 6, 7]


class Flaky:
    """Conditions that hold for a number of looks, and then the user picks up the device."""

    def __init__(self, looks):
        self.looks = looks

    def current(self):
        self.looks -= 1
        return Conditions(idle=self.looks >= 0, external_power=True, unmetered=True)


def test_a_lost_condition_stops_before_the_next_step(phone, task):
    expected = phone.session(task).run()
    phone.store.clear_checkpoint("words")
    steps = []
    phone.gate = Gate(Flaky(1 + 3), Requirements(), phone.clock, dwell=0)  # one look at the start, one a step
    with pytest.raises(ConditionsLost) as stopped:
        phone.session(task).run(lambda now: steps.append(now.step))
    assert stopped.value.reasons == (Reason.IDLE,)
    assert steps == [1, 2, 3]
    assert phone.store.load_checkpoint("words").step == 3
    phone.gate = Gate(SimulatedConditions(), Requirements(), phone.clock, dwell=0)
    assert np.array_equal(phone.session(task).run(lambda now: steps.append(now.step)), expected)
    assert steps == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("state", "reason"),
    [("idle", Reason.IDLE), ("external_power", Reason.EXTERNAL_POWER), ("unmetered", Reason.UNMETERED)],
)
def test_it_does_not_start_without_a_condition(phone, task, state, reason):
    phone.conditions.set(**{state: False})
    with pytest.raises(ConditionsLost) as waiting:
        phone.session(task).run(lambda now: pytest.fail("it trained"))
    assert waiting.value.reasons == (reason,)


def test_it_waits_until_conditions_have_settled(phone, task):
    phone.gate = Gate(phone.conditions, Requirements(), phone.clock, dwell=60)
    session = phone.session(task)
    with pytest.raises(ConditionsLost) as waiting:
        session.run(lambda now: pytest.fail("it trained"))
    assert waiting.value.reasons == (Reason.DWELL,)
    phone.clock.advance(60)
    seen = []
    session.run(lambda now: seen.append(now.step))
    assert len(seen) == STEPS


def test_progress_names_every_step_and_its_loss(phone, task):
    seen = []
    phone.session(task).run(seen.append)
    assert [(now.step, now.steps) for now in seen] == [(step, STEPS) for step in range(1, STEPS + 1)]
    assert all(isinstance(now, Progress) and 0 < now.loss < 20 for now in seen)


def test_a_finished_session_is_not_done_again(phone, task):
    first = phone.session(task).run()
    assert phone.store.load_checkpoint("words").step == STEPS
    phone.conditions.set(idle=False)  # nor does it need the device
    again = phone.session(task).run(lambda now: pytest.fail("it trained"))
    assert np.array_equal(again, first)


def test_what_is_typed_meanwhile_is_left_for_the_next_session(phone, task):
    expected = phone.session(task).run()
    phone.store.clear_checkpoint("words")
    with pytest.raises(KeyboardInterrupt):
        phone.session(task).run(stop_at(3))
    phone.type(5)
    assert np.array_equal(phone.session(task).run(), expected)


@pytest.mark.parametrize("change", ["plan", "part", "rate", "model"])
def test_the_checkpoint_of_another_session_is_discarded(phone, task, files, change):
    with pytest.raises(KeyboardInterrupt):
        phone.session(task).run(stop_at(3))
    other, start = task, files.weights
    match change:
        case "plan":
            other = replace(task, plan_id=b"plan 2")
        case "part":
            other = replace(task, part="whole")
        case "rate":
            other = replace(task, parameters=replace(task.parameters, learning_rate=0.1))
        case "model":
            start = files.weights.copy()
            start[-1] += 1
    steps = []
    result = phone.session(other, start).run(lambda now: steps.append(now.step))
    assert steps[0] == 1
    phone.store.clear_checkpoint("words")
    assert np.array_equal(result, phone.session(other, start).run())


def test_a_deletion_between_two_runs_starts_anew_without_it(phone, task):
    with pytest.raises(KeyboardInterrupt):
        phone.session(task).run(stop_at(3))
    phone.store.forget_text("park")
    steps = []
    result = phone.session(task).run(lambda now: steps.append(now.step))
    assert steps[0] == 1
    assert len(phone.store.messages()) < task.parameters.max_examples
    phone.store.clear_checkpoint("words")
    assert np.array_equal(result, phone.session(task).run())


@pytest.mark.parametrize("step", [2, STEPS])
def test_a_deletion_during_a_run_discards_it(phone, task, files, step):
    keyboard = Keyboard(files, files.weights, phone.store, phone.clock)

    def progress(now):
        if now.step == step:
            assert keyboard.forget("park")

    with pytest.raises(MessagesDeleted):
        phone.session(task, checkpoint_steps=2).run(progress)
    assert phone.store.load_checkpoint("words") is None


def test_a_deletion_just_before_a_stop_is_not_undone_by_the_stop(phone, task):
    def progress(now):
        if now.step == 3:
            phone.store.wipe()
            phone.conditions.set(idle=False)

    with pytest.raises(MessagesDeleted):
        phone.session(task).run(progress)
    assert phone.store.load_checkpoint("words") is None


def test_messages_without_a_word_to_learn_are_not_trained_on(files, tmp_path, task):
    phone = Phone(files, tmp_path / "new.db")
    for _ in range(12):
        phone.store.add_message("qzxqzx <number>", phone.clock.now())
    with pytest.raises(NotEligible, match="nothing to learn in 12"):
        phone.session(task).run()
    phone.store.close()


def test_a_diverged_session_leaves_no_trace(phone, task, files):
    before = files.weights.copy()
    keyboard = Keyboard(files, files.weights, phone.store, phone.clock)
    served = keyboard.suggest("we are ")
    mad = replace(task, part="whole", parameters=replace(task.parameters, learning_rate=1e38))
    with pytest.raises(TrainingDiverged, match="diverged"):
        phone.session(mad, checkpoint_steps=1).run()
    assert phone.store.load_checkpoint("words") is None
    assert np.array_equal(files.weights, before)
    assert keyboard.suggest("we are ") == served


def test_a_session_that_diverges_takes_as_many_steps_as_any_other(phone, task):
    """Its time must not tell."""
    steps = []
    mad = replace(task, part="whole", parameters=replace(task.parameters, learning_rate=1e38))
    with pytest.raises(TrainingDiverged):
        phone.session(mad).run(lambda now: steps.append(now.step))
    assert steps == list(range(1, STEPS + 1))


def test_an_update_is_good_while_its_messages_are_there(phone, task):
    session = phone.session(task)
    session.run()
    session.require_kept()
    phone.type(1)  # later messages are not part of it
    session.require_kept()
    phone.store.forget_text("park")
    with pytest.raises(MessagesDeleted):
        session.require_kept()


def test_a_plan_for_another_graph_is_refused(phone, task, files):
    with pytest.raises(ModelError, match="'voice'"):
        phone.session(replace(task, part="voice"))
    with pytest.raises(ModelError, match=r"batches of \d+x\d+"):
        phone.session(make_task(files, batch=files.manifest.batch + 1))
