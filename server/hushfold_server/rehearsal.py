"""A rehearsal of one task: the learner's own turns on sums of devices that are simulated, without masks.

What a task would come to is best tried on texts that everybody may read, many times and quickly. The task file, its
terms, the plans, the ledger's charges, the learner and its states are those of a server. Left out is what changes no
sum: enrolment, HTTP and the masks of secure aggregation, which cancel out. A folder that ever served real devices is
refused: a sum that is handed over here was masked by nobody.

`python -m hushfold_server.rehearsal --home DIR --task FILE` speaks with the process that has the devices over its
standard input and output, in frames: a line of JSON that has `sizes`, and after it one piece of so many bytes for
each of them.

    out  {"kind": "round", "number", "rounds", "epsilon"}     the invitation, the plan key, the part's values
    in   {"kind": "sum", "devices": [id in hex, ...]}         the sum modulo 2^bits, little-endian uint32
    out  {"kind": "finished", "reason", "epsilon", ...}       the whole vector, little-endian float32

`epsilon` is that of the device that took part most so far. The process may be killed anywhere: started again with the
same task file it goes on with the round that was open.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Row, insert, select

from hushfold_protocol.messages import Invitation
from hushfold_protocol.signing import open_invitation

from . import keys
from .database import LIVE_PHASES, Database, Phase, ReleaseStatus, TaskStatus, releases, rounds, sums, tasks
from .errors import ServerError, StateError
from .instance import open_database, single_instance
from .learner import Learner
from .objects import ObjectStore
from .operations import launch_task
from .overview import TaskOverview, list_tasks
from .privacy_ledger import PrivacyLedger
from .process import refusing, start_logging
from .settings import Home
from .shipped_models import ShippedModels, shipped_models
from .tasks import TaskSpec, load_task


class Rehearsal:
    """One task in one home, which is made for it.

    Args:
        home: its folder, made by `Home.create`, with keys.
        text: the task file.
        models: a folder of shipped models.
        now: unix seconds; the waits between rounds are skipped.

    Raises:
        TaskFileError: as `launch_task` does.
        StateError: the folder belongs to a server, to another task, or to another base model.
    """

    def __init__(
        self, home: Home, database: Database, text: str, models: Path, now: Callable[[], float] = time.time
    ) -> None:
        if home.has_releases:
            raise StateError(f"{home.path} belongs to a server with real devices", "Name a new folder with --home")
        self._home, self._database, self._text = home, database, text
        self._spec: TaskSpec = load_task(text)
        self._objects, self._ledger = ObjectStore(home.objects), PrivacyLedger(database)
        self._now, self._skipped = now, 0.0
        self._offer_base(ShippedModels(models))
        self._launch(models)
        self._learner = Learner(home, database, models, self._time)

    def open_round(self) -> Row[Any] | None:
        """The round that devices are to train for, opened if none is; None once the task is finished.

        Raises StateError, with the reason, if the task came to nothing.
        """
        while True:
            with self._database.read() as connection:
                status, reason = connection.execute(
                    select(tasks.c.status, tasks.c.reason).where(tasks.c.name == self._spec.name)
                ).one()
                is_open = (rounds.c.task == self._spec.name) & rounds.c.phase.in_(LIVE_PHASES)
                opened = connection.execute(select(rounds).where(is_open)).one_or_none()
            if status is TaskStatus.FINISHED:
                return None
            if status is not TaskStatus.ACTIVE:
                raise StateError(f"task {self._spec.name!r} is {status}: {reason}")
            if opened is not None:
                return opened
            self._learner.turn()
            self._skipped += self._spec.schedule.interval_seconds

    def take_sum(self, opened: Row[Any], total: bytes, devices: Sequence[bytes]) -> None:
        """Charges the round to its devices and takes their sum, as if it had been unmasked just now.

        Raises PrivacyError and BudgetSpent as the ledger does, StateError for a sum of another size.
        """
        plan = open_invitation(Invitation.decode(opened.invitation), keys.public_key(self._home, "plan"))
        if len(total) != 4 * plan.update.encoding().dimension:
            raise StateError(f"a sum of {len(total)} bytes for an update of {plan.update.dimension} values")
        now = self._time()
        with self._database.begin() as connection:
            self._ledger.charge(connection, plan, set(devices), now=now)
            connection.execute(insert(sums).values(round=opened.id, total=total))
            connection.execute(
                rounds.update()
                .where(rounds.c.id == opened.id, rounds.c.phase == Phase.OPEN)
                .values(phase=Phase.SUMMED, joined=len(devices), survivors=len(devices), updated_at=now)
            )

    def part_values(self, opened: Row[Any]) -> bytes:
        """What the devices of a round start from."""
        plan = open_invitation(Invitation.decode(opened.invitation), keys.public_key(self._home, "plan"))
        return self._objects.get(plan.model.part_sha256.hex())

    def overview(self) -> TaskOverview:
        """The task as an operator sees it."""
        return next(task for task in list_tasks(self._database) if task.name == self._spec.name)

    def learned(self) -> bytes:
        """The vector that the finished task offers for release."""
        with self._database.read() as connection:
            sha256 = connection.execute(
                select(releases.c.weights_sha256).where(releases.c.task == self._spec.name)
            ).scalar_one()
        return self._objects.get(sha256)

    def _time(self) -> float:
        return self._now() + self._skipped

    def _offer_base(self, models: ShippedModels) -> None:
        """The shipped model as the release that the task starts from."""
        manifest = models.manifest(self._spec.task.model)
        sha256 = self._objects.put(models.file(manifest.name, "weights"))
        with self._database.begin() as connection:
            known = connection.scalar(select(releases.c.weights_sha256).where(releases.c.task.is_(None)))
            if known is None:
                connection.execute(
                    insert(releases).values(
                        model=manifest.name,
                        version=manifest.version,
                        weights_sha256=sha256,
                        status=ReleaseStatus.PUBLISHED,
                        custom={"manifest_sha256": models.manifest_sha256(manifest.name)},
                        created_at=self._now(),
                        published_at=self._now(),
                    )
                )
        if known not in (None, sha256):
            raise StateError(
                f"the rehearsal in {self._home.path} started from another base model than the one that is installed",
                "Remove the folder, or name a new one with --home",
            )

    def _launch(self, models: Path) -> None:
        with self._database.read() as connection:
            known = connection.execute(select(tasks.c.spec)).scalars().all()
        if not known:
            launch_task(self._database, self._text, models, self._now())
        elif list(known) != [self._text]:
            raise StateError(
                f"{self._home.path} holds the rehearsal of another task file",
                "Go on with that one, remove the folder, or name a new one with --home",
            )


def serve(rehearsal: Rehearsal, plan_key: bytes, source: BinaryIO, target: BinaryIO) -> None:
    """Plays the server until the task is finished, or `source` ends."""
    while (opened := rehearsal.open_round()) is not None:
        task = rehearsal.overview()
        head = {"kind": "round", "number": task.rounds_done + 1, "rounds": task.rounds_planned, "epsilon": task.epsilon}
        _write(target, head, opened.invitation, plan_key, rehearsal.part_values(opened))
        answer = _read(source)
        if answer is None:
            return
        devices, total = answer
        rehearsal.take_sum(opened, total, devices)
    task = rehearsal.overview()
    wider = task.extrapolation
    head = {
        "kind": "finished",
        "reason": task.reason,
        "epsilon": task.epsilon,
        "delta": task.delta,
        "epsilon_after": [each.epsilon_after for each in task.rounds],
        "extrapolated": wider and {"cohort": wider.cohort, "epsilon": wider.epsilon, "delta": wider.delta},
    }
    _write(target, head, rehearsal.learned())


def _write(target: BinaryIO, head: dict[str, Any], *pieces: bytes) -> None:
    target.write(json.dumps({**head, "sizes": [len(piece) for piece in pieces]}).encode() + b"\n")
    for piece in pieces:
        target.write(piece)
    target.flush()


def _read(source: BinaryIO) -> tuple[list[bytes], bytes] | None:
    """Who is in a sum, and the sum; None at the end of the input, also in the middle of a frame."""
    line = source.readline()
    if not line.endswith(b"\n"):
        return None
    try:
        head = json.loads(line)
        devices, (size,) = [bytes.fromhex(device) for device in head["devices"]], head["sizes"]
    except (ValueError, KeyError, TypeError) as error:
        raise ServerError(f"no frame with a sum: {error}") from None
    total = source.read(size)
    return (devices, total) if len(total) == size else None


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m hushfold_server.rehearsal --home DIR --task FILE`."""
    parser = argparse.ArgumentParser(prog="python -m hushfold_server.rehearsal")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--task", type=Path, required=True)
    parser.add_argument("--models", type=Path, default=None, help="a folder of models; default: the installed ones")
    options = parser.parse_args(arguments)
    with refusing():
        text = _read_text(options.task)
        home = Home.create(options.home)
        start_logging(home, "rehearsal", "info")
        keys.create_missing(home)
        with single_instance(home), closing(open_database(home)) as database:
            rehearsal = Rehearsal(home, database, text, options.models or shipped_models())
            serve(rehearsal, keys.public_key(home, "plan"), sys.stdin.buffer, sys.stdout.buffer)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ServerError(f"the task file {path} cannot be read: {error}") from None


if __name__ == "__main__":
    main()
