"""Canaries: devices each of which sends a secret direction of its own, many times as long as it may, or nothing.

Which of the two is decided by a fair coin for each device, before the task begins and for all of its rounds. A device
that sends nothing takes part with noise alone, as one does that has nothing to learn: so the two cases differ in one
update, which is what the ledger charges for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from .errors import UsageError

LENGTH = 10.0  # of a canary's update before clipping, in clip norms
_MOST_UNOBSERVED = 500

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Canaries:
    """Directions of unit length, at right angles to one another, so that no canary hides another."""

    directions: Vector  # [c, d]: one for each canary
    unobserved: Vector  # [u, d]: more of them, that nobody sends
    included: npt.NDArray[np.bool_]  # [c]: whether the canary sends its direction

    @classmethod
    def draw(cls, count: int, dimension: int, rng: np.random.Generator) -> Self:
        """Directions in `dimension` values for `count` canaries. Raises UsageError for more than there is room for."""
        if not 2 <= count <= dimension // 2:
            raise UsageError(
                f"{count} canaries in updates of {dimension} values: between 2 and {dimension // 2} have room there"
            )
        total = count + min(dimension - count, _MOST_UNOBSERVED)
        columns, upper = np.linalg.qr(rng.standard_normal((dimension, total)))
        # With these signs, every set of directions is equally likely (Mezzadri 2007, arXiv math-ph/0609050).
        rows = np.ascontiguousarray((columns * np.sign(np.diag(upper))).T).astype(np.float32)
        return cls(rows[:count], rows[count:], rng.random(count) < 0.5)

    def update(self, canary: int, clip_norm: float) -> Vector:
        """What the canary would have learned, as float32[d]: the encoder has yet to clip it."""
        direction = self.directions[canary]
        if not self.included[canary]:
            return np.zeros_like(direction)
        update: Vector = direction * np.float32(LENGTH * clip_norm)
        return update
