"""Who asks for work gets the invitation to an open round of its population, or is told when to come back."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from hushfold_protocol.messages import ComeBack, Invitation

from .database import UNDER_WAY, Phase, TaskStatus, invitations, rounds, tasks
from .tasks import load_task

PACE_WITHOUT_TASK = 900.0  # seconds until a device of a population without tasks asks again


def invite(connection: Connection, population: str, device: bytes, now: float) -> Invitation | ComeBack:
    """An invitation to the population's open round, or when to come back. Inviting twice is inviting once."""
    found = connection.execute(
        select(rounds.c.id, rounds.c.invitation)
        .join(tasks)
        .where(
            tasks.c.population == population,
            tasks.c.status.in_(UNDER_WAY),  # a pause ends no round
            rounds.c.phase == Phase.OPEN,
            rounds.c.deadline > now,
        )
        .order_by(rounds.c.created_at)
    ).first()
    if found is None:
        return ComeBack(_pace_ms(connection, population), "no round is open now")
    row = {"round": found.id, "device": device.hex()}
    if connection.execute(select(invitations).filter_by(**row)).first() is None:
        connection.execute(insert(invitations).values(**row, invited_at=now))
    return Invitation.decode(found.invitation)


def _pace_ms(connection: Connection, population: str) -> int:
    """When to come back: as the population's most patient active task says."""
    specs = connection.scalars(
        select(tasks.c.spec).where(tasks.c.population == population, tasks.c.status == TaskStatus.ACTIVE)
    )
    pace = [load_task(spec).schedule.come_back_seconds for spec in specs]
    return min(int(1000 * max(pace, default=PACE_WITHOUT_TASK)), 0xFFFFFFFF)
