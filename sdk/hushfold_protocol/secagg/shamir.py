"""Shamir's secret sharing of 32-byte secrets over the prime field of 2^256 + 297.

The field is the smallest above 256 bits, so every 32-byte string is an element. Plain integers: at a hundred
shares it costs about a millisecond, and a reader can check it. Shamir 1979, doi 10.1145/359168.359176.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate

from ..randomness import RandomBytes

PRIME = (1 << 256) + 297
SECRET_BYTES = 32
SHARE_BYTES = 33


def share(secret: bytes, threshold: int, holders: Collection[int], random_bytes: RandomBytes) -> dict[int, bytes]:
    """A share of `secret` for each holder, any `threshold` of which give it back; holder i has the value at i + 1."""
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret of {SECRET_BYTES} bytes is needed, {len(secret)} given")
    if not 1 <= threshold <= len(holders):
        raise ValueError(f"threshold {threshold} is not between 1 and {len(holders)} shares")
    # 40 random bytes modulo a 257-bit prime: the bias is below 2^-62.
    coefficients = [int.from_bytes(random_bytes(40), "big") % PRIME for _ in range(threshold - 1)]
    coefficients.append(int.from_bytes(secret, "big"))
    shares = {}
    for holder in holders:
        value = 0
        for coefficient in coefficients:  # x is small: one reduction at the end costs less than one at each step
            value = value * (holder + 1) + coefficient
        shares[holder] = (value % PRIME).to_bytes(SHARE_BYTES, "big")
    return shares


def coefficients_at_zero(holders: Sequence[int]) -> list[int]:
    """Lagrange coefficients at zero for the shares of these distinct `holders`: prod(x_j / (x_j - x_i)) over j != i."""
    if len(set(holders)) != len(holders):
        raise ValueError("the same share was given twice")
    points = [holder + 1 for holder in holders]
    numerator = math.prod(points) % PRIME
    # x_i prod(x_j - x_i): small numbers, which are multiplied before they are reduced. All are inverted together.
    denominators = [x * math.prod(other - x for other in points if other != x) % PRIME for x in points]
    before = [1, *accumulate(denominators, _times)]
    inverse = pow(before.pop(), -1, PRIME)
    coefficients = [0] * len(points)
    for place in reversed(range(len(points))):
        coefficients[place] = numerator * inverse * before[place] % PRIME
        inverse = inverse * denominators[place] % PRIME
    return coefficients


def _times(one: int, other: int) -> int:
    return one * other % PRIME


class Reconstructor:
    """Gives secrets back from shares of one set of holders, whose coefficients are computed once."""

    def __init__(self, indices: Sequence[int]) -> None:
        self.indices = tuple(indices)
        self._coefficients = coefficients_at_zero(self.indices)

    def secret(self, shares: Mapping[int, bytes]) -> bytes:
        """The secret behind the holders' `shares`. Raises ValueError if they do not belong to a 32-byte secret."""
        total = 0
        for index, coefficient in zip(self.indices, self._coefficients, strict=True):
            value = int.from_bytes(shares[index], "big")
            if value >= PRIME:
                raise ValueError(f"share {index} is not an element of the field")
            total = (total + value * coefficient) % PRIME
        if total >> 256:
            raise ValueError("the shares do not belong to one secret")
        return total.to_bytes(SECRET_BYTES, "big")
