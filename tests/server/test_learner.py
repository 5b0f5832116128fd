"""The learner's turns: what it writes, in which order, and that it goes on from there after any stop.

What TFF computes is replaced by plain averaging; `test_learner_learning` tests that. Tasks that are stopped are in
`test_stopped_tasks`.
"""

import hashlib

import numpy as np
import pytest
from learner_server import (
    MODEL,
    SURVIVORS,
    learner_on_averaging,  # noqa: F401
    server_with_a_learner,  # noqa: F401
    server_with_a_task,  # noqa: F401
)
from sqlalchemy import update

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
)
from hushfold_server.listing import task_notes
from hushfold_server.objects import ObjectStore
from hushfold_server.overview import list_tasks
from hushfold_server.tasks import load_task


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
