"""How many holders a device chooses, and how many shares open a secret: bounds, and the least that meet them.

Of n devices, c collude with the server, q must agree before anything is opened, and each device shares its secrets with
k others, t of which can open them. docs/neighbours.md derives the events that must be improbable:

    exposed      an honest device has t colluders among its holders
    separated    the server finds honest survivors whom nothing binds to the others: their sum would open by itself
    left out     the server keeps more than a few honest survivors out of the sum
    unreadable   so few holders of a device stay to the end that the sum cannot be opened

Probabilities are compared as whole numbers, or bounded from above by logarithms to base 2 in units of 2^-40. Decimal
arithmetic is rounded alike on every machine, so both roles find the same numbers, which they must.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Context, Decimal
from functools import cache

SECURITY_BITS = 40  # whatever the server does, the first three events together are less probable than 2^-40
FAILURE_BITS = 20  # `unreadable` is less probable than 2^-20 if q devices stay to the end

PROBABILITY = 1 << 128  # the bounds of the Sparse graph are whole numbers of 2^-128

_UNIT = 1 << 40
_DECIMAL = Context(prec=40)
_LN2 = Decimal(2).ln(_DECIMAL)
_TABLE = 1 << 10  # factorials whose logarithms are computed together
_MARGIN = _UNIT >> 6
"""Added to every exponent. One is made of less than ten logarithms of factorials, times n at most: for a thousand
devices their rounding errors come to less than 10 * 1000 * 1000 units of 2^-40, which is 2^-16."""
_NEVER = -(1 << 30) * _UNIT  # in place of the logarithm of zero


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What a device of the sparse graph needs to know."""

    holders: int  # k
    threshold: int  # t
    strays: int  # honest survivors at most that a cheating server can keep out of the sum


def quorum(size: int, colluders: int) -> int:
    """Any two groups of so many devices have an honest one in common (Bonawitz et al. 2017, section 6.2)."""
    return (size + colluders) // 2 + 1


def solve(
    size: int, colluders: int, floor: int, *, security: int = SECURITY_BITS, failure: int = FAILURE_BITS
) -> Neighbours | None:
    """The fewest holders that meet the bounds; None if that takes half of all devices or more.

    Half of the holders open a secret, if the bounds leave the choice. There may be as many strays as a hundredth of
    the devices, and as an eighth of those that the floor lets drop out: as many more than the floor must agree.
    """
    agreeing = max(floor, quorum(size, colluders))
    most_strays = min(size // 100, (size - floor) // 8)
    for holders in range(1, size // 2):
        least = least_threshold(size, colluders, holders, security + 1)
        most = most_threshold(size, agreeing, holders, failure)
        if least > most:
            continue
        graph = Sparse(size, colluders, agreeing, holders, min(max(least, (holders + 1) // 2), most))
        if _above(graph.left_out(most_strays + 1), security + 2):
            continue  # saves counting them
        strays = graph.strays(security + 2)
        if strays <= most_strays and not _above(graph.separated(), security + 2):
            return Neighbours(holders, graph.threshold, strays)
    return None


# ------------------------------------------------------------------ one device's holders: exact


def least_threshold(size: int, colluders: int, holders: int, bits: int) -> int:
    """The least t so that n P[X >= t] <= 2^-bits, X being the colluders among k of n - 1 others."""
    ways, limit = 0, math.comb(size - 1, holders)
    for count in range(min(holders, colluders), 0, -1):
        ways += math.comb(colluders, count) * math.comb(size - 1 - colluders, holders - count)
        if (size * ways) << bits > limit:
            return count + 1
    return 1


def most_threshold(size: int, present: int, holders: int, bits: int) -> int:
    """The largest t so that n P[X < t] <= 2^-bits, X being those among k of n - 1 others who stay: `present` - 1."""
    ways, limit = 0, math.comb(size - 1, holders)
    for count in range(holders):
        ways += math.comb(present - 1, count) * math.comb(size - present, holders - count)
        if (size * ways) << bits > limit:
            return count
    return holders


# ------------------------------------------------------------------ sets of devices: union bounds


@dataclass(frozen=True, slots=True)
class Sparse:
    """A session with its sparse graph, all of which the server knows before it decides whom to keep away.

    P are honest signers, Z the other honest signers, and the remaining honest devices, r at most, have not signed.
    """

    size: int  # n
    colluders: int  # c
    agreeing: int  # q
    holders: int  # k
    threshold: int  # t

    @property
    def honest(self) -> int:
        """m = n - c"""
        return self.size - self.colluders

    @property
    def absent(self) -> int:
        """r = n - q: honest devices at most that have not signed, when q have, c colluders among them."""
        return self.size - self.agreeing

    @property
    def few(self) -> int:
        """Up to so many signers in Z are matter for `left_out`, more for `separated`."""
        return max(self.size // 20, 1)

    def separated(self) -> int:
        """Bound of the probability of a P of two or more that is bound to no one in a Z of more than `few`.

        Each in P has t holders in P or among the colluders, and none in Z: for a P of each size the rarer one counts.
        """
        sizes = range(2, self.honest - self.few)
        return sum(_probability(min(self._helped(size), self._closed(size))) for size in sizes)

    def strays(self, bits: int) -> int:
        """The largest number of signers, `few` at most, that are left out with more than a probability of 2^-bits."""
        total = 0
        for count in range(self.few, 0, -1):
            total += self.left_out(count)
            if _above(total, bits):
                return count
        return 0

    def left_out(self, count: int) -> int:
        """Bound of the probability of a Z of `count` that no signer in P has chosen: whoever did is absent.

        C(m, z) P[B <= r], B being how many of m - z choose one of z. The last of the r + 1 terms is the largest as
        long as r is below the mean.
        """
        others, absent = self.honest - count, self.absent
        everything, none = math.comb(self.size - 1, self.holders), math.comb(self.size - 1 - count, self.holders)
        if absent * everything >= others * (everything - none):
            return PROBABILITY
        some = everything - none
        hit, miss = log2(some) - log2(everything), log2(max(none, 1)) - log2(everything)
        tail = log2(absent + 1) + _choose(others, absent) + absent * hit + (others - absent) * miss
        return _probability(_choose(self.honest, count) + tail)

    def _helped(self, count: int) -> int:
        """C(m, p) P[X >= t]^p, X being those of k holders who are in P or collude: k - t + 1 terms, the likeliest."""
        others, friends = self.size - 1, self.colluders + count - 1
        likeliest = max(self.threshold, (self.holders + 1) * (friends + 1) // (others + 2))
        one = _choose(friends, likeliest) + _choose(others - friends, self.holders - likeliest)
        tail = log2(self.holders - self.threshold + 1) + one - _choose(others, self.holders)
        return _choose(self.honest, count) + count * min(0, tail)

    def _closed(self, count: int) -> int:
        """C(m, p) C(m - p, z) P[no holder in Z]^p for the smallest Z: the more absent, the fewer it must avoid."""
        rest, others = self.honest - count, self.size - 1
        apart = max(self.few + 1, rest - self.absent)
        avoided = _choose(others - apart, self.holders) - _choose(others, self.holders)
        return _choose(self.honest, count) + _choose(rest, apart) + count * avoided


def _above(probability: int, bits: int) -> bool:
    """Whether a bound of the Sparse graph is above 2^-bits."""
    return probability << bits > PROBABILITY


# ------------------------------------------------------------------ logarithms to base 2, in units of 2^-40


def log2(number: int) -> int:
    """log2 of a positive integer, rounded down."""
    ln = _DECIMAL.create_decimal(number).ln(_DECIMAL)
    return int(_DECIMAL.multiply(_DECIMAL.divide(ln, _LN2), Decimal(_UNIT)))


@cache
def _factorials(size: int) -> tuple[int, ...]:
    """log2 of 0!, 1!, ..., (`size` - 1)!."""

    def running() -> Iterator[int]:
        total = 0
        for number in range(size):
            total += log2(max(number, 1))
            yield total

    return tuple(running())


def _choose(size: int, count: int) -> int:
    """log2 of the binomial coefficient, as exact as `_MARGIN` allows for."""
    if not 0 <= count <= size:
        return _NEVER
    table = _factorials(-(-(size + 1) // _TABLE) * _TABLE)
    return table[size] - table[count] - table[size - count]


def _probability(exponent: int) -> int:
    """2^`exponent` in units of 2^-128, rounded up, and 1 at most. Between its ends, 2^x is below 1 + x."""
    whole, fraction = divmod(min(exponent + _MARGIN, 0), _UNIT)
    return ((_UNIT + fraction) * PROBABILITY >> min(-whole, 1 << 10)) // _UNIT + 1
