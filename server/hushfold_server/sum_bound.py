"""How long the sum of a round can be if every device keeps to the encoding; a longer one is not learned from.

Nobody sees one device's vector, so nobody can check it: under secure aggregation a device may send any vector modulo
2^b, and a single one would destroy the model. What can be seen is the sum. With n devices it is S = X + E, in grid
steps, where

    X  is the sum of n rounded updates, each at most `l2_bound` long: |X| <= R = n l2_bound;
    E  is noise that is independent of X: d coordinates, each Skellam of variance v = n local_stddev^2.

So |S|^2 = |X|^2 + 2 <X, E> + |E|^2, and each of three events has a probability of at most a third of FALSE_ALARM:

- <X, E> > R T. The cumulant function of <X, E> is the sum of v (cosh(t X_j) - 1), at most v (cosh(t R) - 1) as
  (cosh x - 1) / x^2 grows with |x|: the tail of R times a single Skellam variable. T is its Chernoff bound.
- |E_j| > U for any j: U is the same bound for a d-th of the probability.
- The sum of min(E_j^2, U^2) > d v + u, by Bernstein's inequality with E_j^4 = 3 v^2 + v in the mean (Boucheron, Lugosi
  and Massart 2013, corollary 2.11): with a = ln(3 / FALSE_ALARM),
  u = a U^2 / 3 + sqrt((a U^2 / 3)^2 + 2 a d (3 v^2 + v)).

Otherwise |S|^2 <= R^2 + 2 R T + d v + u. That the sum is known modulo 2^b only makes it shorter: of all integers that
are congruent to a coordinate, the decoded one is nearest to zero. The test costs no privacy: it looks at the released
sum.

What it leaves to a cheating device is the room of the others: it can add a vector of about sqrt(R^2 + 2 R T + u). That
is what all n devices together add if they send the same clipped update; it is some times that where noise is much
longer than updates are, and then a small part of the noise's own length. docs/threats.md has figures.
"""

from __future__ import annotations

import math

import numpy as np

from hushfold_protocol.encoding import EncodingParameters
from hushfold_protocol.packing import EncodedVector

from .errors import ServerError

FALSE_ALARM = 2.0**-40  # probability that a sum of honest devices is called too long
_CHUNK = 1 << 16  # values at a time where a wider temporary is needed


class ImplausibleSum(ServerError):
    """A sum that honest devices do not make."""


def longest_sum(encoding: EncodingParameters, devices: int) -> float:
    """The L2 norm in grid steps that a decoded sum of honest devices exceeds with at most FALSE_ALARM."""
    room = devices * encoding.l2_bound
    variance = devices * encoding.local_stddev**2
    alarm = math.log(3 / FALSE_ALARM)
    along = _skellam_tail(variance, alarm)
    each = _skellam_tail(variance, alarm + math.log(2 * encoding.dimension))
    largest = alarm * each**2 / 3
    spread = 2 * alarm * encoding.dimension * (3 * variance**2 + variance)
    noise = encoding.dimension * variance + largest + math.sqrt(largest**2 + spread)
    return math.sqrt(room**2 + 2 * room * along + noise)


def require_plausible(total: EncodedVector, encoding: EncodingParameters, devices: int) -> None:
    """Raises ImplausibleSum for a sum modulo 2^b, uint32[d], that is longer than `longest_sum`."""
    length, bound = _length(total, encoding.bits), longest_sum(encoding, devices)
    if length > bound:
        raise ImplausibleSum(
            f"the sum of {devices} devices is {length:.4g} grid steps long, and honest ones make it {bound:.4g} at "
            "most: a device sent something else than a clipped update",
            "The model is as it was. If it happens again, a device among those that took part in every such round is "
            "at fault; pause the task before its budget is spent",
        )


def _length(total: EncodedVector, bits: int) -> float:
    """The L2 norm, where each coordinate is the integer in [-2^(b-1), 2^(b-1)) that it is congruent to."""
    unused, squares = 32 - bits, 0.0
    for start in range(0, total.size, _CHUNK):
        centred = (total[start : start + _CHUNK] << np.uint32(unused)).view(np.int32) >> np.int32(unused)
        chunk = centred.astype(np.float64)
        squares += float(np.dot(chunk, chunk))
    return math.sqrt(squares)


def _skellam_tail(variance: float, exponent: float) -> float:
    """T with P(X > T) <= exp(-exponent) for a Skellam variable: min over t of v (cosh t - 1) - t T is -exponent."""
    if variance == 0:
        return 0.0

    def falls_short(tail: float) -> bool:
        root = math.hypot(variance, tail)
        # hypot(v, T) - v without cancellation
        return tail * math.asinh(tail / variance) - tail**2 / (root + variance) < exponent

    low, high = 0.0, 1.0
    while falls_short(high):
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if falls_short(middle) else (low, middle)
    return high
