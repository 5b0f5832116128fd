"""A round in progress: what the database has of it, as it is held in memory while messages come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, func, insert, select, update

from hushfold_protocol.messages import Invitation
from hushfold_protocol.packing import RunningSum, running_sum
from hushfold_protocol.plan import Plan
from hushfold_protocol.secagg import server as secagg

from . import steps
from .database import LIVE_PHASES, Phase, round_messages, rounds, sums, tasks
from .errors import NotFound
from .steps import STEPS
from .tasks import load_task

WAIT_MS = 200  # a device asks again after this long
LONGEST_WAIT_MS = 3000  # while others join


@dataclass(frozen=True)
class LiveRound:
    """One round in progress, as the database has it."""

    plan: Plan
    phase: Phase
    opened: float  # unix seconds
    deadline: float  # unix seconds
    step_seconds: float
    stage: secagg.Stage
    total: RunningSum  # masked

    @property
    def id(self) -> str:
        return self.plan.round_id.hex()

    def wait_ms(self, now: float) -> int:
        """When a device that has answered the step asks again.

        While others join that may be in an hour: a tenth of the time until enough will have come, at the pace so far,
        or until joining closes; and of a step's time, which starts to run then.
        """
        if not isinstance(self.stage, secagg.Joining):
            return WAIT_MS
        joined = max(1, len(self.stage.joins))
        to_come = (now - self.opened) * (self.plan.cohort.maximum - joined) / joined
        tenth = int(100 * min(to_come, self.deadline - now, self.step_seconds))
        return min(max(tenth, WAIT_MS), LONGEST_WAIT_MS)


def rebuild(connection: Connection, round_id: str, authority_key: bytes) -> LiveRound:
    """The round as the committed rows say it is: accepts and closes just as it happened. Raises NotFound."""
    row = connection.execute(select(rounds, tasks.c.spec).join(tasks).where(rounds.c.id == round_id)).one_or_none()
    if row is None or row.phase not in LIVE_PHASES:
        raise NotFound(f"there is no round {round_id} in progress", "Check in again")
    plan = Plan.decode(Invitation.decode(row.invitation).plan)
    stage: secagg.Stage = secagg.Joining(plan, authority_key)
    for phase, step in STEPS.items():
        received = connection.execute(
            select(round_messages)
            .where(round_messages.c.round == round_id, round_messages.c.stage == step.stored)
            .order_by(round_messages.c.received_at, round_messages.c.device)
        )
        for message in received:
            device = bytes.fromhex(message.device)
            stage = steps.replay(stage, step, device, message.body, message.received_at)
        if phase is row.phase:
            break
        following = stage.close()
        assert not isinstance(following, secagg.Opened)  # noqa: S101  # no live phase comes after unmasking
        stage = following
    stored = connection.scalar(select(sums.c.total).where(sums.c.round == round_id))
    total = running_sum(plan.update.encoding().dimension, plan.update.bits)
    if stored is not None:  # 4 bytes a value by a former version, whatever the modulus
        total += np.frombuffer(stored, f"<u{len(stored) // total.size}")
    step_seconds = load_task(row.spec).schedule.step_seconds
    return LiveRound(plan, row.phase, row.created_at, row.deadline, step_seconds, stage, total)


def is_current(connection: Connection, live: LiveRound) -> bool:
    """Whether the database has the very messages that `live` was made of."""
    stored = round_messages.c.round == live.id, round_messages.c.stage == STEPS[live.phase].stored
    received = connection.scalar(select(func.count()).select_from(round_messages).where(*stored))
    phase = connection.scalar(select(rounds.c.phase).where(rounds.c.id == live.id))
    return (phase, received) == (live.phase, len(steps.answered(live.stage)))


def store_sum(connection: Connection, live: LiveRound) -> None:
    """Puts the running sum in place of the one that was stored."""
    content = live.total.astype(live.total.dtype.newbyteorder("<"), copy=False).tobytes()
    stored = connection.execute(update(sums).where(sums.c.round == live.id).values(total=content))
    if stored.rowcount == 0:
        connection.execute(insert(sums).values(round=live.id, total=content))


def store_deadline(connection: Connection, live: LiveRound) -> None:
    """Puts the deadline in place of the one that was stored."""
    connection.execute(update(rounds).where(rounds.c.id == live.id).values(deadline=live.deadline))
