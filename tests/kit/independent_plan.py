"""A plan's policy and price, and the encoding of an update, from docs/protocol.md alone; see `independent_device`."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from independent_messages import ProtocolError, demand

Floats = npt.NDArray[np.float32]

ORDERS = (
    *range(2, 65),
    *range(66, 129, 2),
    *(144, 160, 176, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024, 1536, 2048, 4096, 8192, 16384),
)
TINY, HUGE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


class PlanRefused(ProtocolError): ...


# ------------------------------------------------------------------ section 5


def judge(plan: Any, policy: Mapping[str, float]) -> float:
    """Epsilon of a plan that a device with this policy agrees to."""
    cohort, training, update, delay = plan.cohort, plan.training, plan.update, plan.join_delay_ms / 1000
    colluders = math.floor(cohort.gamma * cohort.maximum + 1e-9)
    for holds in (
        1 <= update.dimension <= min(2**24, policy["max_dimension"]),
        all(TINY <= value <= HUGE for value in (update.clip_norm, update.scale)),
        8 <= update.bits <= 32 and 0 < update.local_stddev <= 2**14 and 0 <= update.beta < 1,
        policy["min_floor"] <= cohort.floor <= cohort.maximum and cohort.floor > colluders,
        policy["min_gamma"] <= cohort.gamma < 0.5,
        0 < plan.delta <= policy["max_delta"],
        0 < training.steps <= policy["max_steps"] and training.learning_rate > 0,
        min(training.batch, training.time, training.max_examples) > 0,
        policy["min_join_delay"] <= delay <= policy["max_join_delay"],
    ):
        demand(holds, "less protection than this device's policy demands", PlanRefused)
    bound = rounding_bound(update)
    demand(bound <= 2**30, "too fine a grid", PlanRefused)
    variance = (cohort.floor - colluders) * update.local_stddev**2
    l1 = bound * min(math.sqrt(update.dimension), bound)
    epsilon = max(0.0, min(at_order(a, renyi(a, l1, bound, variance), plan.delta) for a in ORDERS))
    demand(epsilon <= policy["max_round_epsilon"], f"epsilon {epsilon}", PlanRefused)
    return epsilon


def renyi(a: int, l1: float, l2: float, v: float) -> float:
    return a * l2**2 / (2 * v) + min(((2 * a - 1) * l2**2 + 6 * l1) / (4 * v**2), 3 * l1 / (2 * v))


def at_order(a: int, r: float, delta: float) -> float:
    if delta**2 > 1 - math.exp(-r):
        return 0.0
    return r + math.log(1 - 1 / a) - math.log(delta * a) / (a - 1)


# ------------------------------------------------------------------ section 6


def rounding_bound(update: Any) -> float:
    k, size = update.scale * update.clip_norm, update.dimension
    certain = k + math.sqrt(size)
    if update.beta == 0:
        return certain
    likely = k**2 + size / 4 + math.sqrt(2 * math.log(1 / update.beta)) * (k + math.sqrt(size) / 2)
    return min(certain, math.sqrt(likely))


def to_grid(x: Floats, update: Any) -> Floats:
    """Steps 1 to 3: rotated, clipped and scaled."""
    w = max(2**exponent for exponent in range(25) if 2**exponent <= x.size)
    drawn = np.array(signs(2 * w, update.rotation_seed_0, update.rotation_seed_1), np.float32)
    y = x.copy()
    y[:w] = hadamard(y[:w] * drawn[:w])
    if w < x.size:
        y[-w:] = hadamard(y[-w:] * drawn[w:])
    norm, clip = np.float32(math.sqrt(sum(float(value) ** 2 for value in y))), np.float32(update.clip_norm)
    if norm > clip:
        y /= norm / clip
    return y * np.float32(update.scale)


def hadamard(x: Floats) -> Floats:
    y, stride = x.copy(), 1
    while stride < y.size:
        for start in range(0, y.size, 2 * stride):
            one, other = y[start : start + stride].copy(), y[start + stride : start + 2 * stride].copy()
            y[start : start + stride], y[start + stride : start + 2 * stride] = one + other, one - other
        stride *= 2
    return y / np.sqrt(np.float32(y.size))


def signs(count: int, seed_0: int, seed_1: int) -> list[int]:
    e = philox(struct.unpack("<4I", struct.pack("<qq", seed_0, seed_1)), (0x3EC8F720, 0x02461E29))
    words = []
    for j in range(-(-count // 4)):
        words += philox((j & 0xFFFFFFFF, j >> 32, e[2], e[3]), (e[0], e[1]))
    return [int(np.sign((word & 0x7FFFFF) - 0x400000)) for word in words[:count]]


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    (a, b, c, d), (k, m) = counter, key
    for _ in range(10):
        one, other = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = other >> 32 ^ b ^ k, other & 0xFFFFFFFF, one >> 32 ^ d ^ m, one & 0xFFFFFFFF
        k, m = (k + 0x9E3779B9) & 0xFFFFFFFF, (m + 0xBB67AE85) & 0xFFFFFFFF
    return a, b, c, d


def pack(values: list[int], bits: int) -> bytes:
    number = sum(value << bits * place for place, value in enumerate(values))
    return number.to_bytes((bits * len(values) + 7) // 8, "little")
