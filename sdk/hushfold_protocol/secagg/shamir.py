"""Shamir's secret sharing of 32-byte secrets over the prime field of 2^256 + 297.

The field is the smallest above 256 bits, so every 32-byte string is an element. Plain integers: at a hundred
shares it costs about a millisecond, and a reader can check it. Shamir 1979, doi 10.1145/359168.359176.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..randomness import RandomBytes

PRIME = (1 << 256) + 297
SECRET_BYTES = 32
SHARE_BYTES = 33


def share(secret: bytes, threshold: int, count: int, random_bytes: RandomBytes) -> list[bytes]:
    """`count` shares of `secret`, any `threshold` of which give it back; share i is the value at i + 1."""
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret of {SECRET_BYTES} bytes is needed, {len(secret)} given")
    if not 1 <= threshold <= count:
        raise ValueError(f"threshold {threshold} is not between 1 and {count} shares")
    # 40 random bytes modulo a 257-bit prime: the bias is below 2^-62.
    coefficients = [int.from_bytes(secret, "big")]
    coefficients += [int.from_bytes(random_bytes(40), "big") % PRIME for _ in range(threshold - 1)]
    shares = []
    for x in range(1, count + 1):
        value = 0
        for coefficient in reversed(coefficients):
            value = (value * x + coefficient) % PRIME
        shares.append(value.to_bytes(SHARE_BYTES, "big"))
    return shares


def coefficients_at_zero(indices: Sequence[int]) -> list[int]:
    """Lagrange coefficients at zero for the shares of these distinct `indices`."""
    if len(set(indices)) != len(indices):
        raise ValueError("the same share was given twice")
    numerators, denominators = [], []
    for i in indices:
        numerator = denominator = 1
        for j in indices:
            if j != i:
                numerator = numerator * (j + 1) % PRIME
                denominator = denominator * (j - i) % PRIME
        numerators.append(numerator)
        denominators.append(denominator)
    return [n * pow(d, -1, PRIME) % PRIME for n, d in zip(numerators, denominators, strict=True)]


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
