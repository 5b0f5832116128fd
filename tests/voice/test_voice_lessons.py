"""The voice model learns from recordings as the keyboard's does from messages, and from nothing that was deleted."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_words import COMMANDS, say

from hushfold.clock import ManualClock
from hushfold.conditions import Gate, Requirements, SimulatedConditions
from hushfold.device import bundled_model
from hushfold.errors import ConditionsLost, MessagesDeleted, ModelError, NotEligible
from hushfold.lessons import MessageLessons
from hushfold.model import TrainingModel
from hushfold.store import Store
from hushfold.training import TrainingSession, TrainingTask
from hushfold.voice.lessons import RecordingLessons
from hushfold.voice.recognition import UNKNOWN, Recogniser
from hushfold.voice.recordings import Kind, Recordings
from hushfold.voice.sound import SpokenSound
from hushfold_format import NextWordFiles
from hushfold_protocol.plan import TrainingParameters

STEPS = 7
TAUGHT, CONFIRMED, CORRECTED, REJECTED = Kind


class Phone:
    """A store with recordings, conditions that can be set, and sessions on them."""

    def __init__(self, files, path):
        self.files, self.clock = files, ManualClock()
        self.store = Store(path, bytes(range(32)))
        self.recordings = Recordings(self.store, self.clock)
        self.lessons = RecordingLessons(files, self.recordings)
        self.conditions = SimulatedConditions()
        self.gate = Gate(self.conditions, Requirements(), self.clock, dwell=0)

    def keep(self, word, kind, pcm):
        self.clock.advance(60)
        return self.recordings.add(word, kind, SpokenSound.of(pcm).features)

    def session(self, task, **options):
        return TrainingSession(self.files, self.lessons, task, self.files.weights, self.store, self.gate, **options)


@pytest.fixture
def phone(voice_files, tmp_path):
    """Its user has said four commands, six times each, and was misheard six times."""
    made = Phone(voice_files, tmp_path / "store.db")
    for take in range(6):
        for command, word in COMMANDS.items():
            made.keep(command, CONFIRMED if take % 2 else CORRECTED, say(word, take))
        made.keep(None, REJECTED, say("imax", take))
    yield made
    made.store.close()


@pytest.fixture
def task(voice_files):
    parameters = TrainingParameters(
        steps=STEPS,
        batch=voice_files.manifest.batch,
        time=voice_files.manifest.time,
        learning_rate=0.3,
        max_examples=28,
        seed=4_000_000_000,
    )
    return TrainingTask("commands", b"plan 1", "adapter", parameters)


def stop_at(step):
    """A progress callback that ends the session after `step` steps, as a closing app might."""

    def progress(now):
        if now.step == step:
            raise KeyboardInterrupt

    return progress


# ------------------------------------------------------------------ what there is to learn from


def test_the_newest_examples_of_commands_come_first(phone):
    ids = [recording.id for recording in phone.recordings.all()]
    assert [recording.id for recording in phone.lessons.select(None, 100)] == ids[::-1]
    assert [recording.id for recording in phone.lessons.select(None, 4)] == ids[:-5:-1]
    assert [recording.id for recording in phone.lessons.select(ids[9], 100)] == ids[9::-1]
    assert phone.lessons.select(0, 100) == []
    assert (phone.lessons.noun, phone.lessons.prefix) == ("recordings", "voice/")


def test_words_of_the_users_own_are_not_learned(phone):
    """The model has no label for them, and what they are is nobody's business."""
    before = [recording.id for recording in phone.lessons.select(None, 100)]
    phone.keep("lumos", TAUGHT, say("katam"))
    phone.keep("lumos", CONFIRMED, say("katam", 11))
    phone.keep("lumos", CORRECTED, say("katam", 12))
    assert [recording.id for recording in phone.lessons.select(None, 100)] == before


def test_a_lesson_is_the_second_around_each_word_with_its_label(phone):
    chosen = phone.lessons.select(None, 100)
    lesson = phone.lessons.prepare(chosen)
    labels = phone.files.labels
    assert [labels[label] for label in lesson.labels] == [recording.word or UNKNOWN for recording in chosen]
    for window, recording in zip(lesson.windows, chosen, strict=True):
        assert np.array_equal(window, SpokenSound(recording.features).window(phone.files.manifest.time))
    assert lesson.batches == len(lesson.in_order(1)) == -(-len(chosen) // phone.files.manifest.batch)


def test_a_pass_has_each_example_once_in_an_order_of_its_seed(phone):
    lesson = phone.lessons.prepare(phone.lessons.select(None, 100))

    def rows(seed):
        batches = lesson.in_order(seed)
        return [
            (label, features.tobytes())
            for batch in batches
            for features, label, mask in zip(batch.features, batch.labels.tolist(), batch.mask, strict=True)
            if mask
        ]

    everything = sorted((label, window.tobytes()) for window, label in zip(lesson.windows, lesson.labels, strict=True))
    assert sorted(rows(1)) == sorted(rows(2)) == everything
    assert rows(1) == rows(1) != rows(2)


def test_without_recordings_there_is_nothing_to_learn(voice_files, tmp_path, task):
    phone = Phone(voice_files, tmp_path / "store.db")
    phone.keep("lumos", TAUGHT, say("katam"))
    with pytest.raises(NotEligible, match="nothing to learn"):
        phone.session(task).run()
    phone.store.close()


# ------------------------------------------------------------------ a session


@pytest.mark.parametrize("part", ["adapter", "whole"])
def test_an_update_is_of_its_part_and_helps(phone, task, part):
    rate = 0.3 if part == "adapter" else 0.05
    task = replace(task, part=part, parameters=replace(task.parameters, steps=20, learning_rate=rate))
    losses = []
    update = phone.session(task).run(lambda progress: losses.append(progress.loss))
    assert len(losses) == 20
    assert np.mean(losses[-4:]) < 0.5 * np.mean(losses[:4])
    start, stop = phone.files.manifest.parts[part]
    assert (update.shape, update.dtype) == ((stop - start,), np.float32)
    learned = phone.files.weights.copy()
    learned[start:stop] -= update
    unheard = {command: SpokenSound.of(say(word, 30)) for command, word in COMMANDS.items()}  # takes that are new to it
    before, after = (
        np.mean([recogniser.hear(sound).probabilities[command] for command, sound in unheard.items()])
        for recogniser in (Recogniser(phone.files, phone.files.weights), Recogniser(phone.files, learned))
    )
    assert after > before + 0.2


def test_a_session_is_the_plain_loop_over_shuffled_passes(phone, task):
    """The whole computation again, in a few lines; of no other weights than those of the part."""
    parameters = task.parameters
    lesson = phone.lessons.prepare(phone.lessons.select(None, parameters.max_examples))
    model, step, passed = TrainingModel(phone.files), 0, 0
    model.load(phone.files.weights)
    while step < STEPS:
        for batch in lesson.in_order((passed << 32) + parameters.seed):
            if step < STEPS:
                model.train_step(batch, parameters.learning_rate, "adapter")
                step += 1
        passed += 1
    assert passed > 1
    start, stop = phone.files.manifest.parts["adapter"]
    assert np.array_equal(model.vector()[:start], phone.files.weights[:start])
    assert np.array_equal(phone.session(task).run(), phone.files.weights[start:stop] - model.vector()[start:stop])


@pytest.mark.parametrize("part", ["adapter", "whole"])
def test_stopped_at_every_step_it_comes_to_the_same_result(phone, task, part):
    task = replace(task, part=part)
    whole = phone.session(task).run()
    phone.session(task).clear()
    for step in range(1, STEPS):
        with pytest.raises(KeyboardInterrupt):
            phone.session(task).run(stop_at(step))
        assert phone.store.load_checkpoint("voice/commands").step == step
        phone.keep("left", CONFIRMED, say("souf", step))  # what comes meanwhile waits for the next session
    assert np.array_equal(phone.session(task).run(), whole)


def test_a_lost_condition_stops_it_and_it_goes_on_later(phone, task):
    expected = phone.session(task).run()
    phone.session(task).clear()

    def progress(now):
        if now.step == 3:
            phone.conditions.set(idle=False)

    with pytest.raises(ConditionsLost):
        phone.session(task).run(progress)
    assert phone.store.load_checkpoint("voice/commands").step == 3
    phone.conditions.set(idle=True)
    steps = []
    assert np.array_equal(phone.session(task).run(lambda now: steps.append(now.step)), expected)
    assert steps == [4, 5, 6, 7]


def test_a_plan_for_another_graph_is_refused(phone, task):
    for changed in (
        replace(task, part="middle"),
        replace(task, parameters=replace(task.parameters, batch=task.parameters.batch + 1)),
        replace(task, parameters=replace(task.parameters, time=task.parameters.time + 1)),
    ):
        with pytest.raises(ModelError):
            phone.session(changed)


# ------------------------------------------------------------------ what is deleted


def switch_off(phone):
    phone.recordings.learning_enabled = False


DELETIONS = [
    lambda phone: phone.recordings.delete("left"),
    lambda phone: phone.recordings.delete_recording(phone.lessons.select(None, 1)[0].id),
    switch_off,
    lambda phone: phone.store.wipe(),
]


@pytest.mark.parametrize("delete", DELETIONS, ids=["word", "recording", "switched off", "wipe"])
def test_with_a_recording_goes_the_work_on_it(phone, task, delete):
    def progress(now):
        if now.step == 3:
            delete(phone)

    with pytest.raises(MessagesDeleted, match="'commands'"):
        phone.session(task).run(progress)
    assert phone.store.load_checkpoint("voice/commands") is None


def test_a_finished_update_is_of_no_use_after_a_deletion(phone, task):
    session = phone.session(task)
    session.run()
    session.require_kept()
    phone.recordings.delete_recording(phone.lessons.select(None, 1)[0].id)
    with pytest.raises(MessagesDeleted):
        session.require_kept()


def test_a_recording_that_is_past_its_time_goes_with_the_work_on_it(phone, task):
    with pytest.raises(KeyboardInterrupt):
        phone.session(task).run(stop_at(3))
    phone.clock.advance(100 * 86_400)
    phone.recordings.expire()
    assert phone.recordings.all() == []
    with pytest.raises(NotEligible):
        phone.session(task).run()


@pytest.fixture
def typing(phone, task):
    """A session of the same name on messages, on the same store; its checkpoint."""
    files = NextWordFiles.load(bundled_model())
    for number in range(4):
        phone.store.add_message(f"see you at the park {number}", phone.clock.now())
    parameters = replace(task.parameters, batch=files.manifest.batch, time=files.manifest.time, steps=2)
    typing = TrainingSession(
        files,
        MessageLessons(files, phone.store),
        replace(task, parameters=parameters),
        files.weights,
        phone.store,
        phone.gate,
    )
    return typing, lambda: phone.store.load_checkpoint("commands")


def test_text_and_voice_do_not_touch_each_others_work(phone, task, typing):
    typed, checkpoint = typing
    spoken = phone.session(task)
    updates = typed.run(), spoken.run()
    phone.recordings.delete("left")
    assert checkpoint() is not None
    typed.require_kept()
    with pytest.raises(MessagesDeleted):
        spoken.require_kept()
    again = spoken.run()
    phone.store.forget_text("park")
    assert checkpoint() is None
    spoken.require_kept()
    with pytest.raises(MessagesDeleted):
        typed.require_kept()
    assert updates[0].shape != again.shape
    assert not np.array_equal(updates[1], again)  # without what was deleted
