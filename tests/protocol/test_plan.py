"""What a device demands of a plan: each demand on its own, at its edge."""

from dataclasses import fields, replace

import pytest
from good_plan import COHORT, GOOD, POLICY, changed

from hushfold_protocol.errors import PlanRefused
from hushfold_protocol.plan import DevicePolicy
from hushfold_protocol.privacy import RdpCurve

EPSILON = GOOD.curve().epsilon(GOOD.delta)


def test_a_good_plan_costs_what_its_curve_says():
    assert POLICY.check(GOOD) == GOOD.curve()
    assert 0 < EPSILON < POLICY.max_round_epsilon


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (changed(cohort={"floor": 101}), "floor of 101 above the cohort of 100"),
        (changed(cohort={"gamma": -0.1}), "gamma of -0.1 is not between 0 and one half"),
        (changed(cohort={"gamma": 0.5}), "gamma of 0.5 is not between 0 and one half"),
        (changed(cohort={"maximum": 1000, "gamma": 0.09}), "leave no honest noise at the floor"),
        (changed(delta=0.0), "delta of 0, at most"),
        (changed(update={"local_stddev": 0.0}), "no noise"),
        (changed(update={"local_stddev": 1e-3}), "for one round, at most 8 allowed"),
        (changed(update={"clip_norm": 0.0}), "make no sense: a clip norm of 0.0"),
        (changed(update={"dimension": 0}), "make no sense: an update of 0 values"),
        (changed(training={"steps": 0}), "0 steps, 1 to 2000 allowed"),
        (changed(training={"learning_rate": 0.0}), "a learning rate of 0.0"),
        (changed(training={"batch": 0}), "an empty batch"),
        (changed(training={"time": 0}), "an empty batch"),
    ],
)
def test_a_plan_that_no_device_accepts(plan, said):
    with pytest.raises(PlanRefused, match=said):
        POLICY.check(plan)


# A policy that the plan just meets, one that it just misses, and what is said then.
EDGES = {
    "min_floor": (80, 81, "floor of 80, at least 81 needed"),
    "min_gamma": (0.05, 0.06, "gamma of 0.05, at least 0.06 needed"),
    "max_delta": (1e-6, 0.9e-6, "delta of 1e-06, at most 9e-07 allowed"),
    "max_round_epsilon": (EPSILON, 0.99 * EPSILON, "for one round, at most"),
    "max_steps": (50, 49, "50 steps, 1 to 49 allowed"),
    "max_dimension": (64, 63, "an update of 64 values"),
    "min_join_delay": (30.0, 31.0, "a random wait of up to 30 seconds, 31 to 3600 allowed"),
    "max_join_delay": (30.0, 29.0, "a random wait of up to 30 seconds, 5 to 29 allowed"),
}
NOT_OF_A_PLAN = {"min_examples"}  # what the device asks of itself


@pytest.mark.parametrize("demand", sorted({field.name for field in fields(DevicePolicy)} - NOT_OF_A_PLAN))
def test_every_demand_of_a_policy_at_its_edge(demand):
    met, missed, said = EDGES[demand]
    assert isinstance(DevicePolicy(**{demand: met}).check(GOOD), RdpCurve)
    with pytest.raises(PlanRefused, match=f"task 'words', round 1: .*{said}"):
        DevicePolicy(**{demand: missed}).check(GOOD)


def test_thresholds_of_a_complete_graph():
    assert (COHORT.colluders, COHORT.noise_contributors) == (5, 75)
    assert COHORT.quorum(joined=100) == 53  # two groups of 53 out of 100 share 6, of which 5 may collude
    assert COHORT.consents(joined=100) == 80  # the floor is higher
    assert replace(COHORT, floor=50).consents(joined=100) == 53
