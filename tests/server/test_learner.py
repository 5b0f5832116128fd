"""The learner's turns: what it writes, in which order, and that it goes on from there after any stop.

What TFF computes is replaced by plain averaging, so that nothing here imports it; `test_learner_learning` tests that.
"""

import hashlib
import importlib.util
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import OperationalError
from task_files import task_file

from hushfold_models.config import layout
from hushfold_protocol.encoding import decode_sum
from hushfold_protocol.messages import Invitation
from hushfold_protocol.rotation import rotate
from hushfold_protocol.signing import open_invitation
from hushfold_server import keys
from hushfold_server.candidates import next_version
from hushfold_server.database import (
    Database,
    Phase,
    ReleaseStatus,
    TaskStatus,
    charges,
    releases,
    rounds,
    states,
    sums,
    tasks,
)
from hushfold_server.errors import ServerError, StateError
from hushfold_server.listing import task_notes
from hushfold_server.objects import ObjectStore
from hushfold_server.operations import finish_task, pause_task, resume_task
from hushfold_server.overview import list_tasks
from hushfold_server.privacy_ledger import PrivacyLedger
from hushfold_server.settings import Home
from hushfold_server.shipped_models import ShippedModels, shipped_models
from hushfold_server.tasks import load_task

SURVIVORS = 20
SEED = (1, -2)  # of every round's rotation
MODEL = "next_word"


@dataclass
class State:
    values: np.ndarray

    def to_bytes(self):
        return self.values.astype("<f4").tobytes()

    @classmethod
    def from_bytes(cls, content):
        return cls(np.frombuffer(content, "<f4"))


@dataclass
class Start:
    part_values: np.ndarray
    rotation_seed: tuple


class Diverged(ServerError):
    """In place of LearningDiverged."""


class Averaging:
    """Moves against the mean update."""

    def __init__(self, config, base, part, *, client_learning_rate, server_optimizer, encoding):
        self.base, self.part = base, layout(config)[1][part]
        self.encoding = replace(encoding, rotation_seed=SEED)

    def initial_state(self):
        return State(self.base[self.part.start : self.part.stop])

    def part_values(self, state):
        return state.values

    def prepare(self, state):
        return Start(state.values, SEED)

    def update(self, state, total, contributors):
        return State(state.values - decode_sum(total, self.encoding) / contributors)


def module(name, **content):
    made = ModuleType(name)
    made.__dict__.update(content)
    return made


@contextmanager
def averaging_learner():
    """`hushfold_server.learner`, on averaging."""
    package = "hushfold_server.learning"
    optimizers = {name: lambda **settings: settings for name in ("Adam", "Sgd", "ServerOptimizer")}
    replaced = {
        package: module(package, __path__=[]),
        f"{package}.task": module(
            f"{package}.task", Learning=Averaging, LearningDiverged=Diverged, LearningState=State
        ),
        f"{package}.federated_averaging": module(f"{package}.federated_averaging", **optimizers),
    }
    spec = importlib.util.find_spec("hushfold_server.learner")
    made = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name, content in {**replaced, spec.name: made}.items():
            patch.setitem(sys.modules, name, content)
        spec.loader.exec_module(made)
        yield made


@pytest.fixture(scope="module")
def learner_module():
    with averaging_learner() as made:
        yield made


class Server:
    """A home with the shipped model, and a learner that can be started anew."""

    def __init__(self, folder, learner_module):
        self._module, self.now = learner_module, 1000.0
        self.home = Home.create(folder)
        keys.create_missing(self.home)
        self.database, self.objects = Database(self.home.database), ObjectStore(self.home.objects)
        self.ledger = PrivacyLedger(self.database)
        models = ShippedModels(shipped_models())
        self.weights, self.part = models.file(MODEL, "weights"), models.manifest(MODEL).parts["adapter"]
        self.restart()

    def restart(self):
        self.learner = self._module.Learner(self.home, self.database, shipped_models(), lambda: self.now)

    def turn(self):
        self.learner.turn()

    def write(self, *statements):
        with self.database.begin() as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, table, order=None):
        with self.database.read() as connection:
            return connection.execute(select(table).order_by(table.c.created_at if order is None else order)).all()

    def offer(self, version="1.0.0", status=ReleaseStatus.PUBLISHED):
        row = {"model": MODEL, "version": version, "weights_sha256": self.objects.put(self.weights), "status": status}
        self.write(insert(releases).values(**row, custom={}, created_at=self.now))

    def launch(self, name="words", **changes):
        spec = task_file(
            task={"name": f'"{name}"', "population": f'"{name}"'},
            schedule={"rounds": "2", "interval_seconds": "60"},
            **changes,
        )
        row = {"name": name, "population": name, "spec": spec, "status": TaskStatus.ACTIVE}
        self.write(insert(tasks).values(**row, reason="", created_at=self.now))

    def task(self, name="words"):
        return next(row for row in self.rows(tasks) if row.name == name)

    def rounds(self):
        return self.rows(rounds, rounds.c.number)

    def states(self):
        return [np.frombuffer(self.objects.get(row.object_sha256), "<f4") for row in self.rows(states, states.c.number)]

    def plan(self):
        invitation = Invitation.decode(self.rounds()[-1].invitation)
        return open_invitation(invitation, keys.public_key(self.home, "plan"))

    def sum_up(self, change=0.001):
        """What phones and the device API make of the open round: the mean update is `change` in every value."""
        plan, last = self.plan(), self.rounds()[-1]
        encoding = plan.update.encoding()
        vector = np.full(encoding.dimension, change * SURVIVORS, np.float32)
        steps = np.rint(rotate(vector, encoding.rotation_seed) * np.float32(encoding.scale)).astype(np.int64)
        total = (steps % encoding.modulus).astype("<u4").tobytes()
        with self.database.begin() as connection:
            devices = {number.to_bytes(16, "big") for number in range(SURVIVORS)}
            self.ledger.charge(connection, plan, devices, now=self.now)
            connection.execute(insert(sums).values(round=last.id, total=total))
            summed = {"phase": Phase.SUMMED, "survivors": SURVIVORS, "updated_at": self.now}
            connection.execute(update(rounds).where(rounds.c.id == last.id).values(summed))

    def whole_round(self):
        self.turn()
        self.sum_up()
        self.turn()
        self.now += 60


@pytest.fixture
def server(tmp_path, learner_module):
    server = Server(tmp_path / "home", learner_module)
    yield server
    server.database.close()


@pytest.fixture
def launched(server):
    server.offer()
    server.launch()
    return server


def test_a_task_waits_for_a_published_base(server):
    server.launch()
    server.turn()
    server.offer(status=ReleaseStatus.CANDIDATE)
    server.turn()
    assert (server.task().status, server.rounds(), server.rows(states)) == (TaskStatus.ACTIVE, [], [])
    server.write(update(releases).values(status=ReleaseStatus.PUBLISHED))
    server.turn()
    assert len(server.rounds()) == 1


def test_the_first_round(launched):
    launched.turn()
    (row,), plan = launched.rounds(), launched.plan()  # signed by the plan key
    assert (row.task, row.number, row.base_state, row.phase) == ("words", 1, 0, Phase.OPEN)
    assert row.deadline == launched.now + load_task(launched.task().spec).schedule.training_seconds
    assert launched.task().base_release == 1
    assert (plan.population, plan.task, plan.round_id.hex(), plan.round_number) == ("words", "words", row.id, 1)
    assert plan.model.weights_sha256 == hashlib.sha256(launched.weights).digest()
    part = launched.objects.get(plan.model.part_sha256.hex())
    assert part == launched.weights[4 * launched.part.start : 4 * launched.part.stop]
    assert plan.update.dimension == launched.part.size
    launched.turn()
    assert len(launched.rounds()) == 1  # one at a time


def test_a_sum_becomes_the_next_state_and_is_deleted(launched):
    launched.turn()
    launched.sum_up(0.001)
    launched.turn()
    before, after = launched.states()
    np.testing.assert_allclose(after, before - 0.001, atol=1e-5)
    assert launched.rounds()[0].phase is Phase.LEARNED
    assert launched.rows(sums, sums.c.round) == []


def test_the_next_round_waits_for_its_interval_and_starts_from_the_newest_state(launched):
    launched.turn()
    launched.sum_up()
    launched.turn()
    launched.now += 59
    launched.turn()
    assert len(launched.rounds()) == 1
    launched.now += 1
    launched.turn()
    assert [(row.number, row.base_state) for row in launched.rounds()] == [(1, 0), (2, 1)]
    part = launched.objects.get(launched.plan().model.part_sha256.hex())
    np.testing.assert_array_equal(np.frombuffer(part, "<f4"), launched.states()[1])


def test_an_aborted_round_is_followed_by_another_from_the_same_state(launched):
    launched.turn()
    launched.write(update(rounds).values(phase=Phase.ABORTED))
    launched.now += 60
    launched.turn()
    assert [(row.number, row.base_state) for row in launched.rounds()] == [(1, 0), (2, 0)]


def test_a_sum_that_honest_devices_cannot_make_is_discarded_and_the_next_round_starts_from_the_same_state(launched):
    """One device has sent a huge update. What the round has cost stays charged: its sum was opened."""
    launched.turn()
    (before,) = launched.states()
    launched.sum_up(1.0)
    launched.turn()
    (row,) = launched.rounds()
    assert row.phase is Phase.DISCARDED
    assert "20 devices is" in row.reason
    assert "a device sent something else than a clipped update" in row.reason
    assert launched.rows(sums, sums.c.round) == []
    assert [charge.survivors for charge in launched.rows(charges, charges.c.charged_at)] == [SURVIVORS]
    launched.now += 60
    launched.turn()
    assert [(row.number, row.base_state) for row in launched.rounds()] == [(1, 0), (2, 0)]
    launched.sum_up(0.001)
    launched.turn()
    np.testing.assert_allclose(launched.states()[-1], before - 0.001, atol=1e-5)
    (notes,) = [note for note in task_notes(list_tasks(launched.database)) if "discarded" in note]
    assert notes.startswith("words: round 1 discarded: the sum of 20 devices")  # also when others have followed


def test_a_task_that_is_being_finished_ends_after_a_discarded_sum(launched):
    launched.whole_round()
    launched.turn()
    launched.sum_up(1.0)
    finish_task(launched.database, "words")
    for _ in range(2):
        launched.turn()
    assert [row.phase for row in launched.rounds()] == [Phase.LEARNED, Phase.DISCARDED]
    assert launched.task().status is TaskStatus.FINISHED
    assert launched.rows(releases, releases.c.number)[-1].state == 1


def test_after_its_last_round_a_task_offers_what_it_learned(launched):
    launched.offer("1.1.0", ReleaseStatus.WITHDRAWN)
    for _ in range(2):
        launched.whole_round()
    launched.turn()
    assert (launched.task().status, launched.task().reason) == (TaskStatus.FINISHED, "its rounds are done")
    release = launched.rows(releases, releases.c.number)[-1]
    assert (release.model, release.version, release.status) == (MODEL, "1.2.0", ReleaseStatus.CANDIDATE)
    assert (release.task, release.state) == ("words", 2)
    assert release.custom == {"metrics": {"rounds": 2, "contributions": 2 * SURVIVORS}}
    expected = np.frombuffer(launched.weights, "<f4").copy()
    expected[launched.part.start : launched.part.stop] = launched.states()[2]
    assert launched.objects.get(release.weights_sha256) == expected.tobytes()
    launched.turn()
    assert len(launched.rounds()) == 2
    assert len(launched.rows(releases)) == 3


def test_a_task_whose_budget_is_too_small_for_any_round_is_halted(server):
    server.offer()
    server.launch(privacy={"budget_epsilon": "0.01"})
    server.turn()
    assert server.task().status is TaskStatus.HALTED
    assert "budget" in server.task().reason
    assert server.rounds() == []


def test_what_was_learned_within_the_budget_is_kept(launched):
    launched.turn()
    one_round = launched.plan().curve().epsilon(1e-6)
    launched.write(update(tasks).values(status=TaskStatus.PAUSED))
    launched.launch("thrifty", privacy={"budget_epsilon": str(1.1 * one_round)})
    launched.write(delete(rounds))
    launched.whole_round()
    launched.turn()
    task = launched.task("thrifty")
    assert task.status is TaskStatus.FINISHED
    assert "budget" in task.reason
    release = launched.rows(releases, releases.c.number)[-1]
    assert (release.task, release.state, release.status) == ("thrifty", 1, ReleaseStatus.CANDIDATE)


def test_a_task_that_cannot_go_on_does_not_hold_up_the_others(server):
    """Its objects were restored from an older backup."""
    server.offer()
    server.launch("lost")
    server.turn()
    server.write(update(states).values(object_sha256="0" * 64), delete(rounds))
    server.launch("words")
    server.restart()
    server.turn()
    assert server.task("lost").status is TaskStatus.HALTED
    assert server.task("lost").reason
    assert [row.task for row in server.rounds()] == ["words"]


@pytest.fixture
def paused_while_it_works(launched, monkeypatch):
    """Pauses the task between what the learner reads and what it writes."""
    put = ObjectStore.put

    def pausing(objects, content):
        sha256 = put(objects, content)
        pause_task(launched.database, "words")
        return sha256

    @contextmanager
    def pauses():
        with monkeypatch.context() as patch:
            patch.setattr(ObjectStore, "put", pausing)
            yield
        assert launched.task().status is TaskStatus.PAUSED

    return pauses


def test_a_task_that_was_paused_meanwhile_opens_no_round(launched, paused_while_it_works):
    launched.whole_round()
    with paused_while_it_works():
        launched.turn()
    assert [row.number for row in launched.rounds()] == [1]
    resume_task(launched.database, "words")
    launched.turn()
    assert [row.number for row in launched.rounds()] == [1, 2]


def test_a_task_that_was_paused_meanwhile_offers_its_release_once_it_is_resumed(launched, paused_while_it_works):
    for _ in range(2):
        launched.whole_round()
    with paused_while_it_works():
        launched.turn()
    assert [row.version for row in launched.rows(releases)] == ["1.0.0"]
    resume_task(launched.database, "words")
    launched.turn()
    launched.turn()
    assert [row.version for row in launched.rows(releases, releases.c.number)] == ["1.0.0", "1.1.0"]
    assert launched.task().status is TaskStatus.FINISHED


def test_a_paused_task_learns_from_the_round_under_way_and_opens_no_other(launched):
    launched.turn()
    pause_task(launched.database, "words")
    launched.sum_up()
    for _ in range(3):
        launched.turn()
        launched.now += 60
    assert [row.phase for row in launched.rounds()] == [Phase.LEARNED]
    assert launched.rows(sums, sums.c.round) == []
    assert launched.task().status is TaskStatus.PAUSED
    resume_task(launched.database, "words")
    launched.turn()
    assert [(row.number, row.base_state) for row in launched.rounds()] == [(1, 0), (2, 1)]


def learned_releases(launched):
    return [(row.task, row.state) for row in launched.rows(releases, releases.c.number) if row.task]


def test_a_task_that_is_ended_early_offers_what_it_learned(launched):
    launched.whole_round()
    launched.turn()
    finish_task(launched.database, "words")
    launched.turn()
    assert launched.task().status is TaskStatus.FINISHING  # devices are in its second round
    launched.sum_up()
    launched.turn()
    launched.turn()
    assert launched.task().status is TaskStatus.FINISHED
    assert launched.task().reason == "ended by an operator before its last round"
    assert learned_releases(launched) == [("words", 2)]
    launched.turn()
    assert len(launched.rounds()) == 2
    with pytest.raises(StateError, match="is finished; only one that is active or paused or halted"):
        finish_task(launched.database, "words")


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("base", [False, True])
def test_a_task_that_is_ended_before_it_learned_has_no_release(server, paused, base):
    server.launch()
    if base:
        server.offer()
        server.turn()
        server.write(update(rounds).values(phase=Phase.ABORTED))
    if paused:
        pause_task(server.database, "words")
    finish_task(server.database, "words")
    server.turn()
    assert (server.task().status, learned_releases(server)) == (TaskStatus.FINISHED, [])
    assert server.task().reason == "ended by an operator before it learned anything"


def test_a_task_that_diverged_is_ended_with_what_it_had_learned_before(launched, monkeypatch):
    launched.whole_round()
    launched.turn()
    launched.sum_up()

    def diverge(*_):
        raise Diverged("not finite")

    monkeypatch.setattr(Averaging, "update", diverge)
    launched.turn()
    assert launched.task().status is TaskStatus.HALTED
    finish_task(launched.database, "words")
    launched.turn()
    assert launched.task().status is TaskStatus.FINISHED
    assert learned_releases(launched) == [("words", 1)]


def fault(launched, monkeypatch, error):
    """Lets learning fail for the first of two tasks. Gives the first one's row after a turn."""

    def fail(*_):
        raise error

    launched.turn()
    launched.sum_up()
    launched.launch("others")
    monkeypatch.setattr(Averaging, "update", fail)
    launched.turn()
    return launched.task()


def test_a_fault_in_one_task_halts_it_alone(launched, monkeypatch):
    task = fault(launched, monkeypatch, ZeroDivisionError("values of a sum"))
    assert (task.status, task.reason) == (
        TaskStatus.HALTED,
        "an unexpected ZeroDivisionError; the server's log says where",
    )
    assert [row.task for row in launched.rounds()] == ["words", "others"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OperationalError("", None, Exception())])
def test_what_is_no_tasks_fault_halts_none(launched, monkeypatch, error):
    with pytest.raises(type(error)):
        fault(launched, monkeypatch, error)
    assert launched.task().status is TaskStatus.ACTIVE


def test_a_model_of_impossible_sizes_halts_its_task(launched, monkeypatch):
    manifest = ShippedModels.manifest

    def small(models, name):
        found = manifest(models, name)
        return replace(found, sizes={**found.sizes, "buckets": found.sizes["vocabulary"]})

    monkeypatch.setattr(ShippedModels, "manifest", small)
    launched.turn()
    assert launched.task().status is TaskStatus.HALTED
    assert "no model has the sizes of 'next_word'" in launched.task().reason


def test_a_sum_for_another_state_is_not_learned_from(launched):
    launched.whole_round()
    launched.turn()
    launched.sum_up()
    launched.write(update(rounds).where(rounds.c.number == 2).values(base_state=0))
    launched.turn()
    assert launched.task().status is TaskStatus.HALTED
    assert "round 2 of task 'words' started from state 0, the newest one is 1" in launched.task().reason
    assert len(launched.states()) == 2


class Killed(BaseException):
    """In place of SIGKILL."""


WRITES = 12  # two for the first state, two for each of two rounds to open and to learn from, two for the release


@pytest.mark.parametrize("deadly", range(WRITES + 1))
def test_killed_before_any_of_its_writes_it_comes_to_the_same_end(launched, monkeypatch, deadly):
    """It dies once, before the write with that number, and is started again; never, if the number is 0."""
    writes = 0

    def counted(write):
        def dying(*arguments, **options):
            nonlocal writes
            writes += 1
            if writes == deadly:
                raise Killed
            return write(*arguments, **options)

        return dying

    deaths = 0
    while launched.task().status is TaskStatus.ACTIVE:
        with monkeypatch.context() as patch:
            patch.setattr(ObjectStore, "put", counted(ObjectStore.put))
            patch.setattr(Database, "begin", counted(Database.begin))
            try:
                launched.turn()
            except Killed:
                deaths += 1
                launched.restart()
        if launched.rounds() and launched.rounds()[-1].phase is Phase.OPEN:
            launched.sum_up()
        launched.now += 60
    assert (deaths, writes == WRITES) == (deadly > 0, deadly == 0)
    assert launched.task().status is TaskStatus.FINISHED
    assert [row.phase for row in launched.rounds()] == [Phase.LEARNED] * 2
    np.testing.assert_allclose(launched.states()[2], launched.states()[0] - 0.002, atol=1e-5)
    assert [row.version for row in launched.rows(releases, releases.c.number)] == ["1.0.0", "1.1.0"]
    assert launched.rows(sums, sums.c.round) == []


@pytest.mark.parametrize(
    ("base", "taken", "version"),
    [
        ("1.4.2", {"1.4.2"}, "1.5.0"),
        ("1.4.2", {"1.5.0", "1.6.0", "1.8.0"}, "1.7.0"),
        ("1.0.0-beta", set(), "1.1.0"),
        ("3", set(), "3.1.0"),
    ],
)
def test_the_version_of_a_release(base, taken, version):
    assert next_version(base, taken) == version
