"""From scores of canaries to epsilon: what the guesses of one run prove, and what a fit of their scores says.

Both take one score for each canary: of those that were included in a run, and of those that were not. Who scores
them may know everything but who was included; a larger score speaks for it.

`one_run_bound` (Steinke, Nasr and Jagielski 2023, arXiv 2305.08846) assumes nothing about the scores. Each canary was
included by a fair coin of its own; the observer guesses r of the m coins and is right about v. If the run is
(epsilon, delta)-private for each canary, the number of right guesses is stochastically no more than a binomial variable
of r trials with probability e^epsilon / (1 + e^epsilon), but for a part that delta pays for. It holds for every run,
and is far below the truth where privacy is good: all m guesses being right proves no more than about ln(m / 4.6) at a
confidence of 99 %.

`gaussian_fit` (after Andrew et al. 2023, arXiv 2302.03098) takes the scores for two normal distributions: that is what
a Gaussian or Skellam mechanism makes of canaries in random directions of many dimensions. Here both have one variance,
as noise has that does not depend on the data, so that all that counts is the distance of the means in standard
deviations, and its interval is exact for normal scores. It is close to the truth, and an estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc, expit, log_ndtr, nctdtr, ndtr

Values = npt.NDArray[np.float64]

GUESSED = 0.8  # share of the canaries about which an observer guesses; the others look too much like both
_MAX_MU = 200.0  # standard deviations between the means: what is further apart is no better hidden
_STEPS = 40  # of a bisection


@dataclass(frozen=True, slots=True)
class Scores:
    """One score for each canary; and scores of directions that nobody sent, which tell what chance alone makes."""

    included: Values  # [i]
    excluded: Values  # [j]
    unobserved: Values  # [k], may be empty


@dataclass(frozen=True, slots=True)
class Bound:
    """What guesses prove: epsilon is at least this."""

    epsilon: float
    guesses: int
    right: int


@dataclass(frozen=True, slots=True)
class Fit:
    """An estimate of epsilon with both ends of its interval."""

    epsilon: float
    low: float
    high: float


def one_run_bound(scores: Scores, delta: float, significance: float) -> Bound:
    """The largest epsilon that the guesses refute at `delta`, wrongly with a probability of at most `significance`.

    The observer's threshold is midway between the means of the upper and the lower half of all scores; it guesses about
    the GUESSED share of canaries furthest from it. Both depend on the scores alone, and how many it guesses about on
    nothing, as the theorem demands. 0 if nothing is refuted.
    """
    values = np.concatenate([scores.included, scores.excluded])
    count = values.size
    if count < 2:
        return Bound(0.0, 0, 0)
    was_included = np.arange(count) < scores.included.size
    ordered = np.sort(values)
    threshold = (ordered[: count // 2].mean() + ordered[count // 2 :].mean()) / 2
    guesses = math.ceil(GUESSED * count)
    surest = np.argsort(-np.abs(values - threshold), kind="stable")[:guesses]
    right = int(((values > threshold) == was_included)[surest].sum())

    def refuted(epsilon: float) -> bool:
        return chance_of_guesses(count, guesses, right, epsilon, delta) <= significance

    beyond = 1.0
    while refuted(beyond):
        beyond *= 2
    return Bound(_largest(refuted, 0.0, beyond), guesses, right)


def chance_of_guesses(canaries: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """How probable at least so many right guesses are, at most, if the run is (epsilon, delta)-private.

    With B binomial, of `guesses` trials with probability e^epsilon / (1 + e^epsilon), v = right and m = canaries
    (the main theorem of arXiv 2305.08846):

        P(B >= v) + 2 m delta max over i in 1..v of P(v > B >= v - i) / i
    """
    probability = expit(epsilon)
    tail = float(bdtrc(right - 1, guesses, probability))
    shifts = np.arange(1, right + 1)
    near = bdtrc(right - 1 - shifts, guesses, probability) - tail
    return min(1.0, tail + 2 * canaries * delta * float(np.max(near / shifts, initial=0.0)))


def gaussian_fit(scores: Scores, delta: float, significance: float) -> Fit:
    """Epsilon at `delta` of noise that makes such scores. Each end of the interval is wrong with `significance`.

    For normal scores of one variance, t of the two samples has a noncentral t distribution, with the distance mu of the
    means in standard deviations times sqrt(n1 n0 / (n1 + n0)) as its parameter; the ends are those mu for which what
    was seen has the probability `significance` on one side.
    """
    background = np.concatenate([scores.excluded, scores.unobserved])
    here, there = scores.included.size, background.size
    freedom = here + there - 2
    if min(here, there) < 1 or freedom < 1:
        return Fit(0.0, 0.0, gaussian_epsilon(_MAX_MU, delta))
    squares = sum(float(np.square(part - part.mean()).sum()) for part in (scores.included, background))
    weight = math.sqrt(here * there / (here + there))
    distance = float(scores.included.mean() - background.mean())
    stddev = math.sqrt(squares / freedom)
    mu = min(distance / stddev, _MAX_MU) if stddev > 0 else math.copysign(_MAX_MU, distance)
    t = mu * weight
    low = _largest(lambda other: 1 - float(nctdtr(freedom, other * weight, t)) <= significance, 0.0, _MAX_MU)
    high = _largest(lambda other: float(nctdtr(freedom, other * weight, t)) > significance, 0.0, _MAX_MU)
    return Fit(*(gaussian_epsilon(max(0.0, value), delta) for value in (mu, low, high)))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The least epsilon of Gaussian noise with a sensitivity of `mu` standard deviations, at `delta`.

    delta(epsilon) = Phi(mu / 2 - epsilon / mu) - e^epsilon Phi(-mu / 2 - epsilon / mu), which falls with epsilon
    (Balle and Wang 2018, arXiv 1805.06530, theorem 8).
    """
    if mu <= 0:
        return 0.0

    def costs_more(epsilon: float) -> bool:
        upper, lower = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
        return float(ndtr(upper)) - math.exp(min(0.0, epsilon + float(log_ndtr(lower)))) > delta

    return _largest(costs_more, 0.0, mu**2 / 2 + mu * math.sqrt(2 * math.log(1 / delta)))


def _largest(holds: Callable[[float], bool], low: float, high: float) -> float:
    """Up to where `holds` is true, which it is from `low` on; `low` if nowhere, `high` if everywhere."""
    if not holds(low):
        return low
    if holds(high):
        return high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
