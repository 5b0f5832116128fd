"""The learner process: opens rounds, and turns their sums into the next state and the next release.

On every turn, for each task that is active, paused or being finished:

1. a round that is `summed` becomes the next state (`learned`), in one transaction with its sum's deletion; or, if the
   sum is longer than honest devices can make it (`sum_bound`), it is `discarded` and the state stays.

That is all for a paused task. For the others:

2. after the last round that the task asked for, or that its operator waits for, its model becomes a candidate release
   and the task is finished;
3. an active task that has no round in progress, and whose interval has passed, opens one, unless its budget forbids it.

Nothing is kept in memory that the database does not say: the process can be killed anywhere and started again. It
listens to nothing. It alone uses the plan key, and it alone imports `learning` and with it TensorFlow Federated.
"""

from __future__ import annotations

import argparse
import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog
from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import OperationalError

from hushfold_format import ModelManifest
from hushfold_models.config import NextWordConfig
from hushfold_models.voice.config import VoiceConfig
from hushfold_protocol.plan import ModelReference
from hushfold_protocol.signing import sign_plan

from . import keys
from .candidates import offer_learned
from .database import (
    LIVE_PHASES,
    UNDER_WAY,
    Database,
    Phase,
    ReleaseStatus,
    TaskStatus,
    move,
    releases,
    rounds,
    states,
    sums,
    switch,
    tasks,
)
from .errors import BudgetSpent, ConfigurationError, NotFound, ServerError
from .instance import open_database
from .learning.federated_averaging import Adam, ServerOptimizer, Sgd
from .learning.task import Learning, LearningDiverged, LearningState
from .objects import ObjectStore
from .planning import encoding_for, make_plan
from .privacy_ledger import PrivacyLedger
from .process import announce_ready, describe, reason_of, refusing, start_logging, stop_on_signals
from .settings import Home, Settings
from .shipped_models import ShippedModels, shipped_models
from .sum_bound import ImplausibleSum, require_plausible
from .tasks import TaskSpec, load_task

TURN = 0.2  # seconds between two looks at the database

log = structlog.get_logger()
Vector = npt.NDArray[np.float32]


class Learner:
    """One home's learner. `models` is a folder of shipped models; `now` gives unix seconds."""

    def __init__(self, home: Home, database: Database, models: Path, now: Callable[[], float]) -> None:
        self._database, self._models, self._now = database, ShippedModels(models), now
        self._objects = ObjectStore(home.objects)
        self._ledger = PrivacyLedger(database)
        self._plan_key = keys.plan_key(home)
        self._learnings: dict[str, _Task] = {}

    def run(self, wait: Callable[[float], bool]) -> None:
        """Works until `wait(seconds)` gives True."""
        announce_ready()
        while not wait(TURN):
            self.turn()

    def turn(self) -> None:
        """One step of every task under way. One that cannot go on is halted with the reason; the others do."""
        with self._database.read() as connection:
            under_way = connection.execute(
                select(tasks).where(tasks.c.status.in_(UNDER_WAY)).order_by(tasks.c.created_at)
            ).all()
        for row in under_way:
            try:
                self._step(row)
            except (OperationalError, OSError, MemoryError):
                raise  # the database, the disk or the machine: no task's fault, and to halt one is for good
            except Exception as error:
                log.error("task_halted", task=row.name, reason=describe(error))
                self._end(row, TaskStatus.HALTED, reason_of(error))

    def _step(self, row: Row[Any]) -> None:
        with self._database.read() as connection:
            last = connection.execute(
                select(rounds).where(rounds.c.task == row.name).order_by(rounds.c.number.desc()).limit(1)
            ).one_or_none()
            states_of_task = select(func.max(states.c.number)).where(states.c.task == row.name)
            rounds_done = connection.scalar(states_of_task) or 0
        if last is not None and last.phase in LIVE_PHASES:
            return
        if last is not None and last.phase is Phase.SUMMED:
            try:
                self._learn(self._task(row), last)
            except LearningDiverged:
                if row.status is not TaskStatus.FINISHING:
                    raise
                log.warning("sum_left_out", task=row.name, number=last.number)  # the state before it is still good
            else:
                return
        if row.status is TaskStatus.PAUSED:
            return
        if row.status is TaskStatus.FINISHING:
            if rounds_done:
                self._release(self._task(row), "ended by an operator before its last round")
            else:
                self._end(row, TaskStatus.FINISHED, "ended by an operator before it learned anything")
            return
        if row.base_release is None and self._base_release(row) is None:
            return  # the publisher has not offered the base yet
        task = self._task(row)
        if task.rounds_done >= task.spec.schedule.rounds:
            self._release(task, "its rounds are done")
            return
        if last is None or self._now() >= last.updated_at + task.spec.schedule.interval_seconds:
            self._open_round(row, task, 1 if last is None else last.number + 1)

    # -------------------------------------------------------------- a task

    def _task(self, row: Row[Any]) -> _Task:
        if row.name not in self._learnings:
            self._learnings[row.name] = self._open_task(row)
        return self._learnings[row.name]

    def _open_task(self, row: Row[Any]) -> _Task:
        """Builds the task's learning, which takes seconds, and stores its first state if it has none."""
        spec = load_task(row.spec)
        release = self._base_release(row)
        if release is None:
            raise NotFound(f"the release that task {row.name!r} started from is gone", "Start a new task")
        manifest = self._models.manifest(release.model)
        base = np.frombuffer(self._objects.get(release.weights_sha256), "<f4").astype(np.float32)
        part = manifest.parts[spec.task.part]
        learning = Learning(
            _config(manifest),
            base,
            spec.task.part,
            client_learning_rate=spec.training.learning_rate,
            server_optimizer=_optimizer(spec),
            encoding=encoding_for(spec, part.size),
        )
        with self._database.read() as connection:
            newest = connection.execute(
                select(states).where(states.c.task == row.name).order_by(states.c.number.desc()).limit(1)
            ).one_or_none()
        if newest is None:
            state = learning.initial_state()
            sha256 = self._objects.put(state.to_bytes())
            with self._database.begin() as connection:
                connection.execute(update(tasks).where(tasks.c.name == row.name).values(base_release=release.number))
                connection.execute(
                    insert(states).values(task=row.name, number=0, object_sha256=sha256, created_at=self._now())
                )
            done = 0
        else:
            state = LearningState.from_bytes(self._objects.get(newest.object_sha256))
            learning.part_values(state)  # raises for a state of another task
            done = newest.number
        return _Task(spec, release, manifest, base, learning, state, done)

    def _base_release(self, row: Row[Any]) -> Row[Any] | None:
        """The release that the task starts from: the newest one published, once and for all."""
        chosen = select(releases)
        if row.base_release is None:
            model = load_task(row.spec).task.model
            chosen = chosen.where(releases.c.model == model, releases.c.status == ReleaseStatus.PUBLISHED)
        else:
            chosen = chosen.where(releases.c.number == row.base_release)
        with self._database.read() as connection:
            return connection.execute(chosen.order_by(releases.c.number.desc()).limit(1)).one_or_none()

    def _end(self, row: Row[Any], status: TaskStatus, reason: str) -> None:
        """Ends a task, unless its operator has given it another status since `row` was read."""
        with self._database.begin() as connection:
            switch(connection, row.name, row.status, status, reason)
        self._learnings.pop(row.name, None)

    # -------------------------------------------------------------- a round

    def _open_round(self, row: Row[Any], task: _Task, number: int) -> None:
        start = task.learning.prepare(task.state)
        part_values = start.part_values.astype("<f4").tobytes()
        now = self._now()
        plan = make_plan(
            task.spec,
            round_id=secrets.token_bytes(16),
            round_number=number,
            model=ModelReference(
                name=task.manifest.name,
                version=task.release.version,
                weights_sha256=bytes.fromhex(task.release.weights_sha256),
                part=task.spec.task.part,
                part_sha256=hashlib.sha256(part_values).digest(),
            ),
            dimension=start.part_values.size,
            rotation_seed=start.rotation_seed,
            batch=task.manifest.batch,
            time=task.manifest.time,
            now=now,
        )
        try:
            self._ledger.may_open(plan)
        except BudgetSpent as error:
            log.warning("budget_spent", task=task.spec.name)
            if task.rounds_done:  # what was learned within the budget is kept
                self._release(task, str(error))
            else:
                self._end(row, TaskStatus.HALTED, str(error))
            return
        self._objects.put(part_values)
        with self._database.begin() as connection:
            if _status(connection, task) is not TaskStatus.ACTIVE:
                return
            connection.execute(
                insert(rounds).values(
                    id=plan.round_id.hex(),
                    task=task.spec.name,
                    number=number,
                    base_state=task.rounds_done,
                    phase=Phase.OPEN,
                    invitation=sign_plan(self._plan_key, plan).encode(),
                    deadline=now + task.spec.schedule.training_seconds,
                    created_at=now,
                    updated_at=now,
                )
            )
        log.info("round_opened", task=task.spec.name, number=number)

    def _learn(self, task: _Task, row: Row[Any]) -> None:
        """The next state, from the sum of a round that started from this one; none from a sum that cannot be."""
        if row.base_state != task.rounds_done:
            raise ServerError(
                f"round {row.number} of task {task.spec.name!r} started from state {row.base_state}, the newest "
                f"one is {task.rounds_done}",
                "Restore database and objects from one backup",
            )
        with self._database.read() as connection:
            stored = connection.execute(select(sums.c.total).where(sums.c.round == row.id)).scalar_one()
        total = np.frombuffer(stored, "<u4").astype(np.uint32)
        try:
            require_plausible(total, task.learning.encoding, row.survivors)
        except ImplausibleSum as error:
            self._discard(row, str(error))
            return
        state = task.learning.update(task.state, total, row.survivors)
        sha256 = self._objects.put(state.to_bytes())
        number, now = task.rounds_done + 1, self._now()
        with self._database.begin() as connection:
            connection.execute(
                insert(states).values(task=task.spec.name, number=number, object_sha256=sha256, created_at=now)
            )
            move(connection, row.id, Phase.SUMMED, Phase.LEARNED, now=now)
            connection.execute(delete(sums).where(sums.c.round == row.id))
        task.state, task.rounds_done = state, number
        log.info("round_learned", task=task.spec.name, number=row.number)

    def _discard(self, row: Row[Any], reason: str) -> None:
        """Deletes a sum that is not to be learned from. What it has cost its devices stays charged: it was opened."""
        with self._database.begin() as connection:
            move(connection, row.id, Phase.SUMMED, Phase.DISCARDED, now=self._now(), reason=reason)
            connection.execute(delete(sums).where(sums.c.round == row.id))
        log.error("round_discarded", task=row.task, number=row.number, reason=reason)

    def _release(self, task: _Task, reason: str) -> None:
        """Offers what the task has learned, and finishes it. `reason` says why now."""
        vector = task.base.copy()
        part = task.manifest.parts[task.spec.task.part]
        vector[part.start : part.stop] = task.learning.part_values(task.state)
        sha256 = self._objects.put(vector.astype("<f4").tobytes())
        now = self._now()
        with self._database.begin() as connection:
            status = _status(connection, task)
            if status not in (TaskStatus.ACTIVE, TaskStatus.FINISHING):
                return
            offer_learned(
                connection,
                task=task.spec.name,
                state=task.rounds_done,
                model=task.manifest.name,
                base_version=task.release.version,
                weights_sha256=sha256,
                now=now,
            )
            switch(connection, task.spec.name, status, TaskStatus.FINISHED, reason)
        self._learnings.pop(task.spec.name, None)
        log.info("release_offered", task=task.spec.name, rounds=task.rounds_done)


@dataclass
class _Task:
    """A task at work: what it is, and the state that it has reached."""

    spec: TaskSpec
    release: Row[Any]  # that it started from
    manifest: ModelManifest
    base: Vector  # float32[N]
    learning: Learning
    state: LearningState
    rounds_done: int


def _config(manifest: ModelManifest) -> NextWordConfig | VoiceConfig:
    try:
        return VoiceConfig.of(manifest) if manifest.labels else NextWordConfig.of(manifest)
    except ValueError as error:
        raise ConfigurationError(f"no model has the sizes of {manifest.name!r}: {error}", "Install it again") from error


def _status(connection: Connection, task: _Task) -> TaskStatus | None:
    """The task's status, which stays so until the end of this transaction: what took long to make is not written for
    one that was paused meanwhile."""
    return connection.scalar(select(tasks.c.status).where(tasks.c.name == task.spec.name).with_for_update())


def _optimizer(spec: TaskSpec) -> ServerOptimizer:
    if spec.server.optimizer == "adam":
        return Adam(learning_rate=spec.server.learning_rate)
    return Sgd(learning_rate=spec.server.learning_rate, momentum=spec.server.momentum)


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m hushfold_server.learner --home DIR`."""
    parser = argparse.ArgumentParser(prog="python -m hushfold_server.learner")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=None, help="a folder of models; default: the installed ones")
    options = parser.parse_args(arguments)
    stop = stop_on_signals()
    with refusing():
        home = Home.open(options.home)
        start_logging(home, "learner", Settings.load(home).log_level)
        with closing(open_database(home)) as database:
            Learner(home, database, options.models or shipped_models(), time.time).run(stop.wait)


if __name__ == "__main__":
    main()
