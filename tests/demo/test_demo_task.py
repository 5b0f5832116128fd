"""Tests of the demo's terms: a fleet can meet them, its phones demand no less, and a server takes them."""

import dataclasses
import random

import pytest

from hushfold.participation import Step
from hushfold_demo.errors import UsageError
from hushfold_demo.fleet import draw_fates
from hushfold_demo.task import DELTA, FleetTask
from hushfold_protocol.errors import PlanRefused
from hushfold_protocol.plan import DevicePolicy, ModelReference
from hushfold_server.planning import make_plan
from hushfold_server.tasks import load_task

DIMENSION = 576
SIZES = [(3, 0), (3, 1), (5, 2), (24, 5), (60, 12), (200, 78)]


def plan_of(task):
    return make_plan(
        load_task(task.toml(DIMENSION)),
        round_id=bytes(16),
        round_number=1,
        model=ModelReference("next_word", "1.0.0", bytes(32), "adapter", bytes(32)),
        dimension=DIMENSION,
        rotation_seed=(1, 2),
        batch=16,
        time=20,
        now=1_700_000_000.0,
    )


@pytest.mark.parametrize(("phones", "lost"), SIZES)
def test_a_server_takes_the_task_and_phones_take_its_plans(phones, lost):
    task = FleetTask(phones, lost, rounds=3)
    plan = plan_of(task)
    curve = task.policy(DIMENSION).check(plan)
    assert curve.epsilon(DELTA) == pytest.approx(task.cost(1, DIMENSION))
    assert plan.cohort == task.cohort
    assert (4 * curve).epsilon(DELTA) < task.budget(DIMENSION) < 1.1 * (4 * curve).epsilon(DELTA)


@pytest.mark.parametrize(("phones", "lost"), SIZES)
def test_the_survivors_of_a_round_can_open_it(phones, lost):
    task = FleetTask(phones, lost, rounds=1)
    for joined in range(task.target, phones + 1):
        assert task.target >= task.cohort.consents(joined)


def test_an_unchanged_policy_refuses_the_plan_of_a_small_fleet():
    with pytest.raises(PlanRefused):
        DevicePolicy().check(plan_of(FleetTask(24, 5, 3)))


@pytest.mark.parametrize("weaker", [{"noise_multiplier": 0.2}, {"floor": 14}, {"delta": 2e-5}, {"gamma": 0.04}])
def test_phones_refuse_weaker_terms(weaker):
    task = FleetTask(24, 5, 3)
    spec = load_task(task.toml(DIMENSION))
    for table in ("privacy", "cohort"):
        fields = {name: value for name, value in weaker.items() if hasattr(getattr(spec, table), name)}
        spec = spec.model_copy(update={table: getattr(spec, table).model_copy(update=fields)})
    plan = make_plan(
        spec,
        round_id=bytes(16),
        round_number=1,
        model=ModelReference("next_word", "1.0.0", bytes(32), "adapter", bytes(32)),
        dimension=DIMENSION,
        rotation_seed=(1, 2),
        batch=16,
        time=20,
        now=1_700_000_000.0,
    )
    with pytest.raises(PlanRefused):
        task.policy(DIMENSION).check(plan)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"phones": 0}, "--phones .make's N. is 0; 3 to 200"),
        ({"phones": -1}, "make's N. is -1"),
        ({"phones": 2}, "would hide nobody"),
        ({"phones": 201}, "3 to 200 are possible"),
        ({"rounds": 0}, "--rounds .make's ROUNDS. is 0; 1 to 50"),
        ({"rounds": 51}, "ROUNDS. is 51"),
        ({"lost": -1}, "--lost .make's LOST. is -1"),
        ({"lost": 10}, "0 to 9 may disappear"),
    ],
)
def test_numbers_that_make_no_round_are_refused(numbers, said):
    with pytest.raises(UsageError, match=said):
        dataclasses.replace(FleetTask(24, 5, 3), **numbers)


def test_the_noise_in_the_mean_is_the_same_for_every_size():
    def noise_in_mean(phones):
        task = FleetTask(phones, 0, 1)
        return task.noise_multiplier / task.target

    assert noise_in_mean(10) == pytest.approx(noise_in_mean(100))
    assert FleetTask(10, 0, 1).cost(1, DIMENSION) > FleetTask(100, 0, 1).cost(1, DIMENSION)


def test_as_many_phones_disappear_in_each_round_as_were_asked_for():
    fates = draw_fates(24, 5, 3, random.Random(1))
    assert len(fates) == 24
    for number in (1, 2, 3):
        assert sum(number in fate for fate in fates) == 5
        assert len({fate[number] for fate in fates if number in fate}) == 5  # each at another step
    assert not any(step is Step.CHECK_IN for fate in fates for step in fate.values())
    assert {number for fate in fates for number in fate} == {1, 2, 3}


def test_fates_follow_from_the_seed():
    assert draw_fates(9, 2, 3, random.Random(1)) == draw_fates(9, 2, 3, random.Random(1))
    steps = {step for seed in range(40) for fate in draw_fates(9, 2, 3, random.Random(seed)) for step in fate.values()}
    assert steps == set(Step) - {Step.CHECK_IN}
