"""Intervals and tests, against values that are known."""

import math

import numpy as np
import pytest

from hushfold_evaluation.statistics import bootstrap, holm, mcnemar, resamples


def share(sums):
    return 100 * sums[..., 0] / sums[..., 1]


def test_the_interval_is_that_of_the_reference(yardstick, capsys):
    rng = np.random.default_rng(3)
    per = {n: (0, int(rng.integers(0, 30)), 100 + n, 0, 1) for n in range(16)}
    yardstick.report(per, "reference")
    rows = np.array([(counts[1], counts[2]) for counts in per.values()], np.float64)
    estimate = bootstrap(rows, resamples(len(rows), seed=0), share)
    assert f"top3 {estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]" in capsys.readouterr().out


def test_people_who_are_all_alike_leave_no_doubt():
    estimate = bootstrap(np.array([[3.0, 10.0]] * 5), resamples(5, seed=1), share)
    assert (estimate.value, estimate.low, estimate.high) == (30, 30, 30)


def test_the_interval_holds_the_value_and_shrinks_with_more_people():
    rng = np.random.default_rng(1)
    rows = np.stack([rng.integers(0, 50, 200), np.full(200, 100)], axis=1).astype(np.float64)
    few, many = (bootstrap(rows[:count], resamples(count, seed=0), share) for count in (20, 200))
    assert few.low < few.value < few.high
    assert many.high - many.low < few.high - few.low


def test_what_cannot_be_told_is_nan():
    assert math.isnan(bootstrap(np.zeros((3, 2)), resamples(3, seed=0), share).value)


def test_resamples_without_the_one_eligible_person_are_left_out():
    estimate = bootstrap(np.array([[1.0, 1.0], [0.0, 0.0]]), resamples(2, seed=0), share)
    assert (estimate.value, estimate.low, estimate.high) == (100, 100, 100)


@pytest.mark.parametrize(
    ("this", "other", "p_value"),
    [(0, 0, 1.0), (1, 0, 0.5), (5, 0, 1 / 32), (0, 5, 1.0), (9, 1, 11 / 1024), (1, 9, 1023 / 1024)],
)
def test_mcnemar_is_the_tail_of_a_fair_coin(this, other, p_value):
    assert mcnemar(this, other) == pytest.approx(p_value)


def test_mcnemar_bears_many_words():
    assert 0 < mcnemar(560, 440) < 0.001
    assert mcnemar(440, 560) == pytest.approx(1, abs=0.001)


def test_holm_rejects_step_by_step():
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]  # Holm 1979: 0.03 > 0.05 / 2 ends it
    assert holm([0.02, 0.02]) == [True, True]
    assert holm([0.026, 0.001]) == [True, True]
    assert holm([0.03, 0.03]) == [False, False]
    assert holm([]) == []
