"""What a round costs in privacy, computed alike by the device and the server.

The mechanism is the sum of integer vectors with Skellam noise; neighbours differ in one device, whose vector is
replaced by zeros, and who takes part is public. A curve gives the Renyi divergence at each order of a fixed grid;
rounds add up, order by order, and epsilon follows for a given delta.

- Skellam: Agarwal, Kairouz and Liu 2021, "The Skellam Mechanism for Differentially Private Federated Learning",
  arXiv 2110.04995, corollary 4.1. It is proven for integer orders, so the grid has no others.
- Conversion to (epsilon, delta): Canonne, Kamath and Steinke 2020, arXiv 2004.00010 (v4), proposition 12.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Self

from .encoding import DEFAULT_BETA, EncodingParameters
from .errors import EncodingError

# Renyi orders. The high ones serve very small epsilons, of a few hundredths and less.
ORDERS: tuple[int, ...] = (
    *range(2, 65),
    *range(66, 129, 2),
    *(144, 160, 176, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024, 1536, 2048, 4096, 8192, 16384),
)

_MAX_NOISE_MULTIPLIER = 1e6


def skellam_rdp(order: int, l1: float, l2: float, variance: float) -> float:
    """Upper bound on the Renyi divergence of integer `order` > 1 between Skellam noise and its shift.

    l1, l2: bounds on the norms of the shift, an integer vector; variance: of the noise, per coordinate. With
    mu the variance, alpha the order (arXiv 2110.04995, corollary 4.1 with scale 1):

        alpha l2^2 / (2 mu) + min(((2 alpha - 1) l2^2 + 6 l1) / (4 mu^2), 3 l1 / (2 mu))

    Infinite where there is no noise.
    """
    if order != int(order) or order < 2:
        raise ValueError(f"the Skellam bound holds for integer orders from 2, not for {order}")
    if not (l1 >= 0 and l2 >= 0):
        raise ValueError(f"norms cannot be negative: l1 = {l1}, l2 = {l2}")
    if not (variance > 0 and variance**2 > 0):  # so little that its square is 0 is none
        return math.inf
    gaussian = order * l2**2 / (2 * variance)
    return gaussian + min(((2 * order - 1) * l2**2 + 6 * l1) / (4 * variance**2), 3 * l1 / (2 * variance))


@dataclass(frozen=True, slots=True)
class RdpCurve:
    """Renyi divergence at each of ORDERS: what has been, or would be, spent. Curves of different rounds add up."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.values) != len(ORDERS):
            raise ValueError(f"a curve has {len(ORDERS)} values, one for each order, not {len(self.values)}")
        if not all(value >= 0 for value in self.values):
            raise ValueError("a curve's values must be numbers of at least 0")

    @classmethod
    def zero(cls) -> Self:
        """Nothing spent."""
        return cls((0.0,) * len(ORDERS))

    def __add__(self, other: RdpCurve) -> RdpCurve:
        """Both releases: adaptive composition adds divergences (Mironov 2017, arXiv 1702.07476, proposition 1)."""
        return RdpCurve(tuple(mine + its for mine, its in zip(self.values, other.values, strict=True)))

    def __mul__(self, times: int) -> RdpCurve:
        """The same release `times` over; 0 times is nothing spent, even of an infinite curve."""
        if times < 0:
            raise ValueError(f"a release cannot happen {times} times")
        return RdpCurve(tuple(times * value for value in self.values)) if times else RdpCurve.zero()

    __rmul__ = __mul__

    def epsilon(self, delta: float) -> float:
        """The least epsilon that the curve proves for this delta in (0, 1); infinite if it proves none."""
        if not 0 < delta < 1:
            raise ValueError(f"delta must be between 0 and 1, not {delta}")
        return max(0.0, min(map(_epsilon_at, ORDERS, self.values, (delta,) * len(ORDERS))))

    def to_bytes(self) -> bytes:
        """Little-endian float64, in the sequence of ORDERS."""
        return struct.pack(f"<{len(ORDERS)}d", *self.values)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Reads what `to_bytes` wrote. Raises ValueError for another length, or values that are no curve."""
        if len(data) != 8 * len(ORDERS):
            raise ValueError(f"a curve takes {8 * len(ORDERS)} bytes, {len(data)} came")
        return cls(struct.unpack(f"<{len(ORDERS)}d", data))


def _epsilon_at(order: int, divergence: float, delta: float) -> float:
    # The total variation distance is at most sqrt(1 - exp(-divergence)) (Bretagnolle and Huber 1979); where that is
    # below delta, epsilon is 0.
    if delta**2 + math.expm1(-divergence) > 0:
        return 0.0
    return divergence + math.log1p(-1 / order) - math.log(delta * order) / (order - 1)


def round_curve(parameters: EncodingParameters, noise_contributors: int) -> RdpCurve:
    """What one round costs a participant if at least `noise_contributors` devices add their noise to the sum.

    Reducing modulo 2^b is post-processing and costs nothing. Infinite if there is no noise or nobody to add it.
    """
    variance = max(0, noise_contributors) * parameters.local_stddev**2
    l1, l2 = parameters.l1_bound, parameters.l2_bound
    return RdpCurve(tuple(skellam_rdp(order, l1, l2, variance) for order in ORDERS))


def calibrate(
    target_epsilon: float,
    delta: float,
    participations: int,
    *,
    dimension: int,
    clip_norm: float,
    bits: int,
    cohort_max: int,
    noise_contributors: int,
    beta: float = DEFAULT_BETA,
) -> float:
    """The least noise multiplier with which `participations` rounds cost at most `target_epsilon` at `delta`.

    The multiplier is that of `EncodingParameters.for_cohort`: noise of `noise_contributors` devices over clip norm.
    More noise takes a coarser grid, and a coarser grid raises the sensitivity by its rounding; the search accounts
    for both. So there are targets that no noise reaches on a small modulus: these raise EncodingError. The answer
    is at most 0.01 % above the least.
    """
    if not target_epsilon > 0:
        raise EncodingError(f"a target epsilon of {target_epsilon}: it must be positive")
    if participations < 1:
        raise EncodingError(f"{participations} participations: calibrate for at least one")

    def spent(noise_multiplier: float) -> float:
        parameters = EncodingParameters.for_cohort(
            dimension=dimension,
            clip_norm=clip_norm,
            noise_multiplier=noise_multiplier,
            bits=bits,
            cohort_max=cohort_max,
            noise_contributors=noise_contributors,
            rotation_seed=(0, 0),
            beta=beta,
        )
        return (participations * round_curve(parameters, noise_contributors)).epsilon(delta)

    low, high = 0.0, 1.0
    while spent(high) > target_epsilon:
        low, high = high, 2 * high
        if high > _MAX_NOISE_MULTIPLIER:
            raise EncodingError(
                f"no noise reaches epsilon {target_epsilon:g} in {participations} rounds modulo 2^{bits}: the grid "
                "becomes too coarse. Use more bits, fewer values, fewer participations or a larger cohort"
            )
    while high - low > 1e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if spent(middle) <= target_epsilon else (middle, high)
    return high
