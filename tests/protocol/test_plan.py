"""What a device demands of a plan: each demand on its own, at its edge."""

from dataclasses import fields, replace

import pytest

from hushfold_protocol.encoding import EncodingParameters
from hushfold_protocol.errors import PlanRefused
from hushfold_protocol.plan import (
    CohortParameters,
    DevicePolicy,
    ModelReference,
    Plan,
    TrainingParameters,
    UpdateParameters,
)
from hushfold_protocol.privacy import RdpCurve

COHORT = CohortParameters(target=100, maximum=100, floor=70, gamma=0.05)
ENCODING = EncodingParameters.for_cohort(
    dimension=500,
    clip_norm=0.1,
    noise_multiplier=2.0,
    bits=24,
    cohort_max=COHORT.maximum,
    noise_contributors=COHORT.noise_contributors,
    rotation_seed=(1, 2),
)
PLAN = Plan(
    population="keyboard-en",
    task="words",
    round_id=bytes(16),
    round_number=3,
    model=ModelReference("next_word", "1.0.0", bytes(32), "adapter", bytes(32)),
    training=TrainingParameters(steps=50, batch=16, time=20, learning_rate=0.5, max_examples=50, seed=0),
    update=UpdateParameters(
        dimension=500,
        clip_norm=0.1,
        scale=ENCODING.scale,
        bits=24,
        local_stddev=ENCODING.local_stddev,
        rotation_seed_0=1,
        rotation_seed_1=2,
        beta=ENCODING.beta,
    ),
    cohort=COHORT,
    delta=1e-6,
    join_delay_ms=30_000,
    expires=2_000_000_000,
)
EPSILON = PLAN.curve().epsilon(PLAN.delta)


def changed(plan, **parts):
    """The plan with fields of its parts changed: `update={"bits": 20}`."""
    return replace(plan, **{name: replace(getattr(plan, name), **fields) for name, fields in parts.items()})


def test_a_good_plan_costs_what_its_curve_says():
    assert DevicePolicy().check(PLAN) == PLAN.curve()
    assert 0 < EPSILON < DevicePolicy().max_round_epsilon


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (changed(PLAN, cohort={"floor": 101}), "floor of 101 above the cohort of 100"),
        (changed(PLAN, cohort={"gamma": -0.1}), "gamma of -0.1 is not between 0 and one half"),
        (changed(PLAN, cohort={"gamma": 0.5}), "gamma of 0.5 is not between 0 and one half"),
        (changed(PLAN, cohort={"maximum": 1000, "gamma": 0.07}), "leave no honest noise at the floor"),
        (replace(PLAN, delta=0.0), "delta of 0, at most"),
        (changed(PLAN, update={"local_stddev": 0.0}), "no noise"),
        (changed(PLAN, update={"local_stddev": 1e-3}), "for one round, at most 8 allowed"),
        (changed(PLAN, update={"clip_norm": 0.0}), "make no sense: a clip norm of 0.0"),
        (changed(PLAN, update={"dimension": 0}), "make no sense: an update of 0 values"),
        (changed(PLAN, training={"steps": 0}), "0 steps, 1 to 2000 allowed"),
        (changed(PLAN, training={"learning_rate": 0.0}), "a learning rate of 0.0"),
        (changed(PLAN, training={"batch": 0}), "an empty batch"),
        (changed(PLAN, training={"time": 0}), "an empty batch"),
    ],
)
def test_a_plan_that_no_device_accepts(plan, said):
    with pytest.raises(PlanRefused, match=said):
        DevicePolicy().check(plan)


# A policy that the plan just meets, one that it just misses, and what is said then.
EDGES = {
    "min_floor": (70, 71, "floor of 70, at least 71 needed"),
    "min_gamma": (0.05, 0.06, "gamma of 0.05, at least 0.06 needed"),
    "max_delta": (1e-6, 0.9e-6, "delta of 1e-06, at most 9e-07 allowed"),
    "max_round_epsilon": (EPSILON, 0.99 * EPSILON, "for one round, at most"),
    "max_steps": (50, 49, "50 steps, 1 to 49 allowed"),
    "max_dimension": (500, 499, "an update of 500 values"),
    "min_join_delay": (30.0, 31.0, "a random wait of up to 30 seconds, 31 to 3600 allowed"),
    "max_join_delay": (30.0, 29.0, "a random wait of up to 30 seconds, 5 to 29 allowed"),
}
NOT_OF_A_PLAN = {"min_examples"}  # what the device asks of itself


@pytest.mark.parametrize("demand", sorted({field.name for field in fields(DevicePolicy)} - NOT_OF_A_PLAN))
def test_every_demand_of_a_policy_at_its_edge(demand):
    met, missed, said = EDGES[demand]
    assert isinstance(DevicePolicy(**{demand: met}).check(PLAN), RdpCurve)
    with pytest.raises(PlanRefused, match=f"task 'words', round 3: .*{said}"):
        DevicePolicy(**{demand: missed}).check(PLAN)


def test_thresholds_of_a_complete_graph():
    assert (COHORT.colluders, COHORT.noise_contributors) == (5, 65)
    assert COHORT.quorum(joined=100) == 53  # two groups of 53 out of 100 share 6, of which 5 may collude
    assert COHORT.consents(joined=100) == 70  # the floor is higher
    assert replace(COHORT, floor=50).consents(joined=100) == 53
