"""What an operator does to a server: launches, pauses and ends tasks, widens and takes back releases.

All of it goes through the database. The processes act on it: the learner on tasks, the publisher on releases.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from hushfold_format import ModelManifest

from .database import Database, ReleaseStatus, TaskStatus, releases, switch, tasks, withdraw
from .errors import NotFound, StateError
from .planning import extrapolated_epsilon
from .shipped_models import ShippedModels
from .tasks import TaskSpec, load_task
from .terms import Terms, terms_of

MAX_VERSION_BYTES = 32  # of a plan's and a check-in's field


def launch_task(database: Database, text: str, models: Path, now: float) -> Terms:
    """Makes a task from a task file's `text`, and gives what its terms come to.

    `models` is the folder of shipped models. Raises TaskFileError for faults, also for privacy that cannot be had with
    this model and for a budget that pays for no round; StateError if the name is taken; NotFound for a model that is
    not installed.
    """
    spec = load_task(text)
    manifest = _manifest(ShippedModels(models), spec)
    terms = terms_of(spec, manifest)
    cohort = spec.report.extrapolate_to
    if cohort is not None:  # the fewer survive, the more noise the larger cohort would need
        dimension = manifest.parts[spec.task.part].size
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
    return terms


def pause_task(database: Database, name: str) -> None:
    """Opens no more rounds; one that is under way goes on to its end. Raises NotFound or StateError."""
    _switch(database, name, (TaskStatus.ACTIVE,), TaskStatus.PAUSED, "paused by an operator")


def resume_task(database: Database, name: str) -> None:
    """Opens rounds again. Raises NotFound or StateError."""
    _switch(database, name, (TaskStatus.PAUSED,), TaskStatus.ACTIVE, "")


def finish_task(database: Database, name: str) -> None:
    """Ends a task before its last round: the learner learns from the round under way, if there is one, and offers the
    model if any round was learned. Raises NotFound or StateError."""
    unfinished = (TaskStatus.ACTIVE, TaskStatus.PAUSED, TaskStatus.HALTED)
    _switch(database, name, unfinished, TaskStatus.FINISHING, "an operator ends it")


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
    release that is the newest already, or whose weights the newest one has.
    """
    with database.begin() as connection:
        row = _release(connection, number)
        later = (releases.c.model == row.model) & (releases.c.number > number)
        offered = releases.c.status != ReleaseStatus.WITHDRAWN
        if row.status is ReleaseStatus.CANDIDATE:
            raise StateError(f"release {number} is not published yet", "Wait for it, or name an older one")
        newer = connection.execute(select(releases).where(later, offered).order_by(releases.c.number)).all()
        if row.status is ReleaseStatus.PUBLISHED and not newer:
            raise StateError(f"release {number} is the newest of {row.model} already", "Name an older one")
        if newer and newer[-1].custom.get("returns_to") == row.custom.get("returns_to", number):
            raise StateError(
                f"release {newer[-1].number}, the newest of {row.model}, has the weights of release {number} already",
                f"Run `release rollout {newer[-1].number} PERCENT` to change how many devices get it",
            )
        for superseded in newer:
            withdraw(connection, superseded.number, f"rolled back to release {number}")
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


def _switch(database: Database, name: str, before: Sequence[TaskStatus], after: TaskStatus, reason: str) -> None:
    with database.begin() as connection:
        status = connection.scalar(select(tasks.c.status).where(tasks.c.name == name))
        if status is None:
            raise NotFound(f"there is no task {name!r}", "See `task list`")
        if status not in before:
            raise StateError(f"task {name!r} is {status}; only one that is {' or '.join(before)} can become {after}")
        switch(connection, name, status, after, reason)


def _release(connection: Connection, number: int) -> Row[Any]:
    row = connection.execute(select(releases).where(releases.c.number == number)).one_or_none()
    if row is None:
        raise NotFound(f"there is no release {number}", "See `release list`")
    return row


def _version_of_return(version: str, number: int) -> str:
    """A version of its own for old weights that come back as release `number`, such as 1.2.0-r7."""
    suffix = f"-r{number}"
    return version[: MAX_VERSION_BYTES - len(suffix)] + suffix


def _manifest(models: ShippedModels, spec: TaskSpec) -> ModelManifest:
    """That of the task's model, which has the part that the task trains."""
    manifest = models.manifest(spec.task.model)
    if spec.task.part not in manifest.parts:
        raise NotFound(f"model {spec.task.model!r} has no part {spec.task.part!r}")
    return manifest
