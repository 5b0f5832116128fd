"""From a float32 update to integers modulo 2^b, and from their sum back.

An update is encoded in this order; where a step says float32, every operation in it is one rounded float32
operation, so that a TensorFlow graph can mirror it exactly:

1. Rotate: `rotation.rotate`, float32[d] -> x: float32[d].
2. Clip to L2 norm C. The squares are summed in float64 and the root is rounded once to float32, so that the order
   of summation does not matter: norm = float32(sqrt(sum(float64(x)^2))). Where norm > float32(C), as in TFF's
   `clipping_factory`, x = x / (norm / float32(C)) in float32.
3. Scale: y = x * float32(s) in float32.
4. Round: floor(y), plus 1 with probability y - floor(y), in steps of 2^-24. The whole vector is drawn again until
   its norm, computed in integers, is at most `l2_bound`.
5. Add this device's share of Skellam noise.
6. Reduce modulo 2^b to [0, 2^b).

The sum is decoded by taking each coordinate as the integer in [-2^(b-1), 2^(b-1)) that it is congruent to, as
float32, divided by float32(s), and undoing the rotation.

Conditional rounding and its norm bound are from Kairouz et al. 2021, "The Distributed Discrete Gaussian Mechanism",
arXiv 2102.06387, section 4. The floating-point steps may be off by an ulp without harm to privacy: sensitivity is
checked on the integers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from .errors import EncodingError, RoundingFailed
from .packing import MAX_BITS, MIN_BITS, EncodedVector
from .randomness import RandomBytes, system_randomness
from .rotation import FloatVector, rotate, unrotate, window_size
from .skellam import MAX_STDDEV, sample_skellam

MAX_DIMENSION = 1 << 24  # values of an update
MAX_ROUNDINGS = 8  # draws of one vector before the device gives up on the round
DEFAULT_BETA = math.exp(-0.5)  # the choice of arXiv 2102.06387: a tight bound that nearly every draw meets
WRAP_PROBABILITY = 2.0**-40  # of one coordinate of one sum

_MAX_GRID_NORM = float(1 << 30)  # keeps the integers in int32 and their squared norm in int64
_SMALLEST_FLOAT, _LARGEST_FLOAT = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)  # normal ones
_CHUNK = 1 << 15  # values at a time: they and what is computed on the way stay in the cache
_PRODUCTS = 1 << 13  # of one norm at a time: for more than 10,000, BLAS wakes threads that cost more than they give


@dataclass(frozen=True, slots=True)
class EncodingParameters:
    """How an update of one round becomes integers. Raises EncodingError for values that make no sense."""

    dimension: int  # d: values in an update
    clip_norm: float  # C: L2 norm to which an update is clipped, in units of the weights
    scale: float  # s: grid steps per unit of the weights
    bits: int  # b: sums are taken modulo 2^b
    local_stddev: float  # of one device's Skellam noise per coordinate, in grid steps; 0 for none
    rotation_seed: tuple[int, int]  # two signed 64-bit integers; public, and the same for the cohort
    beta: float = DEFAULT_BETA  # bound on the probability that one rounding is rejected; 0: none ever is

    def __post_init__(self) -> None:
        demands = (
            (
                1 <= self.dimension <= MAX_DIMENSION,
                f"an update of {self.dimension} values: 1 to {MAX_DIMENSION} can be encoded",
            ),
            # Both are used as float32: one that is infinite there, or loses its digits, voids the norm check.
            (
                _SMALLEST_FLOAT <= self.clip_norm <= _LARGEST_FLOAT,
                f"a clip norm of {self.clip_norm}: it must be positive and a normal float32",
            ),
            (
                _SMALLEST_FLOAT <= self.scale <= _LARGEST_FLOAT,
                f"a scale of {self.scale}: it must be positive and a normal float32",
            ),
            (
                MIN_BITS <= self.bits <= MAX_BITS,
                f"a modulus of 2^{self.bits}: {MIN_BITS} to {MAX_BITS} bits are supported",
            ),
            (
                0 <= self.local_stddev <= MAX_STDDEV,
                f"a noise of {self.local_stddev} grid steps: at most {MAX_STDDEV:g}; use a smaller scale",
            ),
            (
                len(self.rotation_seed) == 2 and all(-(2**63) <= word < 2**63 for word in self.rotation_seed),
                "the rotation seed must be two signed 64-bit integers",
            ),
            (0 <= self.beta < 1, f"a beta of {self.beta}: it is a probability below 1"),
        )
        for holds, fault in demands:
            if not holds:
                raise EncodingError(fault)
        if not self.l2_bound <= _MAX_GRID_NORM:
            raise EncodingError(
                f"a clipped update is {self.l2_bound:g} grid steps long, at most 2^30 are supported: "
                "use a smaller scale"
            )

    @classmethod
    def for_cohort(
        cls,
        *,
        dimension: int,
        clip_norm: float,
        noise_multiplier: float,
        bits: int,
        cohort_max: int,
        noise_contributors: int,
        rotation_seed: tuple[int, int],
        beta: float = DEFAULT_BETA,
    ) -> Self:
        """The finest grid on which a cohort's sum does not wrap, with the noise spread over its devices.

        The noise of `noise_contributors` devices together has the standard deviation noise_multiplier * clip_norm
        per coordinate, in units of the weights; all `cohort_max` devices of the sum add their share.
        """
        if noise_contributors < 1:
            raise EncodingError(f"{noise_contributors} devices cannot carry the noise: at least one is needed")
        local_noise = noise_multiplier * clip_norm / math.sqrt(noise_contributors)
        scale = choose_scale(
            clip_norm=clip_norm,
            dimension=dimension,
            bits=bits,
            cohort_max=cohort_max,
            local_noise=local_noise,
        )
        return cls(
            dimension=dimension,
            clip_norm=clip_norm,
            scale=scale,
            bits=bits,
            local_stddev=local_noise * scale,
            rotation_seed=rotation_seed,
            beta=beta,
        )

    @property
    def modulus(self) -> int:
        return 1 << self.bits

    @property
    def l2_bound(self) -> float:
        """Greatest L2 norm of a rounded update, in grid steps: the sensitivity of the sum.

        With c = s C, the least of c + sqrt(d), which no rounding exceeds, and
        sqrt(c^2 + d / 4 + sqrt(2 ln(1 / beta)) (c + sqrt(d) / 2)), which one exceeds with probability at most beta
        (arXiv 2102.06387, section 4.1).
        """
        clipped, root = self.scale * self.clip_norm, math.sqrt(self.dimension)
        certain = clipped + root
        if self.beta == 0:
            return certain
        deviation = math.sqrt(-2 * math.log(self.beta)) * (clipped + root / 2)
        return min(certain, math.sqrt(clipped**2 + self.dimension / 4 + deviation))

    @property
    def l1_bound(self) -> float:
        """Greatest L1 norm of a rounded update: at most sqrt(d) L2, and for integers at most L2^2."""
        return self.l2_bound * min(math.sqrt(self.dimension), self.l2_bound)


def encode(update: FloatVector, parameters: EncodingParameters, randomness: RandomBytes | None = None) -> EncodedVector:
    """Encodes float32[d] into uint32[d], each below 2^b, with this device's noise in it.

    Without `randomness` a fresh stream of the operating system is used, which is what a device must do. Raises
    EncodingError for an update that is not finite or not of the right shape, RoundingFailed as `quantise` does.
    """
    randomness = randomness or system_randomness()
    total = quantise(update, parameters, randomness)
    total += sample_skellam(total.size, parameters.local_stddev**2, randomness)
    encoded = total.view(np.uint32)  # two's complement: modulo 2^32 already
    encoded &= np.uint32(parameters.modulus - 1)
    return encoded


def quantise(
    update: FloatVector,
    parameters: EncodingParameters,
    randomness: RandomBytes,
    *,
    rounding: Literal["stochastic", "nearest"] = "stochastic",
) -> npt.NDArray[np.int32]:
    """Steps 1 to 4: float32[d] to int32[d] of an L2 norm of at most `l2_bound`. There is no noise in it yet.

    "nearest" (half to even) exists to compare with other implementations: it is biased, and can fail for good.
    Raises RoundingFailed after MAX_ROUNDINGS draws that were too long.
    """
    grid = _to_grid(update, parameters)
    if rounding == "nearest":
        rounded = np.rint(grid).astype(np.int32)
        if _squared_norm(rounded) <= parameters.l2_bound**2:
            return rounded
        raise RoundingFailed(f"rounded to nearest, the update is longer than {parameters.l2_bound:g} grid steps")
    rounded = np.empty(grid.size, np.int32)
    for _ in range(MAX_ROUNDINGS):
        squared_norm = 0
        for part in _parts(grid.size):
            rounded[part] = _round(grid[part], randomness)
            squared_norm += _squared_norm(rounded[part])
        if squared_norm <= parameters.l2_bound**2:
            return rounded
    raise RoundingFailed(
        f"{MAX_ROUNDINGS} roundings were all longer than {parameters.l2_bound:g} grid steps: sit this round out; "
        "if it happens often, the task needs a smaller beta"
    )


def decode_sum(total: EncodedVector, parameters: EncodingParameters) -> FloatVector:
    """Decodes the sum modulo 2^b of encoded updates, uint32[d], into the sum of the updates, float32[d].

    What every server has to compute; that of Hushfold does it inside of a TensorFlow Federated computation, which is
    tested to give the same bits.
    """
    if total.shape != (parameters.dimension,):
        raise EncodingError(f"a sum has shape ({parameters.dimension},), but this one has {total.shape}")
    if int(total.max()) >= parameters.modulus:
        raise EncodingError(f"a value of the sum is not below 2^{parameters.bits}: reduce it first")
    # Move the sign bit to the top of the word and back: the second shift is arithmetic.
    unused = 32 - parameters.bits
    centred = (total << np.uint32(unused)).view(np.int32) >> np.int32(unused)
    rotated = centred.astype(np.float32) / np.float32(parameters.scale)
    return unrotate(rotated, parameters.rotation_seed)


def choose_scale(
    *,
    clip_norm: float,
    dimension: int,
    bits: int,
    cohort_max: int,
    local_noise: float,
) -> float:
    """The largest scale at which a coordinate of the sum leaves [-2^(b-1), 2^(b-1)) with at most WRAP_PROBABILITY.

    `local_noise` is the standard deviation of one device's noise in units of the weights. With n = cohort_max, the
    sum in grid steps is that of a rotated vector of norm at most s n C, sub-Gaussian with proxy (s n C)^2 / w, w the
    rotation's window; n rounding errors of range 1, with proxy n / 4 (Hoeffding); and Skellam noise of variance
    v = n (s local_noise)^2, whose cumulant function is v (cosh t - 1). So by Chernoff, with A = (s n C)^2 / w + n / 4
    and tau = 2^(b-1),

        P(|sum| >= tau) <= 2 exp(min over t of A t^2 / 2 + v (cosh t - 1) - tau t).

    This is the k-sigma rule of arXiv 2102.06387 with the tail of the Skellam, not of a Gaussian, and a stated
    probability. The grid is never finer than is of use, s C = max(2^13, 8 sqrt(d)), where rounding adds 0.2 % to the
    sensitivity, an eighth if beta is 0 (a finer one would take more samples for the same noise), nor than noise can be
    sampled on. Raises EncodingError if even the rounding errors overflow the modulus.
    """
    if not (0 < clip_norm < math.inf and 0 <= local_noise < math.inf):
        raise EncodingError(
            f"a clip norm of {clip_norm} with a noise of {local_noise}: both must be finite, the first positive"
        )
    if cohort_max < 1:
        raise EncodingError(f"a cohort of {cohort_max} devices: at least one is needed")
    half, limit = 2.0 ** (bits - 1), math.log(WRAP_PROBABILITY / 2)

    def fits(scale: float) -> bool:
        proxy = (scale * cohort_max * clip_norm) ** 2 / window_size(dimension) + cohort_max / 4
        return _chernoff_exponent(proxy, cohort_max * (scale * local_noise) ** 2, half) <= limit

    finest = max(float(1 << 13), 8 * math.sqrt(dimension)) / clip_norm
    if local_noise > 0:
        finest = min(finest, (1 - 1e-12) * MAX_STDDEV / local_noise)
    if fits(finest):
        return finest
    low, high = math.log(finest) - 64 * math.log(2), math.log(finest)
    if not fits(math.exp(low)):
        raise EncodingError(
            f"the rounding errors of {cohort_max} devices alone can wrap a sum modulo 2^{bits}: use more bits"
        )
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(math.exp(middle)) else (low, middle)
    return math.exp(low)


def _chernoff_exponent(proxy: float, variance: float, threshold: float) -> float:
    """The minimum over t in (0, 50) of proxy t^2 / 2 + variance (cosh t - 1) - threshold t, which is convex in t.

    Every t gives a valid bound; the end of the range keeps cosh finite.
    """
    low, high = 0.0, min(threshold / proxy, 50.0)
    if variance > 0:
        high = min(high, math.asinh(threshold / variance))
    for _ in range(50):
        middle = (low + high) / 2
        slope = proxy * middle + variance * math.sinh(middle) - threshold
        low, high = (middle, high) if slope < 0 else (low, middle)
    # cosh t - 1 without cancellation.
    return proxy * low**2 / 2 + 2 * variance * math.sinh(low / 2) ** 2 - threshold * low


def _to_grid(update: FloatVector, parameters: EncodingParameters) -> FloatVector:
    """Steps 1 to 3: float32[d] to float32[d] in grid steps, not yet rounded."""
    if update.shape != (parameters.dimension,) or update.dtype != np.float32:
        raise EncodingError(
            f"an update must be float32 of shape ({parameters.dimension},), not {update.dtype} of {update.shape}"
        )
    squared_norm = _float_squared_norm(update)  # of float32 values, none of whose squares overflows float64
    if not math.isfinite(squared_norm):
        raise EncodingError("the update has values that are not finite: training diverged; do not send it")
    # No intermediate sum of the rotation is larger than sqrt(d) times the norm.
    if squared_norm * parameters.dimension > _LARGEST_FLOAT**2:
        raise EncodingError("the update would overflow float32 when rotated: training diverged; do not send it")
    x = rotate(update, parameters.rotation_seed)
    norm, clip = np.float32(math.sqrt(_float_squared_norm(x))), np.float32(parameters.clip_norm)
    scale, squared_norm = np.float32(parameters.scale), 0.0
    for part in _parts(x.size):
        if norm > clip:
            x[part] /= norm / clip
        x[part] *= scale
        squared_norm += _float_squared_norm(x[part])
    # Below 2^31, every value fits int32 and the squared norm of any rounding fits int64: the check on the integers
    # cannot wrap, nor depend on what a processor makes of a float that is too large.
    if not squared_norm < (2 * _MAX_GRID_NORM) ** 2:
        raise EncodingError("the clipped update is not below 2^31 grid steps: use a smaller scale")
    return x


def _round(grid: FloatVector, randomness: RandomBytes) -> npt.NDArray[np.int32]:
    """Step 4, once: float32[m] to int32[m]."""
    whole = np.floor(grid)
    fraction = grid - whole
    fraction *= np.float32(1 << 24)  # exact: a float32 fraction times a power of two
    draw = np.frombuffer(randomness(4 * grid.size), "<u4") >> np.uint32(8)
    rounded = whole.astype(np.int32)
    rounded += draw.view(np.int32).astype(np.float32) < fraction
    return rounded


def _parts(size: int, most: int = _CHUNK) -> Iterator[slice]:
    """Consecutive slices of a vector of this size, of so many values at most."""
    return (slice(start, min(start + most, size)) for start in range(0, size, most))


def _float_squared_norm(x: FloatVector | npt.NDArray[np.int32]) -> float:
    parts = (x[part].astype(np.float64) for part in _parts(x.size, _PRODUCTS))
    return sum(float(np.dot(part, part)) for part in parts)


def _squared_norm(x: npt.NDArray[np.int32]) -> int:
    """Exact: a sum of squares below 2^53 has nothing to round in float64, and all others are taken in int64."""
    total = 0
    for part in _parts(x.size, _PRODUCTS):
        squares = _float_squared_norm(x[part])
        if squares >= 1 << 52:
            wide = x[part].astype(np.int64)
            squares = int(np.dot(wide, wide))
        total += int(squares)
    return total
