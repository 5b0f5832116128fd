"""A small task without a learner: what observers find of it, as it is and with each bug planted.

Encoding, noise, masks and ledger curve are the product's own; two rounds of 40 devices. Everything is
seeded: a claim that is kept is called wrong once in a hundred tasks.
"""

from contextlib import nullcontext
from functools import cache

import numpy as np
import pytest
from cohort import NOW, make_plan, replace, seeded, share_work

from hushfold_audit.canaries import Canaries
from hushfold_audit.cohort import Cohort
from hushfold_audit.observers import OBSERVERS
from hushfold_audit.planted import PLANTED
from hushfold_audit.report import Audited, Report
from hushfold_audit.seen import SeenRound, SeenTask
from hushfold_audit.setting import Setting
from hushfold_protocol.encoding import EncodingParameters, decode_sum, encode
from hushfold_protocol.plan import CohortParameters
from hushfold_protocol.privacy import calibrate
from hushfold_protocol.randomness import AesCtrStream

DEVICES, ROUNDS, DIMENSION, EPSILON, DELTA = 40, 2, 200, 2.0, 1e-5
SUMS, MODEL, UPLOADS = "the opened sums", "the released model", "the uploads"


def plan_of_round(number):
    cohort = CohortParameters(DEVICES, DEVICES, DEVICES, 0.05)
    terms = {
        "dimension": DIMENSION,
        "clip_norm": 0.5,
        "bits": 24,
        "cohort_max": DEVICES,
        "noise_contributors": cohort.noise_contributors,
    }
    multiplier = calibrate(EPSILON, DELTA, ROUNDS, **terms)
    encoding = EncodingParameters.for_cohort(noise_multiplier=multiplier, rotation_seed=(number, 5), **terms)
    plan = make_plan()
    update = replace(
        plan.update,
        dimension=DIMENSION,
        clip_norm=encoding.clip_norm,
        scale=encoding.scale,
        bits=encoding.bits,
        local_stddev=encoding.local_stddev,
        rotation_seed_0=number,
        rotation_seed_1=5,
        beta=encoding.beta,
    )
    return replace(plan, round_id=bytes([number] * 16), update=update, cohort=cohort, delta=DELTA)


def small_task(seed):
    """Canaries and colluders alone; the model goes where the mean of the updates says."""
    plans = [plan_of_round(number) for number in range(1, ROUNDS + 1)]
    cohort, colluders = Cohort(DEVICES, lambda: NOW, seeded(seed)), plans[0].cohort.colluders
    canaries = Canaries.draw(DEVICES - colluders, DIMENSION, np.random.default_rng(seed))
    noise = AesCtrStream(bytes([seed]) * 32)
    start = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
    end, rounds = start.copy(), []
    for plan in plans:
        parameters = plan.update.encoding()
        updates = [canaries.update(number, parameters.clip_norm) for number in range(DEVICES - colluders)]
        vectors = [encode(update, parameters, noise) for update in updates]
        vectors += [np.zeros(parameters.dimension, np.uint32)] * colluders
        total, uploads = cohort.secure_sum(plan, vectors)
        end -= decode_sum(total, parameters) / DEVICES
        rounds.append(SeenRound(plan, uploads, total))
    epsilon = sum((plan.curve() for plan in plans[1:]), plans[0].curve()).epsilon(DELTA)
    return SeenTask(rounds, start, end, epsilon, DELTA), canaries


@cache
def audited(planted):
    with PLANTED[planted]() if planted else nullcontext():
        task, canaries = small_task(0)
    return Audited.of(planted, task, canaries)


@pytest.fixture(autouse=True)
def devices_share_their_work(monkeypatch):
    """All verify the same signatures, and agree on secrets with one another."""
    share_work(monkeypatch)


def test_the_product_keeps_its_claim():
    found = audited(None)
    assert found.claimed == pytest.approx(EPSILON, rel=1e-3)
    assert not found.refuting
    assert found.as_it_should
    assert found.verdict == "keeps its claim"


@pytest.mark.parametrize(
    ("planted", "observers"),
    [("noise divided by ten", {MODEL, SUMS}), ("no clip", {MODEL, SUMS}), ("mask reused", {UPLOADS})],
)
def test_a_planted_bug_is_caught_by_those_who_can_see_it(planted, observers):
    found = audited(planted)
    assert {finding.observer for finding in found.refuting} == observers
    assert found.claimed == pytest.approx(EPSILON, rel=1e-3)  # the ledger knows nothing of it
    assert found.as_it_should
    assert found.verdict == "caught"


def test_a_score_is_the_length_of_what_a_canary_sent():
    """With next to no noise: the sums hold the clip norm for each round, the model their mean."""
    with PLANTED["noise divided by ten"](), PLANTED["no clip"]():
        task, canaries = small_task(1)
    for name, unit in ((SUMS, 0.5 * 10 * ROUNDS), (MODEL, 0.5 * 10 * ROUNDS / DEVICES)):
        scores = OBSERVERS[name](task, canaries)
        assert scores.included.mean() / unit == pytest.approx(1, abs=0.1)
        assert abs(scores.excluded.mean() / unit) < 0.1
        assert abs(scores.unobserved.mean() / unit) < 0.1
        assert scores.included.size == canaries.included.sum()
        assert scores.included.size + scores.excluded.size == len(canaries.directions)


def test_a_task_that_is_not_as_it_should_be_fails_the_report():
    whole, caught = audited(None), audited("no clip")
    missed = Audited("mask reused", 2, EPSILON, DELTA, whole.findings)
    exceeding = Audited(None, 2, EPSILON, DELTA, caught.findings)
    setting = Setting(DEVICES, ROUNDS)
    assert Report(setting, 0, (whole, caught)).as_it_should
    assert not Report(setting, 0, (whole, missed)).as_it_should
    assert not Report(setting, 0, (exceeding, caught)).as_it_should
    assert (missed.verdict, exceeding.verdict) == ("not caught", "exceeds its claim")
