"""A server that is killed on both sides of every transaction: all that it has begun it ends, and once.

Which transactions there are is read from the state machines that `database` declares, and from what the server really
writes: a transition that is new, and that no scenario here goes through, fails a test.
"""

import multiprocessing
import signal
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import test_publisher
from cohort import AUTHORITY_KEY
from killing import EVERY_MOVE, Killing, die_at, moves
from learner_server import Server as LearnerServer
from learner_server import averaging_learner
from small_model import WEIGHTS
from sqlalchemy import select, update
from task_files import task_file
from test_rounds import Server as RoundsServer

from hushfold_protocol import messages
from hushfold_server import operations
from hushfold_server.database import (
    LIVE_PHASES,
    Database,
    Phase,
    ReleaseStatus,
    TaskStatus,
    charges,
    participations,
    releases,
    round_messages,
    rounds,
    states,
    sums,
    tasks,
)
from hushfold_server.errors import StateError
from hushfold_server.privacy_ledger import PrivacyLedger
from hushfold_server.rounds import Rounds
from hushfold_server.settings import Home, Settings
from hushfold_server.shipped_models import shipped_models

DEVICES = range(8)
STEPS = (Phase.OPEN, Phase.SHARING, Phase.MASKING, Phase.AGREEING, Phase.UNMASKING)


@pytest.fixture
def killing(monkeypatch):
    made = Killing()
    monkeypatch.setattr(Database, "begin", lambda database: made.begin(database))
    return made


@pytest.fixture(scope="module")
def learner_module():
    with averaging_learner() as made:
        yield made


# ------------------------------------------------------------------ the device API


def consistent(server):
    """What must be so whenever a server has died: what is charged is what can be opened, and once."""
    phase, paid = server.row().phase, len(server.rows(charges))
    if phase in (Phase.UNMASKING, Phase.SUMMED):
        assert paid == 1
        assert len(server.rows(participations)) == server.row().survivors
    elif phase is not Phase.ABORTED:
        assert paid == 0
    assert len(server.rows(sums)) <= 1
    if phase in (Phase.SUMMED, Phase.ABORTED):
        assert server.rows(round_messages) == []


def revive(server):
    server.crash()
    consistent(server)
    server.rounds.resume()


def each_device(server, killing, numbers=DEVICES):
    """Each of them does what the server asks of it now, as often as it takes."""
    answers = [(number, server.answer(number)) for number in numbers]
    for number, answer in answers:
        send = partial(lambda number, answer: server.rounds.submit(server.id, server.device(number), answer), number)
        killing.through(partial(send, answer), partial(revive, server), f"{number} answers in {server.row().phase}")


def join(server, killing, numbers=DEVICES):
    server.start(())
    for number in numbers:
        enter = partial(lambda number: server.rounds.join(server.cohort.devices[number].join), number)
        killing.through(enter, partial(revive, server), f"{number} joins")


def play_a_whole_round(tmp_path, killing):
    server = RoundsServer(tmp_path / "server.db")
    join(server, killing)
    for _ in range(4):
        each_device(server, killing)
    assert server.row().phase == Phase.SUMMED
    (stored,) = server.rows(sums)
    np.testing.assert_array_equal(np.frombuffer(stored.total, "<u4"), server.cohort.expected(()))
    assert (len(server.rows(charges)), len(server.rows(participations))) == (1, len(DEVICES))
    assert server.rounds.next_message(server.id, server.device(0)).ending == messages.Ending.SUMMED
    # Each message, and the end of each step, twice; and what a start writes, in each step that it finds.
    assert killing.deaths >= 2 * 5 * (len(DEVICES) + 1) - 5


def play_a_round_that_is_aborted(at, tmp_path, killing):
    """In the step `at` three devices are left, and time runs out."""
    server = RoundsServer(tmp_path / "server.db")
    place = STEPS.index(at)
    server.start(range(3) if place == 0 else DEVICES)
    for step in STEPS[1 : place + 1]:
        for number in range(3) if step is at else DEVICES:
            server.turn(number)
    server.now = server.row().deadline + 1

    def restart():
        revive(server)
        server.now = server.row().deadline + 1

    killing.through(lambda: server.rounds.tick(), restart, "time runs out")
    assert server.row().phase == Phase.ABORTED
    assert server.rows(sums) == server.rows(round_messages) == []
    assert len(server.rows(charges)) == (1 if at is Phase.UNMASKING else 0)


# ------------------------------------------------------------------ the learner, and the operator


def play_a_task(tmp_path, killing, learner_module):
    """From its launch to the release of what two rounds have taught it."""
    server = LearnerServer(tmp_path / "home", learner_module)
    server.offer()
    spec = task_file(task={"name": '"words"', "population": '"words"'}, schedule={"rounds": "2"})

    def launch():
        with suppress(StateError):  # it was there already
            operations.launch_task(server.database, spec, shipped_models(), server.now)

    killing.through(launch, lambda: None, "an operator launches")
    for number in range(10):
        if server.task().status is TaskStatus.FINISHED:
            break
        killing.through(server.turn, server.restart, f"turn {number}")
        if server.rounds()[-1].phase is Phase.OPEN:
            server.sum_up()
        server.now += 10_000
    assert [row.phase for row in server.rounds()] == [Phase.LEARNED] * 2
    np.testing.assert_allclose(server.states()[-1], server.states()[0] - 0.002, atol=1e-5)
    assert len(server.states()) == 3
    assert [row.state for row in server.rows(releases, releases.c.number)] == [None, 2]
    assert len(server.rows(charges, charges.c.charged_at)) == 2
    assert server.rows(sums, sums.c.round) == []


def play_a_sum_that_is_discarded(tmp_path, killing, learner_module):
    server = launched(tmp_path, learner_module)
    server.turn()
    server.sum_up(1.0)
    killing.through(server.turn, server.restart, "learns")
    assert [row.phase for row in server.rounds()] == [Phase.DISCARDED]
    assert len(server.states()) == 1
    assert len(server.rows(charges, charges.c.charged_at)) == 1
    assert server.rows(sums, sums.c.round) == []


def launched(tmp_path, learner_module, **changes):
    server = LearnerServer(tmp_path / "home", learner_module)
    server.offer()
    server.launch(**changes)
    return server


def play_a_task_that_is_halted(status, tmp_path, killing, learner_module):
    """It finds a sum of another state than its own, as after a restore from backups that do not fit."""
    server = launched(tmp_path, learner_module)
    server.whole_round()
    server.turn()
    server.sum_up()
    server.write(update(rounds).where(rounds.c.number == 2).values(base_state=0), update(tasks).values(status=status))
    killing.through(server.turn, server.restart, "learns")
    assert server.task().status is TaskStatus.HALTED
    assert len(server.states()) == 2


def play_an_operator_who_pauses_and_ends(tmp_path, killing, learner_module):
    server = launched(tmp_path, learner_module)
    database = server.database

    def operate(command, times=1):
        def again():
            with suppress(StateError):  # it was done already
                command(database, "words")

        for _ in range(times):
            killing.through(again, lambda: None, f"{command.__name__} from {server.task().status}")

    for before, command, after in (
        (TaskStatus.ACTIVE, operations.pause_task, TaskStatus.PAUSED),
        (TaskStatus.PAUSED, operations.resume_task, TaskStatus.ACTIVE),
        (TaskStatus.ACTIVE, operations.finish_task, TaskStatus.FINISHING),
        (TaskStatus.PAUSED, operations.finish_task, TaskStatus.FINISHING),
        (TaskStatus.HALTED, operations.finish_task, TaskStatus.FINISHING),
    ):
        server.write(update(tasks).values(status=before))
        operate(command)
        assert server.task().status is after
    killing.through(server.turn, server.restart, "ends it")
    assert server.task().status is TaskStatus.FINISHED
    assert server.rounds() == []


# ------------------------------------------------------------------ the publisher


def play_a_release(tmp_path, killing):
    """What was learned is published, what cannot be is withdrawn, and an operator goes back from it."""
    server = test_publisher.Server(tmp_path)
    server.add_round(1, 0, "learned")
    server.start()
    server.learn("1.1.0", 1)
    server.learn("1.2.0", 1, weights=WEIGHTS[4:])
    killing.through(server.start, lambda: None, "publishes")
    assert server.statuses() == {1: "published", 2: "published", 3: "withdrawn"}
    assert server.phases() == {1: Phase.RELEASED}
    device = server.device()
    assert test_publisher.newest(device)[0] == test_publisher.LEARNED

    def roll_back():
        with suppress(StateError):  # it was done already
            operations.roll_back(server.database, 1, 5.0)

    killing.through(roll_back, lambda: None, "goes back")
    server.start()
    assert server.statuses() == {1: "published", 2: "withdrawn", 3: "withdrawn", 4: "published"}
    assert test_publisher.newest(device)[0] == WEIGHTS


def play_a_first_start(tmp_path, killing):
    server = test_publisher.Server(tmp_path)
    killing.through(server.start, lambda: None, "starts")
    assert server.statuses() == {1: "published"}


# ------------------------------------------------------------------ all of them


@dataclass(frozen=True)
class Scenario:
    """`play` goes through the moves of `covers`, and kills the server on both sides of each."""

    name: str
    play: object
    covers: frozenset
    learner: bool = False


SCENARIOS = [
    Scenario("a whole round", play_a_whole_round, moves("round", *STEPS, Phase.SUMMED)),
    *(
        Scenario(f"aborted in {at}", partial(play_a_round_that_is_aborted, at), moves("round", at, Phase.ABORTED))
        for at in STEPS
    ),
    Scenario(
        "a task",
        play_a_task,
        moves("task", None, TaskStatus.ACTIVE, TaskStatus.FINISHED)
        | moves("round", None, Phase.OPEN)
        | moves("round", Phase.SUMMED, Phase.LEARNED)
        | moves("release", None, ReleaseStatus.CANDIDATE),
        learner=True,
    ),
    Scenario("discarded", play_a_sum_that_is_discarded, moves("round", Phase.SUMMED, Phase.DISCARDED), learner=True),
    *(
        Scenario(
            f"halted while {status}",
            partial(play_a_task_that_is_halted, status),
            moves("task", status, TaskStatus.HALTED),
            learner=True,
        )
        for status in (TaskStatus.ACTIVE, TaskStatus.PAUSED, TaskStatus.FINISHING)
    ),
    Scenario(
        "an operator",
        play_an_operator_who_pauses_and_ends,
        moves("task", TaskStatus.ACTIVE, TaskStatus.PAUSED, TaskStatus.ACTIVE, TaskStatus.FINISHING)
        | moves("task", TaskStatus.PAUSED, TaskStatus.FINISHING, TaskStatus.FINISHED)
        | moves("task", TaskStatus.HALTED, TaskStatus.FINISHING),
        learner=True,
    ),
    Scenario(
        "a release",
        play_a_release,
        moves("release", None, ReleaseStatus.CANDIDATE, ReleaseStatus.PUBLISHED, ReleaseStatus.WITHDRAWN)
        | moves("release", ReleaseStatus.CANDIDATE, ReleaseStatus.WITHDRAWN)
        | moves("round", Phase.LEARNED, Phase.RELEASED),
    ),
    Scenario(
        "a first start", play_a_first_start, moves("release", None, ReleaseStatus.CANDIDATE, ReleaseStatus.PUBLISHED)
    ),
]


def test_every_transition_of_the_state_machines_is_in_a_scenario():
    """If you have added one: add it to a scenario that the server is killed in."""
    assert frozenset().union(*(scenario.covers for scenario in SCENARIOS)) == EVERY_MOVE
    assert set(STEPS) == LIVE_PHASES


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_killed_on_both_sides_of_every_transaction(scenario, tmp_path, killing, request):
    learner = [request.getfixturevalue("learner_module")] if scenario.learner else []
    scenario.play(tmp_path, killing, *learner)
    assert killing.before == killing.after == scenario.covers


# ------------------------------------------------------------------ killed by the system


def submit_and_die(path, now, round_id, device, answer, when):
    """A device API that gets the consent that ends its step."""
    die_at(("round", Phase.AGREEING, Phase.UNMASKING), when)
    database = Database(path)
    api = Rounds(database, PrivacyLedger(database), AUTHORITY_KEY, lambda: now)
    api.submit(round_id, device, answer)


def learn_and_die(home, now, when):
    die_at(("round", Phase.SUMMED, Phase.LEARNED), when)
    with averaging_learner() as module:
        opened = Home.open(home)
        module.Learner(opened, Database(opened.database), shipped_models(), lambda: now).turn()


def publish_and_die(home, models, now, when):
    die_at(("release", ReleaseStatus.CANDIDATE, ReleaseStatus.PUBLISHED), when)
    opened = Home.open(home)
    database = Database(opened.database)
    test_publisher.Publisher(opened, database, Settings.load(opened), models, lambda: now).start()


def killed(target, *arguments):
    """Runs it in a process of its own, which the system kills."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_device_api_that_the_system_kills_when_it_charges(tmp_path, when):
    server = RoundsServer(tmp_path / "server.db")
    server.start()
    for _ in range(2):
        for number in DEVICES:
            server.turn(number)
    for number in DEVICES[:-1]:
        server.turn(number)
    last = server.answer(DEVICES[-1])
    killed(submit_and_die, server.path, server.now, server.id, server.device(DEVICES[-1]), last, when)
    server.crash()
    consistent(server)
    assert server.row().phase is (Phase.AGREEING if when == "before" else Phase.UNMASKING)
    server.rounds.resume()
    for number in DEVICES:
        server.turn(number)
    (stored,) = server.rows(sums)
    np.testing.assert_array_equal(np.frombuffer(stored.total, "<u4"), server.cohort.expected(()))
    assert (len(server.rows(charges)), len(server.rows(participations))) == (1, len(DEVICES))


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_learner_that_the_system_kills_when_it_has_learned(tmp_path, learner_module, when):
    server = launched(tmp_path, learner_module)
    server.turn()
    server.sum_up()
    killed(learn_and_die, server.home.path, server.now, when)
    assert server.rounds()[0].phase is (Phase.SUMMED if when == "before" else Phase.LEARNED)
    server.restart()
    server.turn()
    assert [row.phase for row in server.rounds()] == [Phase.LEARNED]
    assert len(server.rows(states)) == 2
    np.testing.assert_allclose(server.states()[1], server.states()[0] - 0.001, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_publisher_that_the_system_kills_when_it_has_published(tmp_path, when):
    server = test_publisher.Server(tmp_path)
    server.add_round(1, 0, "learned")
    server.start()
    server.learn("1.1.0", 1)
    killed(publish_and_die, server.home.path, server.folder / "models", server.clock(), when)
    device = server.device()
    assert test_publisher.newest(device)[0] == test_publisher.LEARNED  # it was in the repository by then
    assert server.statuses()[2] is (ReleaseStatus.CANDIDATE if when == "before" else ReleaseStatus.PUBLISHED)
    server.start()
    assert server.statuses() == {1: "published", 2: "published"}
    assert server.phases() == {1: Phase.RELEASED}
    with server.database.read() as connection:
        assert len(connection.execute(select(releases)).all()) == 2
