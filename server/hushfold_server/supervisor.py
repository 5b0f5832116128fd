"""Starts the server's processes, keeps them running, and stops them together.

Which processes those are is data (`Child`); `server_children` is the list of Hushfold's own. A child that crashes is
started again after a pause that doubles with every failure. One that refuses to start (exit status 2, see `process`) or
never gets ready ends the whole server with a message, because no repetition helps.

Children live in process groups of their own, so that Ctrl-C in a terminal reaches the supervisor alone, and on Linux
they die with it, however it dies.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import launcher
from .errors import ConfigurationError
from .process import READY_FILE, REFUSED
from .settings import Home

POLL = 0.05  # seconds between two looks at the children
FIRST_PAUSE = 0.5  # seconds before a crashed child is started again
LONGEST_PAUSE = 30.0  # seconds
STABLE_AFTER = 60.0  # seconds that a child must run for its failures to be forgotten
EARLY_FAILURES = 5  # crashes of a child that never was ready, until the server gives up
STOP_WITHIN = 8.0  # seconds from SIGTERM to SIGKILL

QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow: errors only
    "TF_ENABLE_ONEDNN_OPTS": "0",  # no notice about them, and the same sums on every processor
    "GRPC_VERBOSITY": "ERROR",
    "PYTHONUNBUFFERED": "1",
}


@dataclass(frozen=True)
class Child:
    """A process to run. It calls `process.announce_ready` when it does its work."""

    name: str  # of its log, logs/<name>.log
    command: Sequence[str]
    inherits: Sequence[int] = ()  # file descriptors
    slow_after: float = 120.0  # seconds until the operator is told that it is not ready yet


@dataclass
class _Running:
    child: Child
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    log_start: int = 0  # bytes of the log before this start
    ready: bool = False
    was_ready: bool = False  # in any of its lives
    told_slow: bool = False
    failures: int = 0  # in a row
    start_at: float = 0.0


class Supervisor:
    """Runs `children` for one home.

    `tell` takes sentences for the operator. `wait(seconds)` pauses and gives True when it is time to stop; `now` gives
    seconds of a clock that never goes back.
    """

    def __init__(
        self,
        home: Home,
        children: Sequence[Child],
        *,
        tell: Callable[[str], None],
        wait: Callable[[float], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home, self._tell, self._wait, self._now = home, tell, wait, now
        self._running = [_Running(child) for child in children]

    def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Runs until told to stop; calls `on_ready` once, when every child is at work.

        Raises ConfigurationError if a child cannot start. When this returns or raises, no child is left.
        """
        announced = False
        try:
            for entry in self._running:
                self._start(entry)
            while not self._wait(POLL):
                for entry in self._running:
                    self._look_after(entry)
                if not announced and all(entry.ready for entry in self._running):
                    announced = True
                    on_ready()
        finally:
            self._stop()

    def _start(self, entry: _Running) -> None:
        child = entry.child
        ready_file = self._ready_file(child)
        ready_file.unlink(missing_ok=True)
        log_file = self.log_file(child)
        descriptor = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            entry.log_start = os.fstat(descriptor).st_size
            entry.process = subprocess.Popen(  # noqa: S603  # the commands are ours
                _tied_to_this_process(child.command),
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                env={**os.environ, **QUIET, READY_FILE: str(ready_file)},
                pass_fds=tuple(child.inherits),
                process_group=0,
            )
        finally:
            os.close(descriptor)
        entry.started_at, entry.ready, entry.told_slow = self._now(), False, False

    def _look_after(self, entry: _Running) -> None:
        if entry.process is None:
            if self._now() >= entry.start_at:
                self._start(entry)
            return
        status = entry.process.poll()
        if status is not None:
            self._crashed(entry, status)
            return
        uptime = self._now() - entry.started_at
        if not entry.ready and self._ready_file(entry.child).exists():
            entry.ready = True
            if entry.was_ready:
                self._tell(f"{entry.child.name} works again")
            entry.was_ready = True
        if not entry.ready and not entry.told_slow and uptime > entry.child.slow_after:
            entry.told_slow = True
            self._tell(
                f"{entry.child.name} is not ready after {uptime:.0f} s and goes on trying; "
                f"see {self.log_file(entry.child)}"
            )
        if entry.ready and uptime > STABLE_AFTER:
            entry.failures = 0

    def _crashed(self, entry: _Running, status: int) -> None:
        name, log_file = entry.child.name, self.log_file(entry.child)
        entry.process, entry.ready = None, False
        last_words = self._last_words(entry)
        if status == REFUSED and not entry.was_ready:
            raise ConfigurationError(f"{name} refused to start: {last_words or f'see {log_file}'}")
        entry.failures += 1
        ending = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        if not entry.was_ready and entry.failures >= EARLY_FAILURES:
            raise ConfigurationError(
                f"{name} does not start: it {ending} {entry.failures} times"
                + (f" ({last_words})" if last_words else ""),
                f"See {log_file}",
            )
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (entry.failures - 1))
        entry.start_at = self._now() + pause
        self._tell(f"{name} {ending}; it starts again in {pause:g} s. Its log: {log_file}")

    def _stop(self) -> None:
        """SIGTERM to all, then SIGKILL to what is left after STOP_WITHIN seconds."""
        alive = [entry.process for entry in self._running if entry.process is not None]
        for process in alive:
            process.terminate()  # does nothing if the process has ended
        deadline = time.monotonic() + STOP_WITHIN
        for process in alive:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # not reaped, so the id is still its own
                process.wait()
        for entry in self._running:
            self._ready_file(entry.child).unlink(missing_ok=True)

    def log_file(self, child: Child) -> Path:
        """What the child writes to standard output and standard error."""
        return self._home.logs / f"{child.name}.log"

    def _last_words(self, entry: _Running) -> str:
        with self.log_file(entry.child).open("rb") as file:
            file.seek(max(entry.log_start, file.seek(0, os.SEEK_END) - 4096))
            lines = file.read().decode(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("error: ") if lines else ""

    def _ready_file(self, child: Child) -> Path:
        return self._home.run / f"{child.name}.ready"


def server_children(
    home: Home, api: socket.socket, authority: socket.socket, models: Path | None = None
) -> tuple[Child, ...]:
    """Hushfold's processes. The sockets are listening ones, and stay open in the supervisor.

    `models` is a folder of base models, instead of those that are installed.
    """

    def python(module: str, *options: str) -> tuple[str, ...]:
        return (sys.executable, "-m", f"hushfold_server.{module}", *options, "--home", str(home.path))

    def service(name: str, listener: socket.socket) -> Child:
        descriptor = listener.fileno()
        options = (f"hushfold_server.{name}:create_app", "--name", name, "--fd", str(descriptor))
        return Child(name, python("serving", *options), inherits=(descriptor,))

    api_port, authority_port = (str(listener.getsockname()[1]) for listener in (api, authority))
    addresses = ("--port", api_port, "--authority-port", authority_port)
    base = ("--models", str(models)) if models else ()
    return (
        service("authority", authority),
        Child("publisher", python("publisher", *addresses, *base)),
        service("api", api),
        Child("learner", python("learner", *base)),
    )


def _tied_to_this_process(command: Sequence[str]) -> list[str]:
    """The command by way of `launcher`: it is killed when this process dies. Its work is safe against that."""
    if shutil.which(command[0]) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command[0])
    return [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), *command]
