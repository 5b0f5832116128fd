"""What leaves the devices of a task: all that an observer may have."""

from __future__ import annotations

from dataclasses import dataclass

from hushfold_protocol.packing import EncodedVector
from hushfold_protocol.plan import Plan

from .canaries import Vector


@dataclass(frozen=True, slots=True, eq=False)
class SeenRound:
    """What leaves the devices in one round."""

    plan: Plan
    uploads: list[EncodedVector]  # of each canary, masked, uint32[d]
    total: EncodedVector  # uint32[d], the opened sum


@dataclass(frozen=True, slots=True, eq=False)
class SeenTask:
    """All that came of a task, and what the ledger says that it has cost."""

    rounds: list[SeenRound]
    start: Vector  # [d], the trained part of the model before the task
    end: Vector  # [d], of the model that is offered for release
    epsilon: float
    delta: float
