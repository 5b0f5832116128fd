"""What an operator does to a server: launches and pauses tasks, widens and takes back releases.

All of it goes through the database. The processes act on it: the learner on tasks, the publisher on releases.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from .database import Database, ReleaseStatus, TaskStatus, releases, tasks, withdraw
from .errors import NotFound, StateError
from .planning import encoding_for, extrapolated_epsilon
from .shipped_models import ShippedModels
from .tasks import TaskSpec, load_task

MAX_VERSION_BYTES = 32  # of a plan's and a check-in's field


def launch_task(database: Database, text: str, models: Path, now: float) -> TaskSpec:
    """Makes a task from a task file's `text`. `models` is the folder of shipped models.

    Raises TaskFileError for faults, also for privacy that cannot be had with this model; StateError if the name is
    taken; NotFound for a model that is not installed.
    """
    spec = load_task(text)
    dimension = _dimension(ShippedModels(models), spec)
    encoding_for(spec, dimension)  # raises if the noise does not fit
    cohort = spec.report.extrapolate_to
    if cohort is not None:  # the fewer survive, the more noise the larger cohort would need
        extrapolated_epsilon(spec, dimension, survivors=spec.cohort.floor, cohort=cohort, rounds=spec.schedule.rounds)
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
        custom = {key: value for key, value in row.custom.items() if key not in ("rollout_percent", "reason")}
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
