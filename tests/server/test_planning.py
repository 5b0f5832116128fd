"""Plans: the noise that a task asks for, the epsilon that it names, and what is extrapolated from it."""

import math

import pytest
from task_files import task_file

from hushfold_protocol.plan import DevicePolicy, ModelReference, Plan
from hushfold_protocol.privacy import round_curve
from hushfold_server.errors import TaskFileError
from hushfold_server.planning import ROUNDING, encoding_for, extrapolated_epsilon, make_plan
from hushfold_server.tasks import load_task

DIMENSION = 1_500
MODEL = ModelReference("next_word", "1.0.0", bytes(32), "adapter", bytes(32))
BY_EPSILON = {"noise_multiplier": None, "target_epsilon": "5.0"}


def plan_for(spec, **changes):
    given = {
        "round_id": bytes(range(16)),
        "round_number": 3,
        "model": MODEL,
        "dimension": DIMENSION,
        "rotation_seed": (-5, 7),
        "batch": 4,
        "time": 12,
        "now": 1000.9,
    }
    return make_plan(spec, **(given | changes))


@pytest.mark.parametrize("gamma", ["0.0", "0.05", "0.3"])
def test_the_floors_honest_devices_carry_the_noise_multiplier(gamma):
    spec = load_task(task_file(cohort={"gamma": gamma}))
    encoding = encoding_for(spec, DIMENSION)
    honest = 13 - math.floor(float(gamma) * 25)
    noise = math.sqrt(honest) * encoding.local_stddev / encoding.scale
    assert noise == pytest.approx(4.0 * 0.5)
    assert encoding.rotation_seed == (0, 0)


@pytest.mark.parametrize("rounds", [1, 10, 40])
def test_a_target_epsilon_is_what_all_planned_rounds_cost_and_hardly_less(rounds):
    spec = load_task(task_file(privacy=BY_EPSILON, schedule={"rounds": str(rounds)}))
    encoding = encoding_for(spec, DIMENSION)
    honest = spec.cohort.parameters.noise_contributors
    spent = (rounds * round_curve(encoding, honest)).epsilon(1e-6)
    assert 4.99 < spent <= 5.0


def test_more_tolerated_colluders_take_more_noise():
    stddevs = []
    for gamma in ("0.0", "0.1", "0.3"):
        encoding = encoding_for(load_task(task_file(cohort={"gamma": gamma}, privacy=BY_EPSILON)), DIMENSION)
        stddevs.append(encoding.local_stddev / encoding.scale)
    assert stddevs == sorted(set(stddevs))


def test_what_cannot_be_met_is_a_fault_of_the_task_file():
    spec = load_task(task_file(privacy={"noise_multiplier": None, "target_epsilon": "0.0001"}))
    with pytest.raises(TaskFileError, match=r"\[privacy\] cannot be met for 1500 values: .*Use more bits"):
        encoding_for(spec, DIMENSION)


@pytest.mark.parametrize(("multiplier", "bits"), [("0.1", 16), ("1.0", 16), ("1.4", 20), ("10.0", 20)])
def test_a_whole_model_is_summed_modulo_as_few_bits_as_cost_little(multiplier, bits):
    """On 16 bits more noise takes a coarser grid, until rounding adds too much to the sensitivity."""
    task = {"task": {"part": '"whole"'}, "privacy": {"noise_multiplier": multiplier}}
    encoding = encoding_for(load_task(task_file(**task)), 1_412_826)
    assert encoding.bits == bits
    assert encoding.l2_bound <= (1 + ROUNDING) * encoding.scale * encoding.clip_norm


@pytest.mark.parametrize("bits", [16, 20, 24])
def test_a_task_may_name_its_modulus(bits):
    task = {"task": {"part": '"whole"'}, "privacy": {"noise_multiplier": "10.0", "bits": str(bits)}}
    assert encoding_for(load_task(task_file(**task)), 1_412_826).bits == bits


def test_a_target_epsilon_is_met_on_the_modulus_that_is_taken():
    privacy = {"noise_multiplier": None, "target_epsilon": "0.5"}
    spec = load_task(task_file(task={"part": '"whole"'}, privacy=privacy))
    encoding = encoding_for(spec, 200_000)
    assert encoding.bits == 20
    spent = (spec.schedule.rounds * round_curve(encoding, spec.cohort.parameters.noise_contributors)).epsilon(1e-6)
    assert 0.499 < spent <= 0.5


def test_a_plan_says_what_the_task_says():
    spec = load_task(task_file(schedule={"training_seconds": "600", "join_delay_seconds": "2.5"}))
    plan = plan_for(spec)
    assert (plan.population, plan.task, plan.round_number) == ("en", "words", 3)
    assert (plan.training.steps, plan.training.batch, plan.training.time) == (20, 4, 12)
    assert plan.cohort == spec.cohort.parameters
    assert (plan.join_delay_ms, plan.expires, plan.delta) == (2500, 1600, 1e-6)
    encoding = plan.update.encoding()
    assert encoding.rotation_seed == (-5, 7)
    assert (encoding.scale, encoding.local_stddev) == (
        encoding_for(spec, DIMENSION).scale,
        encoding_for(spec, DIMENSION).local_stddev,
    )


def test_a_plan_travels_and_differs_between_rounds():
    spec = load_task(task_file())
    plan = plan_for(spec)
    assert Plan.decode(plan.encode()) == plan
    other = plan_for(spec, round_id=bytes(range(1, 17)), round_number=4)
    assert other.training.seed != plan.training.seed


def test_a_full_size_task_passes_the_devices_own_policy():
    spec = load_task(task_file(cohort={"target": "100"}, privacy=BY_EPSILON))
    curve = DevicePolicy().check(plan_for(spec))
    assert (10 * curve).epsilon(1e-6) <= 5.0


def test_the_same_cohort_extrapolates_to_itself():
    spec = load_task(task_file(cohort={"maximum": "20"}))
    plan = plan_for(spec)
    measured = (7 * round_curve(plan.update.encoding(), 20 - spec.cohort.parameters.colluders)).epsilon(1e-6)
    extrapolated = extrapolated_epsilon(spec, DIMENSION, survivors=20, cohort=20, rounds=7)
    assert extrapolated.epsilon == pytest.approx(measured, rel=1e-3)


def test_ten_times_the_devices_take_ten_times_the_noise_multiplier():
    spec = load_task(task_file())
    here = extrapolated_epsilon(spec, DIMENSION, survivors=20, cohort=20, rounds=5)
    there = extrapolated_epsilon(spec, DIMENSION, survivors=20, cohort=200, rounds=5)
    assert there.noise_multiplier == pytest.approx(10 * here.noise_multiplier)
    assert there.epsilon < here.epsilon / 8
    assert "extrapolated, not measured" in str(there)
    assert "200 devices, not 20" in str(there)


def test_a_larger_cohort_is_summed_on_the_modulus_that_it_would_take():
    """On that of the smaller one its grid would be too coarse, and the price of that is no price of its own."""
    task = {"task": {"part": '"whole"'}, "privacy": {"noise_multiplier": "0.02"}}
    spec = load_task(task_file(**task))
    assert encoding_for(spec, 1_412_826).bits == 16
    there, named = (
        extrapolated_epsilon(spec, 1_412_826, survivors=20, cohort=10_000, rounds=5)
        for spec in (spec, load_task(task_file(**task | {"privacy": {"noise_multiplier": "0.02", "bits": "20"}})))
    )
    assert there.epsilon == pytest.approx(named.epsilon, rel=1e-3)


@pytest.mark.parametrize(("survivors", "cohort"), [(1, 100), (20, 19)])
def test_what_could_not_have_been_opened_does_not_extrapolate(survivors, cohort):
    with pytest.raises(ValueError, match="do not extrapolate"):
        extrapolated_epsilon(load_task(task_file()), DIMENSION, survivors=survivors, cohort=cohort, rounds=1)
