"""The database: what every process of the server knows, and the one place where a round changes its phase.

    open -> sharing -> masking -> agreeing -> unmasking -> summed -> learned -> released
    each of the first five -> aborted (with the reason)
    summed -> discarded (with the reason)

A round is `open` from the moment its plan is signed until its joining closes: devices check in, train and join in
that time. `sharing` to `unmasking` are the steps of secure aggregation. Two rules:

1. A phase changes by `move` alone, which refuses what `TRANSITIONS` does not list.
2. `move` is one UPDATE that names the phase it leaves. If two processes move a round at once, one of them gets a
   StateError and has changed nothing.

`TASK_TRANSITIONS` and `RELEASE_TRANSITIONS` say the same of what else has a status. All of them are walked by a test
that kills the server on both sides of each.

It is SQLite, in one file. Only `sqlite` knows so: the statements are portable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Double,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.exc import DatabaseError

from .errors import ConfigurationError, NotFound, SchemaMismatch, StateError
from .sqlite import READS, sqlite_engine

SCHEMA_VERSION = 3


class Phase(StrEnum):
    """Where a round is."""

    OPEN = "open"  # the plan is signed; devices check in, train and join
    SHARING = "sharing"  # the roster is closed; devices share their secrets
    MASKING = "masking"  # devices upload masked updates
    AGREEING = "agreeing"  # survivors sign the list of survivors
    UNMASKING = "unmasking"  # the budget is charged; survivors reveal the shares that open the sum
    SUMMED = "summed"  # the sum is stored
    LEARNED = "learned"  # the sum is in the learner's next state
    RELEASED = "released"  # that state, or a later one, is in a published release
    ABORTED = "aborted"  # ended without a sum, see `reason`
    DISCARDED = "discarded"  # the sum was opened and charged, but nothing is learned from it, see `reason`


TRANSITIONS: Mapping[Phase, frozenset[Phase]] = MappingProxyType(
    {
        Phase.OPEN: frozenset({Phase.SHARING, Phase.ABORTED}),
        Phase.SHARING: frozenset({Phase.MASKING, Phase.ABORTED}),
        Phase.MASKING: frozenset({Phase.AGREEING, Phase.ABORTED}),
        Phase.AGREEING: frozenset({Phase.UNMASKING, Phase.ABORTED}),
        Phase.UNMASKING: frozenset({Phase.SUMMED, Phase.ABORTED}),
        Phase.SUMMED: frozenset({Phase.LEARNED, Phase.DISCARDED}),
        Phase.LEARNED: frozenset({Phase.RELEASED}),
        Phase.RELEASED: frozenset(),
        Phase.ABORTED: frozenset(),
        Phase.DISCARDED: frozenset(),
    }
)

LIVE_PHASES = frozenset(phase for phase, following in TRANSITIONS.items() if Phase.ABORTED in following)
"""The phases in which devices wait for the server; a task has at most one round in them."""


class TaskStatus(StrEnum):
    ACTIVE = "active"  # opens rounds
    PAUSED = "paused"  # by an operator; may become active again
    FINISHING = "finishing"  # an operator ends it: opens no round, and is finished when the last one has ended
    FINISHED = "finished"  # offered what it learned, or was ended before it learned anything
    HALTED = "halted"  # stopped by the server itself, see `reason`: a spent budget, a regression


UNDER_WAY = (TaskStatus.ACTIVE, TaskStatus.PAUSED, TaskStatus.FINISHING)
"""The statuses in which a round that was opened goes on to its end, and is learned from."""


TASK_TRANSITIONS: Mapping[TaskStatus, frozenset[TaskStatus]] = MappingProxyType(
    {
        TaskStatus.ACTIVE: frozenset({TaskStatus.PAUSED, TaskStatus.FINISHING, TaskStatus.FINISHED, TaskStatus.HALTED}),
        TaskStatus.PAUSED: frozenset({TaskStatus.ACTIVE, TaskStatus.FINISHING, TaskStatus.HALTED}),
        TaskStatus.FINISHING: frozenset({TaskStatus.FINISHED, TaskStatus.HALTED}),
        TaskStatus.HALTED: frozenset({TaskStatus.FINISHING}),
        TaskStatus.FINISHED: frozenset(),
    }
)


class ReleaseStatus(StrEnum):
    CANDIDATE = "candidate"  # learned, not offered to devices
    PUBLISHED = "published"  # in the TUF repository
    WITHDRAWN = "withdrawn"  # no longer offered


RELEASE_TRANSITIONS: Mapping[ReleaseStatus, frozenset[ReleaseStatus]] = MappingProxyType(
    {
        ReleaseStatus.CANDIDATE: frozenset({ReleaseStatus.PUBLISHED, ReleaseStatus.WITHDRAWN}),
        ReleaseStatus.PUBLISHED: frozenset({ReleaseStatus.WITHDRAWN}),
        ReleaseStatus.WITHDRAWN: frozenset(),
    }
)


def _enum(kind: type[StrEnum]) -> Enum:
    """The enum's values as text with a CHECK constraint; rows give back members of `kind`."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=True,
        name=kind.__name__.lower(),
        values_callable=lambda members: [member.value for member in members],
    )


metadata = MetaData()

schema = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),  # SCHEMA_VERSION of the server that made it
)

tasks = Table(
    "tasks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("population", Text, nullable=False),  # which devices it speaks to
    Column("spec", Text, nullable=False),  # the task file, TOML, as it was launched
    Column("status", _enum(TaskStatus), nullable=False),
    Column("reason", Text, nullable=False, default=""),  # why the status is what it is, for people
    # releases.number that it started from; set with its first state. No foreign key: releases refer to tasks.
    Column("base_release", Integer),
    Column("created_at", Double, nullable=False),  # unix seconds
)

states = Table(
    "states",
    metadata,
    Column("task", ForeignKey("tasks.name"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),  # successful rounds behind this state
    Column("object_sha256", Text, nullable=False),  # hex; the learner's state in the object store
    Column("created_at", Double, nullable=False),  # unix seconds
)

rounds = Table(
    "rounds",
    metadata,
    Column("id", Text, primary_key=True),  # hex of the plan's 16-byte round id
    Column("task", ForeignKey("tasks.name"), nullable=False),
    Column("number", Integer, nullable=False),  # counts every round that the task opened, from 1
    Column("base_state", Integer, nullable=False),  # states.number that devices train from
    Column("phase", _enum(Phase), nullable=False),
    Column("invitation", LargeBinary, nullable=False),  # encoded Invitation: the plan and its signature
    Column("deadline", Double, nullable=False),  # unix seconds; when the present phase ends at the latest
    Column("reason", Text, nullable=False, default=""),  # why it was aborted or discarded
    Column("joined", Integer, nullable=False, default=0),  # devices in the roster
    Column("sharers", Integer, nullable=False, default=0),  # devices that shared their secrets
    Column("survivors", Integer, nullable=False, default=0),  # devices whose masked update is in the sum
    Column("created_at", Double, nullable=False),  # unix seconds
    Column("updated_at", Double, nullable=False),  # unix seconds of the last change of phase
    UniqueConstraint("task", "number"),
    ForeignKeyConstraint(["task", "base_state"], ["states.task", "states.number"]),
    Index("rounds_by_phase", "phase", "task"),
)

# A task's worst case is computed for one round more: there must never be two in progress.
_in_progress = rounds.c.phase.in_(LIVE_PHASES)
Index("one_round_at_a_time", rounds.c.task, unique=True, sqlite_where=_in_progress, postgresql_where=_in_progress)

invitations = Table(
    "invitations",
    metadata,
    Column("round", ForeignKey("rounds.id"), primary_key=True),
    Column("device", Text, primary_key=True),  # hex of the 16-byte device id
    Column("invited_at", Double, nullable=False),  # unix seconds
)

round_messages = Table(
    "round_messages",
    metadata,
    Column("round", ForeignKey("rounds.id"), primary_key=True),
    Column("stage", Text, primary_key=True),  # what it is: `steps.Step.stored`
    Column("device", Text, primary_key=True),  # hex of the 16-byte device id
    Column("digest", Text, nullable=False),  # hex SHA-256 of what was received: a repeat or a second answer?
    Column("body", LargeBinary, nullable=False),  # the message, but without a masked vector: that is in the sum
    Column("received_at", Double, nullable=False),  # unix seconds
)

sums = Table(
    "sums",
    metadata,
    Column("round", ForeignKey("rounds.id"), primary_key=True),
    Column(
        "total", LargeBinary, nullable=False
    ),  # `sum_width(bits)` bytes a value, little-endian, until it is unmasked; then uint32 modulo 2^bits
)

charges = Table(
    "charges",
    metadata,
    Column("round", ForeignKey("rounds.id"), primary_key=True),
    Column("task", ForeignKey("tasks.name"), nullable=False, index=True),
    Column("survivors", Integer, nullable=False),  # devices in the sum
    Column("noise_contributors", Integer, nullable=False),  # survivors less the tolerated colluders
    Column("curve", LargeBinary, nullable=False),  # Renyi DP of this round for one participant, RdpCurve as bytes
    Column("epsilon_after", Double, nullable=False),  # of the device that took part most, after this round
    Column("delta", Double, nullable=False),  # that epsilon_after belongs to
    Column("charged_at", Double, nullable=False),  # unix seconds
)

participations = Table(
    "participations",
    metadata,
    Column("round", ForeignKey("charges.round"), primary_key=True),
    Column("device", Text, primary_key=True),  # hex of the 16-byte device id
    Column("task", ForeignKey("tasks.name"), nullable=False),
    Index("participations_by_task", "task", "device"),
)

releases = Table(
    "releases",
    metadata,
    Column("number", Integer, primary_key=True),  # counts releases of every model, never used twice
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),  # of the model, as devices compare it
    Column("task", ForeignKey("tasks.name")),  # none for a base model, which no task learned
    Column("state", Integer),  # states.number that it was made from
    Column("weights_sha256", Text, nullable=False),  # hex; the flat float32 vector in the object store
    Column("status", _enum(ReleaseStatus), nullable=False),
    # What not every release has. Of a base model: manifest_sha256, weights_bytes, card (text). Of a learned one:
    # metrics. Of an old one that came back: returns_to (releases.number). By an operator: rollout_percent, and reason
    # (of a withdrawal). Of any: minimum_sdk.
    Column("custom", JSON, nullable=False),
    Column("created_at", Double, nullable=False),  # unix seconds
    Column("published_at", Double),  # unix seconds
    UniqueConstraint("model", "version"),
    ForeignKeyConstraint(["task", "state"], ["states.task", "states.number"]),
    sqlite_autoincrement=True,  # a deleted row's number is not given out again
)


class Database:
    """The server's database, for use by several processes and threads at once.

    Opening creates the tables in an empty database. Raises SchemaMismatch for another version's database and
    ConfigurationError for a file that is none of ours.
    """

    def __init__(self, path: Path) -> None:
        self._engine = sqlite_engine(path)
        self._reading = self._engine.execution_options(**{READS: True})
        try:
            with self.begin() as connection:
                _check_schema(connection, path)
        except DatabaseError as error:
            self.close()
            raise ConfigurationError(
                f"{path} cannot be used as the server's database: {error.orig}",
                "If the file is damaged, restore it from a backup: the privacy ledger is in it",
            ) from error
        except ConfigurationError:
            self.close()
            raise

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction that may write: alone among writers from its start, committed at the end of the block.

        An exception rolls back all of it. Keep the block short: other writers wait.
        """
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent snapshot, which waits for nobody. Writing in it is an error."""
        with self._reading.begin() as connection:
            yield connection

    def close(self) -> None:
        """Lets go of every connection."""
        self._engine.dispose()


def move(
    connection: Connection, round_id: str, from_phase: Phase, to_phase: Phase, *, now: float, **changes: Any
) -> None:
    """Takes a round from one phase to the next, together with `changes` to other columns of its row.

    `now` is unix seconds. Raises StateError, with nothing changed, if there is no such transition or if the round
    has left `from_phase` already; NotFound if there is no such round; ValueError for a bad end without a reason.
    """
    if to_phase not in TRANSITIONS[from_phase]:
        raise StateError(f"round {round_id}: there is no step from {from_phase} to {to_phase}")
    if to_phase in (Phase.ABORTED, Phase.DISCARDED) and not changes.get("reason"):
        raise ValueError(f"a round that is {to_phase} needs a reason")
    moved = connection.execute(
        update(rounds)
        .where(rounds.c.id == round_id, rounds.c.phase == from_phase)
        .values(phase=to_phase, updated_at=now, **changes)
    )
    if moved.rowcount == 0:
        actual = connection.scalar(select(rounds.c.phase).where(rounds.c.id == round_id))
        if actual is None:
            raise NotFound(f"there is no round {round_id}")
        raise StateError(
            f"round {round_id}: cannot go from {from_phase} to {to_phase}, it is {actual}",
            "Another process moved it; read the round again",
        )


def switch(connection: Connection, task: str, from_status: TaskStatus, to_status: TaskStatus, reason: str) -> bool:
    """Gives a task another status, in the caller's transaction; False if it has left `from_status` already.

    Raises StateError, with nothing changed, if there is no such transition.
    """
    if to_status not in TASK_TRANSITIONS[from_status]:
        raise StateError(f"task {task!r}: there is no step from {from_status} to {to_status}")
    switched = connection.execute(
        update(tasks).where(tasks.c.name == task, tasks.c.status == from_status).values(status=to_status, reason=reason)
    )
    return switched.rowcount > 0


def withdraw(connection: Connection, number: int, reason: str) -> None:
    """Stops offering a release, in the caller's transaction. Raises NotFound."""
    custom = connection.scalar(select(releases.c.custom).where(releases.c.number == number))
    if custom is None:
        raise NotFound(f"there is no release {number}")
    connection.execute(
        update(releases)
        .where(releases.c.number == number)
        .values(status=ReleaseStatus.WITHDRAWN, custom={**custom, "reason": reason})
    )


def _check_schema(connection: Connection, path: Path) -> None:
    present = set(inspect(connection).get_table_names())
    if not present:
        metadata.create_all(connection)
        connection.execute(insert(schema).values(version=SCHEMA_VERSION))
        return
    if schema.name not in present:
        raise ConfigurationError(
            f"{path} is a database, but not one of this server: it has no table {schema.name}",
            "Name another file",
        )
    version = connection.scalar(select(func.max(schema.c.version)))
    if version != SCHEMA_VERSION:
        age = "a newer" if (version or 0) > SCHEMA_VERSION else "an older"
        raise SchemaMismatch(
            f"{path} has schema version {version}, this server knows version {SCHEMA_VERSION}: "
            f"it was made by {age} server",
            "Start the version of the server that made it, or restore a matching backup",
        )
