"""What figures over people are worth: intervals by resampling people, and who is significantly better or worse off."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LOW, HIGH = 0.025, 0.975
"""Quantiles between which an interval lies."""
SIGNIFICANCE = 0.05
ELIGIBLE_WORDS = 200
"""Words that a person must have written in the test to be tested alone."""

Rows = NDArray[np.float64]
Statistic = Callable[[Rows], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval; NaN where there is nothing to tell."""

    value: float
    low: float
    high: float


def resamples(people: int, seed: int, count: int = RESAMPLES) -> NDArray[np.int64]:
    """`count` samples of that many people with replacement, as indices `[count, people]`."""
    rng = random.Random(seed)
    indices = range(people)
    return np.array([[rng.choice(indices) for _ in indices] for _ in range(count)], np.int64)


def bootstrap(rows: Rows, samples: NDArray[np.int64], statistic: Statistic) -> Estimate:
    """A statistic of sums over people, with the percentile interval (Efron and Tibshirani 1993, chapter 13).

    Args:
        rows: `[people, sums]`, each person's part of the sums.
        samples: from `resamples`.
        statistic: from sums `[..., sums]` to the figure `[...]`.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(statistic(rows.sum(axis=0)))
        drawn = np.sort(statistic(rows[samples].sum(axis=1)))
    drawn = drawn[~np.isnan(drawn)]
    if math.isnan(value) or not len(drawn):
        return Estimate(math.nan, math.nan, math.nan)
    return Estimate(value, float(drawn[int(LOW * len(drawn))]), float(drawn[int(HIGH * len(drawn))]))


def mcnemar(only_this: int, only_other: int) -> float:
    """One-sided exact p-value that this is no better, from the words that one of two hit and the other missed.

    The binomial form of McNemar's test: P(X >= only_this) for X ~ Binomial(only_this + only_other, 1/2).
    """
    differing = only_this + only_other
    return sum(math.comb(differing, hits) for hits in range(only_this, differing + 1)) / (1 << differing)


def holm(p_values: Sequence[float], level: float = SIGNIFICANCE) -> list[bool]:
    """Which hypotheses are rejected, with the chance of any wrong rejection at or below `level` (Holm 1979)."""
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] > level / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected
