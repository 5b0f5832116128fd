"""A server that is killed at every transaction: just before its commit, and just after it.

The death is an exception that nothing in the server catches; whoever survives it starts the server anew from the disk.
What a transaction changes is read from the database itself, so that nobody has to say what was killed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import pairwise

from sqlalchemy import Connection, event, select

from hushfold_server.database import (
    RELEASE_TRANSITIONS,
    TASK_TRANSITIONS,
    TRANSITIONS,
    Database,
    Phase,
    ReleaseStatus,
    TaskStatus,
    releases,
    rounds,
    tasks,
)

Move = tuple[str, StrEnum | None, StrEnum]  # of what, from where, to where; from None if it was made

_BEGUN = {("round", None, Phase.OPEN), ("task", None, TaskStatus.ACTIVE), ("release", None, ReleaseStatus.CANDIDATE)}
_DECLARED = {"round": TRANSITIONS, "task": TASK_TRANSITIONS, "release": RELEASE_TRANSITIONS}
EVERY_MOVE = _BEGUN | {
    (kind, start, end) for kind, table in _DECLARED.items() for start, ends in table.items() for end in ends
}
"""Whatever the server's state machines declare."""

_STATUSES = {"round": (rounds.c.id, rounds.c.phase), "task": (tasks.c.name, tasks.c.status)}
_STATUSES["release"] = (releases.c.number, releases.c.status)


class Killed(BaseException):
    """In place of SIGKILL."""


def moves(kind: str, *statuses: StrEnum | None) -> frozenset[Move]:
    """One after the other."""
    return frozenset((kind, start, end) for start, end in pairwise(statuses))


class Killing:
    """Replaces `Database.begin`. Inside `through` each transaction that writes dies twice, and then lives."""

    def __init__(self) -> None:
        self._begin = Database.begin
        self._armed, self._doing = False, ""
        self._deaths: dict[tuple[object, ...], int] = {}
        self.deaths = 0
        self.before: set[Move] = set()  # moves that were undone by a death before their commit
        self.after: set[Move] = set()  # moves after whose commit there was a death

    def through(self, action: Callable[[], object], restart: Callable[[], object], doing: str = "") -> None:
        """Does `action` until it has survived, and `restart` after every death, which may be the next one."""
        alive = True
        while True:
            try:
                if not alive:
                    self._arm(f"restart while {doing}")
                    restart()
                    alive = True
                self._arm(doing)
                action()
                return
            except Killed:
                alive = False
                self.deaths += 1
            finally:
                self._armed = False

    def _arm(self, doing: str) -> None:
        self._armed, self._doing = True, doing

    @contextmanager
    def begin(self, database: Database) -> Iterator[Connection]:
        if not self._armed:
            with self._begin(database) as connection:
                yield connection
            return
        with self._begin(database) as connection:
            statuses, written = _statuses(connection), []
            event.listen(connection, "before_cursor_execute", lambda *given: written.append(given[2]))
            yield connection
            writes = tuple(statement for statement in written if not statement.startswith("SELECT"))
            moved = _moved(statuses, _statuses(connection))
            transaction = (self._doing, writes, moved)
            died = self._deaths.get(transaction, 0)
            if writes and died < 2:
                self._deaths[transaction] = died + 1
            if writes and died == 0:
                self.before |= moved
                raise Killed
        if writes and died == 1:
            self.after |= moved
            raise Killed


def die_at(move: Move, when: str) -> None:
    """Has this process killed by the system at a move: `when` is `before` or `after` its commit."""
    begin = Database.begin

    @contextmanager
    def dying(database: Database) -> Iterator[Connection]:
        with begin(database) as connection:
            statuses = _statuses(connection)
            yield connection
            doomed = move in _moved(statuses, _statuses(connection))
            if doomed and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
        if doomed:
            os.kill(os.getpid(), signal.SIGKILL)

    Database.begin = dying  # type: ignore[method-assign]


def _statuses(connection: Connection) -> dict[tuple[str, object], StrEnum]:
    return {
        (kind, name): status
        for kind, columns in _STATUSES.items()
        for name, status in connection.execute(select(*columns))
    }


def _moved(before: dict[tuple[str, object], StrEnum], after: dict[tuple[str, object], StrEnum]) -> frozenset[Move]:
    return frozenset((of[0], before.get(of), end) for of, end in after.items() if before.get(of) is not end)
