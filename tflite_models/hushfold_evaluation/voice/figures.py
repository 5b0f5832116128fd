"""What figures over speakers are worth: shares with their intervals, the threshold for a share, and rare alarms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri  # scipy.stats takes seconds to load

from ..statistics import Estimate, bootstrap

CONFIDENCE = 0.95
FALSE_ACCEPTS = 0.01
"""Share of foreign clips that the strict threshold accepts."""
NO_ESTIMATE = Estimate(math.nan, math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Share:
    """How many of a speaker's clips something is true of."""

    count: int
    clips: int

    @property
    def percent(self) -> float:
        return 100 * self.count / self.clips if self.clips else math.nan

    @classmethod
    def of(cls, truths: Sequence[bool]) -> Share:
        return cls(sum(map(bool, truths)), len(truths))


@dataclass(frozen=True, slots=True)
class Rate:
    """Alarms in some hours, where none should be.

    Attributes:
        upper: per hour; the one-sided 95 % upper bound of the rate of a Poisson process (Garwood 1936): chi-squared
            quantile over twice the hours, with two degrees of freedom for each alarm and two more.
    """

    count: int
    hours: float

    @property
    def per_hour(self) -> float:
        return self.count / self.hours if self.hours else math.nan

    @property
    def upper(self) -> float:
        return float(chdtri(2 * self.count + 2, 1 - CONFIDENCE)) / 2 / self.hours if self.hours else math.nan


def overall(shares: Sequence[Share], samples: NDArray[np.int64]) -> Estimate:
    """Percent of all clips of all speakers, with the interval over speakers; `samples` is of as many of them."""
    if not shares:
        return NO_ESTIMATE
    rows = np.array([(share.count, share.clips) for share in shares], np.float64)
    return bootstrap(rows, samples, lambda sums: 100 * sums[..., 0] / sums[..., 1])


def ratio(shares: Sequence[Share], others: Sequence[Share], samples: NDArray[np.int64]) -> Estimate:
    """Share over the other share, of the same speakers: paired, so what is hard about a speaker cancels out."""
    if not shares:
        return NO_ESTIMATE
    rows = np.array([(a.count, a.clips, b.count, b.clips) for a, b in zip(shares, others, strict=True)], np.float64)

    def quotient(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        other = np.where(sums[..., 2] > 0, sums[..., 2], math.nan)  # nothing can be told against none
        quotients: NDArray[np.float64] = sums[..., 0] / sums[..., 1] * sums[..., 3] / other
        return quotients

    return bootstrap(rows, samples, quotient)


def worst(shares: Sequence[Share], least: int = 1) -> float:
    """Percent of the speaker with the lowest share, among those with at least so many clips; NaN without any."""
    return min((share.percent for share in shares if share.clips >= least), default=math.nan)


def threshold_at(share: float, distances: NDArray[np.float64]) -> float:
    """The largest distance up to which at most such a share of these are accepted."""
    if not len(distances):
        return math.inf
    ordered = np.sort(distances)
    allowed = math.floor(share * len(ordered) + 1e-9)
    return float(np.nextafter(ordered[allowed], -math.inf)) if allowed < len(ordered) else math.inf
