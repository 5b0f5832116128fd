"""What an operator does to a server, and what one sees: tasks, releases, the state of things.

All of it goes through the database. The processes act on it: the learner on tasks, the publisher on releases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from hushfold_protocol.messages import Invitation
from hushfold_protocol.plan import Plan

from .database import (
    Database,
    Phase,
    ReleaseStatus,
    TaskStatus,
    charges,
    participations,
    releases,
    rounds,
    states,
    tasks,
)
from .errors import NotFound, StateError
from .planning import Extrapolation, encoding_for, extrapolated_epsilon
from .shipped_models import ShippedModels
from .tasks import TaskSpec, load_task

MAX_VERSION_BYTES = 32  # of a plan's and a check-in's field


@dataclass(frozen=True, slots=True)
class RoundStatus:
    """A task's newest round."""

    number: int
    phase: Phase
    joined: int  # devices in the roster
    survivors: int  # devices in the sum
    reason: str  # why it was aborted


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
    round: RoundStatus | None  # none before the first
    epsilon: float  # spent by the most exposed device
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


def launch_task(database: Database, text: str, models: Path, now: float) -> TaskSpec:
    """Makes a task from a task file's `text`. `models` is the folder of shipped models.

    Raises TaskFileError for faults, also for privacy that cannot be had with this model; StateError if the name is
    taken; NotFound for a model that is not installed.
    """
    spec = load_task(text)
    encoding_for(spec, _dimension(ShippedModels(models), spec))  # raises if the noise does not fit
    try:
        with database.begin() as connection:
            connection.execute(
                insert(tasks).values(
                    name=spec.name,
                    population=spec.task.population,
                    spec=text,
                    status=TaskStatus.ACTIVE,
                    created_at=now,
                )
            )
    except IntegrityError:
        raise StateError(
            f"there is a task {spec.name!r} already", "Give the new one another name; a task's terms do not change"
        ) from None
    return spec


def pause_task(database: Database, name: str) -> None:
    """Opens no more rounds; one that is under way goes on to its end. Raises NotFound or StateError."""
    _switch(database, name, TaskStatus.ACTIVE, TaskStatus.PAUSED, "paused by an operator")


def resume_task(database: Database, name: str) -> None:
    """Opens rounds again. Raises NotFound or StateError."""
    _switch(database, name, TaskStatus.PAUSED, TaskStatus.ACTIVE, "")


def set_rollout(database: Database, number: int, percent: int) -> None:
    """Offers a release to `percent` of the devices. Who has been reached stays so as it grows.

    Raises NotFound, StateError for a release that is not offered, ValueError for no percentage.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"{percent} is no percentage")
    with database.begin() as connection:
        row = _release(connection, number)
        if row.status is ReleaseStatus.WITHDRAWN:
            raise StateError(f"release {number} was withdrawn", f"Run `release rollback {number}` to offer it again")
        connection.execute(
            update(releases)
            .where(releases.c.number == number)
            .values(custom={**row.custom, "rollout_percent": percent})
        )


def roll_back(database: Database, number: int, now: float) -> int:
    """Offers the weights of release `number` again, to all devices, and withdraws everything after it.

    Gives the number of the new release: devices never go back to a lower one. Raises NotFound, and StateError for a
    release that is the newest already.
    """
    with database.begin() as connection:
        row = _release(connection, number)
        later = (releases.c.model == row.model) & (releases.c.number > number)
        offered = releases.c.status != ReleaseStatus.WITHDRAWN
        if row.status is ReleaseStatus.CANDIDATE:
            raise StateError(f"release {number} is not published yet", "Wait for it, or name an older one")
        newer = connection.scalar(select(func.count()).select_from(releases).where(later, offered))
        if row.status is ReleaseStatus.PUBLISHED and not newer:
            raise StateError(f"release {number} is the newest of {row.model} already", "Name an older one")
        for superseded in list(connection.scalars(select(releases.c.number).where(later, offered))):
            withdraw(connection, superseded, f"rolled back to release {number}")
        new = int(connection.scalar(select(func.max(releases.c.number))) or 0) + 1
        custom = {key: value for key, value in row.custom.items() if key not in ("rollout_percent", "salt", "reason")}
        connection.execute(
            insert(releases).values(
                number=new,
                model=row.model,
                version=_version_of_return(row.version, new),
                task=row.task,
                state=row.state,
                weights_sha256=row.weights_sha256,
                status=ReleaseStatus.CANDIDATE,
                custom={"returns_to": number, **custom},  # a return to a return names the first of all
                created_at=now,
            )
        )
    return new


def withdraw(connection: Connection, number: int, reason: str) -> None:
    """Stops offering a release, in the caller's transaction. Raises NotFound."""
    row = _release(connection, number)
    connection.execute(
        update(releases)
        .where(releases.c.number == number)
        .values(status=ReleaseStatus.WITHDRAWN, custom={**row.custom, "reason": reason})
    )


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
        newest = {row.name: _newest_round(connection, row.name) for row in rows}
        counted = select(states.c.task, func.max(states.c.number)).group_by(states.c.task)
        done: Mapping[str, int] = {row.task: row[1] for row in connection.execute(counted)}
        # What was spent never sinks: the greatest charge is the last one.
        charged = select(charges.c.task, func.max(charges.c.epsilon_after)).group_by(charges.c.task)
        spent: Mapping[str, float] = {row.task: row[1] for row in connection.execute(charged)}
        extrapolations = {row.name: _extrapolation(connection, row.name, load_task(row.spec)) for row in rows}
    overviews = []
    for row in rows:
        spec = load_task(row.spec)
        overviews.append(
            TaskOverview(
                name=row.name,
                population=row.population,
                status=row.status,
                reason=row.reason,
                model=spec.task.model,
                part=spec.task.part,
                rounds_done=done.get(row.name, 0),
                rounds_planned=spec.schedule.rounds,
                round=newest[row.name],
                epsilon=spent.get(row.name, 0.0),
                budget_epsilon=spec.privacy.budget_epsilon,
                delta=spec.privacy.delta,
                extrapolation=extrapolations[row.name],
            )
        )
    return overviews


def _extrapolation(connection: Connection, name: str, spec: TaskSpec) -> Extrapolation | None:
    """What the task's rounds would have cost in the larger cohort that it names: of the device that took part most,
    and as if every sum had been the smallest one."""
    cohort = spec.report.extrapolate_to
    smallest = connection.execute(
        select(charges.c.survivors, rounds.c.invitation)
        .join(rounds, rounds.c.id == charges.c.round)
        .where(charges.c.task == name)
        .order_by(charges.c.survivors)
    ).first()
    if cohort is None or smallest is None or cohort < smallest.survivors:
        return None
    taken = select(func.count()).where(participations.c.task == name).group_by(participations.c.device)
    return extrapolated_epsilon(
        spec,
        Plan.decode(Invitation.decode(smallest.invitation).plan).update.dimension,
        survivors=smallest.survivors,
        cohort=cohort,
        rounds=max(connection.scalars(taken)),
    )


def _newest_round(connection: Connection, task: str) -> RoundStatus | None:
    row = connection.execute(
        select(rounds).where(rounds.c.task == task).order_by(rounds.c.number.desc()).limit(1)
    ).one_or_none()
    if row is None:
        return None
    return RoundStatus(row.number, row.phase, row.joined, row.survivors, row.reason)


def _switch(database: Database, name: str, before: TaskStatus, after: TaskStatus, reason: str) -> None:
    with database.begin() as connection:
        status = connection.scalar(select(tasks.c.status).where(tasks.c.name == name))
        if status is None:
            raise NotFound(f"there is no task {name!r}", "See `hushfold-server task list`")
        if status is not before:
            raise StateError(f"task {name!r} is {status}; only one that is {before} can become {after}")
        connection.execute(update(tasks).where(tasks.c.name == name).values(status=after, reason=reason))


def _release(connection: Connection, number: int) -> Row[Any]:
    row = connection.execute(select(releases).where(releases.c.number == number)).one_or_none()
    if row is None:
        raise NotFound(f"there is no release {number}", "See `hushfold-server release list`")
    return row


def _version_of_return(version: str, number: int) -> str:
    """A version of its own for old weights that come back as release `number`, such as 1.2.0-r7."""
    suffix = f"-r{number}"
    return version[: MAX_VERSION_BYTES - len(suffix)] + suffix


def _dimension(models: ShippedModels, spec: TaskSpec) -> int:
    """Values in the part of the model that the task trains."""
    parts = models.manifest(spec.task.model).parts
    if spec.task.part not in parts:
        raise NotFound(f"model {spec.task.model!r} has no part {spec.task.part!r}")
    return parts[spec.task.part].size
