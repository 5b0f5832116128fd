"""A home in use: the one server that may run there, and the database that its processes and its operator share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .database import Database
from .durable import lock
from .errors import ConfigurationError, StateError
from .settings import Home


def open_database(home: Home) -> Database:
    """The home's database, made on the first call; the caller closes it.

    Raises ConfigurationError as `Database` does, and for one that is gone though releases were signed here: an empty
    privacy ledger in its place would forget what devices have spent.
    """
    path = home.database
    if home.has_releases and not (path.exists() and path.stat().st_size):
        raise ConfigurationError(
            f"the database {path} is gone, but there are releases that a server signed here",
            "Restore it from a backup: the privacy ledger is in it. Without one, set up a new server in another folder",
        )
    return Database(path)


@contextmanager
def single_instance(home: Home) -> Iterator[bool]:
    """Keeps a second server away from the home; gives whether the last one was killed before it could clean up.

    Raises StateError, with the other's process id, if a server runs.
    """
    path = _lock_file(home)
    try:
        held = lock(path)
    except BlockingIOError:
        raise StateError(
            f"a server for {home.path} is running already, process {path.read_text().strip() or 'unknown'}",
            "Stop it first, or use another --home",
        ) from None
    with held:
        killed = bool(held.read())
        held.truncate(0)
        held.seek(0)
        held.write(f"{os.getpid()}\n".encode())
        try:
            yield killed
        finally:
            held.truncate(0)


def running_server(home: Home) -> int | None:
    """The process id of the server that runs here; None if none does."""
    path = _lock_file(home)
    # The lock is tried only where a name is in the file, so that a look hardly ever keeps a server from starting.
    process = path.read_text().strip() if path.exists() else ""
    if not process.isdecimal():
        return None
    try:
        lock(path).close()
    except BlockingIOError:
        return int(process)
    return None  # it was killed


def _lock_file(home: Home) -> Path:
    return home.run / "server.lock"
