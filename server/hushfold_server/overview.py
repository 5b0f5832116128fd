"""What an operator sees of a server: tasks with their rounds and what they spent, and releases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from hushfold_protocol.messages import Invitation
from hushfold_protocol.plan import Plan

from .database import (
    Database,
    Phase,
    ReleaseStatus,
    TaskStatus,
    charges,
    invitations,
    participations,
    releases,
    rounds,
    states,
    tasks,
)
from .errors import TaskFileError
from .planning import Extrapolation, extrapolated_epsilon
from .tasks import TaskSpec, load_task


@dataclass(frozen=True, slots=True)
class RoundOverview:
    """One round of a task, and how many devices got how far in it."""

    number: int  # counted from 1
    phase: Phase
    reason: str  # why it was aborted or discarded
    invited: int  # devices that were given the plan
    joined: int  # devices in the roster
    sharers: int  # devices that shared their secrets
    survivors: int  # devices whose update is in the sum
    epsilon_after: float | None  # of the device that took part most, after this round; none if it was not charged


@dataclass(frozen=True, slots=True)
class TaskOverview:
    """A task and how far it is."""

    name: str
    population: str
    status: TaskStatus
    reason: str
    model: str
    part: str
    rounds_done: int  # successful ones
    rounds_planned: int
    round: RoundOverview | None  # the newest; none before the first
    rounds: Sequence[RoundOverview]  # all of them, oldest first
    epsilon: float  # spent by the device that took part most
    budget_epsilon: float
    delta: float
    extrapolation: Extrapolation | None  # where the task names a larger cohort; never measured


@dataclass(frozen=True, slots=True)
class ReleaseOverview:
    """A row of `releases`."""

    number: int
    model: str
    version: str
    task: str | None
    status: ReleaseStatus
    rollout_percent: int
    reason: str  # why it was withdrawn
    created_at: float  # unix seconds
    published_at: float | None  # unix seconds


def list_releases(database: Database) -> list[ReleaseOverview]:
    """Every release, newest first."""
    with database.read() as connection:
        rows = connection.execute(select(releases).order_by(releases.c.number.desc())).all()
    return [
        ReleaseOverview(
            row.number,
            row.model,
            row.version,
            row.task,
            row.status,
            row.custom.get("rollout_percent", 100),
            row.custom.get("reason", ""),
            row.created_at,
            row.published_at,
        )
        for row in rows
    ]


def list_tasks(database: Database) -> list[TaskOverview]:
    """Every task, oldest first."""
    with database.read() as connection:
        rows = connection.execute(select(tasks).order_by(tasks.c.created_at, tasks.c.name)).all()
        return [_task(connection, load_task(row.spec), row.status, row.reason) for row in rows]


def _task(connection: Connection, spec: TaskSpec, status: TaskStatus, reason: str) -> TaskOverview:
    of_task = _rounds(connection, spec.name)
    done = connection.scalar(select(func.max(states.c.number)).where(states.c.task == spec.name))
    return TaskOverview(
        name=spec.name,
        population=spec.task.population,
        status=status,
        reason=reason,
        model=spec.task.model,
        part=spec.task.part,
        rounds_done=done or 0,
        rounds_planned=spec.schedule.rounds,
        round=of_task[-1] if of_task else None,
        rounds=of_task,
        # What was spent never sinks: the greatest charge is the last one.
        epsilon=max((row.epsilon_after for row in of_task if row.epsilon_after is not None), default=0.0),
        budget_epsilon=spec.privacy.budget_epsilon,
        delta=spec.privacy.delta,
        extrapolation=_extrapolation(connection, spec),
    )


def _rounds(connection: Connection, task: str) -> list[RoundOverview]:
    invited = select(func.count()).where(invitations.c.round == rounds.c.id).correlate(rounds).scalar_subquery()
    found = connection.execute(
        select(rounds, charges.c.epsilon_after, invited.label("invited"))
        .outerjoin(charges, charges.c.round == rounds.c.id)
        .where(rounds.c.task == task)
        .order_by(rounds.c.number)
    )
    return [
        RoundOverview(
            row.number,
            row.phase,
            row.reason,
            row.invited,
            row.joined,
            row.sharers,
            row.survivors,
            row.epsilon_after,
        )
        for row in found
    ]


def _extrapolation(connection: Connection, spec: TaskSpec) -> Extrapolation | None:
    """What the task's rounds would have cost in the larger cohort that it names: of the device that took part most,
    and as if every sum had been the smallest one."""
    cohort = spec.report.extrapolate_to
    smallest = connection.execute(
        select(charges.c.survivors, rounds.c.invitation)
        .join(rounds, rounds.c.id == charges.c.round)
        .where(charges.c.task == spec.name)
        .order_by(charges.c.survivors)
    ).first()
    if cohort is None or smallest is None or cohort < smallest.survivors:
        return None
    taken = select(func.count()).where(participations.c.task == spec.name).group_by(participations.c.device)
    try:
        return extrapolated_epsilon(
            spec,
            Plan.decode(Invitation.decode(smallest.invitation).plan).update.dimension,
            survivors=smallest.survivors,
            cohort=cohort,
            rounds=max(connection.scalars(taken)),
        )
    except TaskFileError:  # checked at the launch, but with the model that was installed then
        return None
