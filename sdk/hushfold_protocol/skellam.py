"""Exact Skellam noise from cryptographic bytes.

The symmetric Skellam distribution of variance v is the difference of two independent Poisson(v / 2) variables:

    P(X = k) = exp(-v) I_|k|(v)          I: the modified Bessel function of the first kind

Sums of independent Skellam variables are Skellam, of the summed variance: the noise of a secure sum has a known
distribution whichever devices drop out (Agarwal et al. 2021, arXiv 2110.04995).

Sampling inverts the distribution function at a uniform number. The table holds the function's values to 2^-256,
made with integers alone; 32 random bits decide nearly every sample, and where they do not, 224 more are drawn for
that one. Of the 32, the first 16 choose a cell of a second table; in most cells the function takes at most one step,
and whether the sample lies before or after it is the carry of an addition (`_InverseTable`). What is left out is the
tail beyond 2^-170, so that a vector of 2^24 samples is within 2^-140 of the true distribution in total variation. No
floating point takes part: it has broken many a noise sampler (Mironov 2012).

The work does not depend on the samples but for memory addresses and the rare ties: there is no rejection loop whose
length would tell the size of the noise (Jin et al. 2022, arXiv 2112.05307).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from .randomness import RandomBytes

MAX_STDDEV = float(1 << 14)  # a sample is then the sum of 64; more would mean a needlessly fine grid

# One table goes up to a standard deviation of 2048 (some 60,000 entries, 4 MB). Larger variances are split evenly
# over several samples, whose sum is Skellam again.
_TABLE_VARIANCE = 1 << 22
_CDF_BITS = 256
_PREFIX_BITS = 32  # decide all but the ties
_TAIL = 170 * math.log(2)  # -ln of the mass that the table leaves out
_BESSEL_BITS = 330  # precision of the recurrence, and -log2 of where it starts
_CELL_BITS = 16  # of them: a table of 256 KiB
_CROWDED = -(1 << 15)  # stands for a value in cells with several bounds: these are searched
_LOWER = np.uint32((1 << (_PREFIX_BITS - _CELL_BITS)) - 1)
_CHUNK = 1 << 15  # samples at a time: with the table, they stay in the second-level cache


def sample_skellam(count: int, variance: float, randomness: RandomBytes) -> npt.NDArray[np.int32]:
    """Draws int32[count], independent Skellam samples of the given variance (mean 0).

    A variance of 0 gives zeros. Raises ValueError for one that is not finite, negative, below 1e-12 or above
    MAX_STDDEV squared.
    """
    samples = np.zeros(count, np.int32)
    if variance == 0:
        return samples
    if not 1e-12 <= variance <= MAX_STDDEV**2:
        raise ValueError(
            f"a Skellam variance of {variance} is out of range: 0, or 1e-12 to {MAX_STDDEV**2:g}; "
            "choose another grid scale"
        )
    exact = Fraction(variance)
    terms = math.ceil(exact / _TABLE_VARIANCE)
    table = _table(exact / terms)
    for start in range(0, count, _CHUNK):
        part = samples[start : start + _CHUNK]
        for _ in range(terms):
            part += table.sample(part.size, randomness)
    return samples


def bessel_table(variance: Fraction) -> list[int]:
    """The distribution function on -T..T-1: floor(2^256 P(X <= k)), int[2 T], where P(|X| > T) < 2^-170.

    Miller's algorithm: I_(k-1) = I_(k+1) + (2 k / v) I_k, downwards from where I_k is negligible, is stable, and
    I_0 + 2 (I_1 + I_2 + ...) = exp(v) normalises it (Abramowitz and Stegun 9.6.26, 9.6.37). All terms are positive
    and held as integers of at least 330 bits, so that the errors stay far below the 2^-256 that is kept.
    """
    v = float(variance)
    last = _tail_point(v, _TAIL)
    numerator, denominator = variance.as_integer_ratio()
    above, here = 0, 1 << _BESSEL_BITS
    bessel = [here]  # I_start, I_(start - 1), ... I_0, up to a common factor
    for k in range(_tail_point(v, _BESSEL_BITS * math.log(2)) + 1, 0, -1):
        above, here = here, above + 2 * k * denominator * here // numerator
        bessel.append(here)
    bessel.reverse()
    total = 2 * sum(bessel) - bessel[0]
    outside = sum(bessel[last + 1 :])
    left = list(accumulate([outside + bessel[last], *bessel[last - 1 : 0 : -1]]))  # P(X <= k), k = -T..-1
    right = [total - mass for mass in reversed(left)]  # by symmetry P(X <= k) = 1 - P(X <= -k - 1)
    return [(mass << _CDF_BITS) // total for mass in left + right]


def _tail_point(v: float, exponent: float) -> int:
    """The least T with P(|X| >= T) <= exp(-exponent), by the Chernoff bound 2 exp(v (cosh t - 1) - t T)."""

    def exceeds(t: int) -> bool:
        return v + t * math.asinh(t / v) - math.hypot(v, t) < exponent + math.log(2)

    low, high = 0, 1
    while exceeds(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if exceeds(middle) else (low, middle)
    return high


class _InverseTable:
    """Inverts one distribution function F, of a variable in -T..T, for uniform numbers u in [0, 1).

    A sample is the least value k with u < F(k), that is -T plus the number of bounds F(-T), F(-T + 1), ... that are
    at most u. The upper 16 bits of u name one of 2^16 cells. Where only one bound lies in a cell, at its lower part
    t of 2^16, a cell's word holds

        2^16 v + (2^16 - t)         v: the value before the bound

    and adding the lower 16 bits of u's prefix carries into the value just where u reaches the bound. Then the upper
    half of the sum is the sample. The lower half is zero where prefix and bound are equal and further bits decide.
    """

    def __init__(self, variance: Fraction) -> None:
        self._exact = bessel_table(variance)
        self._offset = len(self._exact) // 2
        shift = _CDF_BITS - _PREFIX_BITS
        self._bounds = np.array([bound >> shift for bound in self._exact], np.uint32)
        cells = np.arange(1 << _CELL_BITS, dtype=np.uint32) << np.uint32(_PREFIX_BITS - _CELL_BITS)
        first = np.searchsorted(self._bounds, cells, side="left")
        inside = np.searchsorted(self._bounds, cells | _LOWER, side="right") - first
        lower = self._bounds[np.minimum(first, self._bounds.size - 1)] & _LOWER
        word = (first - self._offset) * (1 << _CELL_BITS)
        word += np.where(inside == 1, (1 << _CELL_BITS) - lower.astype(np.int64), 0)
        self._cells = np.where(inside > 1, _CROWDED << _CELL_BITS, word).astype(np.int32)

    def sample(self, count: int, randomness: RandomBytes) -> npt.NDArray[np.int32]:
        """int32[count], from 4 bytes for each sample and 28 for each tie after them."""
        prefix = np.frombuffer(randomness(4 * count), "<u4")
        cell = np.empty(count, np.intp)
        np.right_shift(prefix, np.uint32(_PREFIX_BITS - _CELL_BITS), out=cell, casting="unsafe")
        samples: npt.NDArray[np.int32] = self._cells[cell]
        lower = (prefix & _LOWER).view(np.int32)
        samples += lower
        np.bitwise_and(samples, np.int32(_LOWER), out=lower)
        undecided = lower == 0
        samples >>= np.int32(_CELL_BITS)
        undecided |= samples == _CROWDED
        rows = np.flatnonzero(undecided)
        among = prefix[rows]
        found = np.searchsorted(self._bounds, among, side="right")
        samples[rows] = found - self._offset
        # A prefix equal to a bound's own leaves open which of them is the larger: draw the rest of the number.
        for row in rows[among == self._bounds[np.maximum(found, 1) - 1]]:
            rest = int.from_bytes(randomness((_CDF_BITS - _PREFIX_BITS) // 8), "big")
            uniform = int(prefix[row]) << (_CDF_BITS - _PREFIX_BITS) | rest
            samples[row] = bisect_right(self._exact, uniform) - self._offset
        return samples


@lru_cache(maxsize=4)
def _table(variance: Fraction) -> _InverseTable:
    return _InverseTable(variance)
