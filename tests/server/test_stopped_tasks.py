"""Tasks that are paused, ended or halted: what the learner still does for them, and that the others go on."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
from learner_server import (
    Averaging,
    Diverged,
    learner_on_averaging,  # noqa: F401
    server_with_a_learner,  # noqa: F401
    server_with_a_task,  # noqa: F401
)
from sqlalchemy import delete, update
from sqlalchemy.exc import OperationalError

from hushfold_server.database import (
    Phase,
    ReleaseStatus,
    TaskStatus,
    releases,
    rounds,
    states,
    sums,
    tasks,
)
from hushfold_server.errors import StateError
from hushfold_server.objects import ObjectStore
from hushfold_server.operations import finish_task, pause_task, resume_task
from hushfold_server.shipped_models import ShippedModels


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
