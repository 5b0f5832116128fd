"""What an operator sees: how far devices got in every round, what it cost, and figures for a larger cohort."""

import pytest
from round_task import open_round
from small_model import write_model
from sqlalchemy import insert, update
from task_files import task_file

from hushfold_protocol.plan import ModelReference
from hushfold_server.database import Database, charges, invitations, participations, rounds, tasks
from hushfold_server.errors import TaskFileError
from hushfold_server.operations import launch_task
from hushfold_server.overview import RoundOverview, list_tasks
from hushfold_server.planning import extrapolated_epsilon, make_plan
from hushfold_server.tasks import load_task

DIMENSION = 16
# 12 bits hold the sum of 25 devices, not that of a million with as much noise in the mean.
IMPOSSIBLE = task_file(privacy={"bits": "12"}, report={"extrapolate_to": "1000000"})
POSSIBLE = task_file(report={"extrapolate_to": "200"})


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "hushfold.db")
    yield database
    database.close()


def charged_round(database, text):
    """A task whose first round has 40 invitations and a sum of 18 devices."""
    plan = make_plan(
        load_task(text),
        round_id=bytes(16),
        round_number=1,
        model=ModelReference("next_word", "1.0.0", bytes(32), "adapter", bytes(32)),
        dimension=DIMENSION,
        rotation_seed=(1, 2),
        batch=2,
        time=4,
        now=100.0,
    )
    open_round(database, plan, 100.0)
    name = plan.round_id.hex()
    with database.begin() as connection:
        connection.execute(update(tasks).values(spec=text))
        connection.execute(update(rounds).values(phase="summed", joined=20, sharers=19, survivors=18))
        devices = [{"round": name, "device": f"{number:032x}"} for number in range(40)]
        connection.execute(insert(invitations).values(invited_at=100.0), devices)
        connection.execute(
            insert(charges).values(
                round=name, task=plan.task, survivors=18, noise_contributors=17, curve=b"", epsilon_after=0.75,
                delta=1e-6, charged_at=100.0,
            )
        )  # fmt: skip
        connection.execute(insert(participations).values(task=plan.task), devices[:18])


def test_every_round_says_how_far_devices_got_and_what_was_charged(database):
    charged_round(database, POSSIBLE)
    with database.begin() as connection:
        base = {"task": "words", "base_state": 0, "invitation": b"", "deadline": 0.0}
        connection.execute(
            insert(rounds).values(
                id="ff", number=2, phase="aborted", reason="too few", created_at=1.0, updated_at=1.0, **base
            )
        )
    (task,) = list_tasks(database)
    aborted = RoundOverview(2, "aborted", "too few", 0, 0, 0, 0, None)
    assert task.rounds == [RoundOverview(1, "summed", "", 40, 20, 19, 18, 0.75), aborted]
    assert task.round == aborted
    assert task.epsilon == 0.75
    assert task.extrapolation == extrapolated_epsilon(
        load_task(POSSIBLE), DIMENSION, survivors=18, cohort=200, rounds=1
    )


def test_an_extrapolation_that_cannot_be_computed_is_refused_at_the_launch(database, tmp_path):
    write_model(tmp_path)
    with pytest.raises(TaskFileError, match="extrapolate_to 1000000 cannot be computed"):
        launch_task(database, IMPOSSIBLE, tmp_path, 100.0)
    assert list_tasks(database) == []
    launch_task(database, POSSIBLE, tmp_path, 100.0)
    assert [task.name for task in list_tasks(database)] == ["words"]


def test_one_task_whose_extrapolation_cannot_be_computed_does_not_hide_the_others(database):
    charged_round(database, IMPOSSIBLE)
    (task,) = list_tasks(database)
    assert (task.epsilon, task.extrapolation) == (0.75, None)
