"""From scores to epsilon: against closed forms, an independent accountant, and mechanisms whose epsilon is known."""

import math
from fractions import Fraction

import numpy as np
import pytest
from dp_accounting import get_epsilon_gaussian
from scipy.stats import binom

from hushfold_audit.estimates import (
    GUESSED,
    Scores,
    chance_of_guesses,
    gaussian_epsilon,
    gaussian_fit,
    one_run_bound,
)

DELTA = 1e-5


def scores_of_noise(mu, canaries, rng, unobserved=0):
    """What noise of one standard deviation makes of canaries of length `mu`."""
    included = rng.random(canaries) < 0.5
    scores = included * mu + rng.standard_normal(canaries)
    return Scores(scores[included], scores[~included], rng.standard_normal(unobserved))


@pytest.mark.parametrize("mu", [0.1, 0.5, 1.0, 3.0, 10.0, 40.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-9])
def test_epsilon_of_gaussian_noise_is_that_of_another_accountant(mu, delta):
    assert gaussian_epsilon(mu, delta) == pytest.approx(get_epsilon_gaussian(1 / mu, delta), rel=1e-6, abs=1e-9)


def test_without_signal_nothing_is_spent():
    assert gaussian_epsilon(0.0, DELTA) == 0
    assert gaussian_epsilon(-1.0, DELTA) == 0


def exact_chance(canaries, guesses, right, odds, delta):
    """The same probability in fractions, summed term by term. `odds` is e^epsilon."""
    probability = Fraction(odds) / (1 + odds)
    mass = [math.comb(guesses, k) * probability**k * (1 - probability) ** (guesses - k) for k in range(guesses + 1)]
    tail = sum(mass[right:])
    paid = max((sum(mass[max(0, right - i) : right]) / i for i in range(1, right + 1)), default=Fraction(0))
    return float(min(Fraction(1), tail + 2 * canaries * Fraction(delta) * paid))


@pytest.mark.parametrize(("guesses", "right"), [(1, 0), (1, 1), (12, 12), (12, 9), (30, 25), (30, 2)])
@pytest.mark.parametrize("odds", [1, 2, 9])
@pytest.mark.parametrize("delta", [0.0, 1e-5, 1e-3])
def test_the_chance_of_guesses_is_what_the_theorem_says(guesses, right, odds, delta):
    found = chance_of_guesses(40, guesses, right, math.log(odds), delta)
    assert found == pytest.approx(exact_chance(40, guesses, right, odds, delta), rel=1e-9)


def test_guesses_that_are_all_right_prove_the_logarithm_of_their_number():
    """Without delta: p^r = significance, epsilon = ln(p / (1 - p))."""
    scores = Scores(np.full(50, 1.0) + np.arange(50) * 1e-3, np.arange(50) * 1e-3, np.empty(0))
    bound = one_run_bound(scores, 0.0, 0.01)
    guesses = math.ceil(GUESSED * 100)
    probability = 0.01 ** (1 / guesses)
    assert (bound.right, bound.guesses) == (guesses, guesses)
    assert bound.epsilon == pytest.approx(math.log(probability / (1 - probability)), rel=1e-9)
    assert one_run_bound(scores, DELTA, 0.01).epsilon < bound.epsilon  # delta may have paid for some


def test_the_guesses_refute_a_claim_no_more_often_than_they_may():
    """Randomised response is the mechanism on which the bound is tight: its answers are right with just that odds."""
    rng, epsilon, significance, runs = np.random.default_rng(1), 1.5, 0.1, 100
    wrong = 0
    for _ in range(runs):
        included = rng.random(60) < 0.5
        told = included ^ (rng.random(60) < 1 / (1 + math.exp(epsilon)))
        scores = told + rng.random(60) * 1e-6
        bound = one_run_bound(Scores(scores[included], scores[~included], np.empty(0)), 0.0, significance)
        wrong += bound.epsilon > epsilon
    assert wrong <= binom.ppf(1 - 1e-4, runs, significance)
    assert wrong > 0  # and it is not far from what it may say


@pytest.mark.parametrize("mu", [0.5, 1.0, 2.0])
def test_on_gaussian_noise_the_estimate_is_close_and_the_bound_below(mu):
    rng, truth = np.random.default_rng(2), gaussian_epsilon(mu, DELTA)
    scores = scores_of_noise(mu, 20_000, rng)
    fit, bound = gaussian_fit(scores, DELTA, 0.005), one_run_bound(scores, DELTA, 0.005)
    assert fit.epsilon == pytest.approx(truth, rel=0.1)
    assert fit.low < truth < fit.high
    assert 0 < bound.epsilon < truth


def test_the_interval_misses_the_truth_as_often_as_it_says():
    rng, mu, significance, runs = np.random.default_rng(3), 1.2, 0.2, 80
    truth = gaussian_epsilon(mu, DELTA)
    fits = [gaussian_fit(scores_of_noise(mu, 60, rng, unobserved=100), DELTA, significance) for _ in range(runs)]
    low, high = binom.ppf([1e-4, 1 - 1e-4], runs, significance)
    assert low <= sum(fit.low > truth for fit in fits) <= high
    assert low <= sum(fit.high < truth for fit in fits) <= high


def test_directions_that_nobody_sent_make_the_interval_narrower():
    rng = np.random.default_rng(4)
    scores = scores_of_noise(1.0, 60, rng, unobserved=500)
    wide = gaussian_fit(Scores(scores.included, scores.excluded, np.empty(0)), DELTA, 0.01)
    narrow = gaussian_fit(scores, DELTA, 0.01)
    assert narrow.high - narrow.low < 0.9 * (wide.high - wide.low)


def test_the_estimate_does_not_depend_on_the_unit_of_scores():
    scores = scores_of_noise(1.0, 60, np.random.default_rng(5), unobserved=10)
    scaled = Scores(*(1e9 * part + 7e9 for part in (scores.included, scores.excluded, scores.unobserved)))
    for one, other in zip(
        (gaussian_fit(scores, DELTA, 0.01), one_run_bound(scores, DELTA, 0.01)),
        (gaussian_fit(scaled, DELTA, 0.01), one_run_bound(scaled, DELTA, 0.01)),
        strict=True,
    ):
        assert one.epsilon == pytest.approx(other.epsilon)


def test_scores_that_say_nothing_prove_nothing():
    rng = np.random.default_rng(6)
    scores = scores_of_noise(0.0, 100, rng)
    assert one_run_bound(scores, DELTA, 0.01).epsilon == 0
    assert gaussian_fit(scores, DELTA, 0.01).low == 0
    nobody = Scores(np.empty(0), rng.standard_normal(5), np.empty(0))
    assert gaussian_fit(nobody, DELTA, 0.01) == gaussian_fit(Scores(*(np.empty(0),) * 3), DELTA, 0.01)
    assert gaussian_fit(nobody, DELTA, 0.01).high > 1_000
    assert one_run_bound(Scores(np.empty(0), np.ones(1), np.empty(0)), DELTA, 0.01).guesses == 0


def test_scores_without_noise_are_no_secret():
    scores = Scores(np.ones(40), np.zeros(40), np.zeros(10))
    assert gaussian_fit(scores, DELTA, 0.01).low > 1_000
    assert one_run_bound(scores, DELTA, 0.01).right == math.ceil(GUESSED * 80)
