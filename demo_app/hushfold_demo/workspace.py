"""The folder of a demo: one run at a time, each from scratch."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError

_LOCK = "demo.lock"  # also the mark of a folder that may be cleared


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where a run keeps its things."""

    home: Path
    lock: int  # file descriptor; whoever holds a copy of it, holds the folder

    @property
    def server(self) -> Path:
        return self.home / "server"

    @property
    def phones(self) -> Path:
        return self.home / "phones"

    @property
    def task_file(self) -> Path:
        return self.home / "task.toml"

    @property
    def server_output(self) -> Path:
        return self.home / "server.log"

    @property
    def report(self) -> Path:
        return self.home / "report.json"


@contextmanager
def workspace(home: Path) -> Iterator[Workspace]:
    """The folder `home` for one run, with what an earlier run left there removed, but for its report: that stays until
    there is a new one.

    The lock is meant to be handed to the server too: should this process be killed, the folder stays taken for as
    long as the server runs. Raises UsageError for a folder that is in use, or that holds something else.
    """
    home = home.absolute()
    lock_file = home / _LOCK
    try:
        if home.exists() and not lock_file.exists() and any(home.iterdir()):
            raise UsageError(f"{home} holds something else than a demo", "Name another folder with --home")
        home.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UsageError(
            f"{home} cannot be used: {error.strerror}", "Name a folder that you can write with --home"
        ) from None
    space = Workspace(home, descriptor)
    try:
        _take(space)
        for folder in (space.server, space.phones):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (space.task_file, space.server_output):
            file.unlink(missing_ok=True)
        yield space
    finally:
        os.close(descriptor)


def note_server(space: Workspace, process: int) -> None:
    """Writes down which process is the run's server, for whoever finds the folder taken."""
    os.ftruncate(space.lock, 0)
    os.pwrite(space.lock, f"{process}\n".encode(), 0)


def _take(space: Workspace) -> None:
    server = os.pread(space.lock, 20, 0).decode(errors="replace").strip()
    try:
        fcntl.flock(space.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UsageError(
            f"a demo, or the server of one that was killed, uses {space.home} now (server process "
            f"{server or 'not started yet'})",
            "Wait for it, stop that process, or name another folder with --home",
        ) from None
    os.ftruncate(space.lock, 0)
