"""A Hushfold server of the demo's own: started, asked for its state, and stopped, all through its command line."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from .errors import DemoError
from .rounds import Round
from .workspace import Workspace, note_server

UP = "Hushfold is up"  # what `hushfold-server up` prints when devices may come
START_WITHIN = 180.0  # seconds; TensorFlow takes its time
STOP_WITHIN = 15.0  # seconds from SIGTERM to SIGKILL
_COMMAND = (sys.executable, "-m", "hushfold_server.cli")


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """What a cohort of `cohort` devices would have spent for a model of the same quality. Not measured."""

    cohort: int
    epsilon: float
    delta: float


@dataclass(frozen=True, slots=True)
class Look:
    """The state of one task, and of what came of it, as the server told it at one moment."""

    status: str  # active, finished, halted ...
    reason: str  # why
    rounds_done: int  # successful ones
    rounds: tuple[Round, ...]  # all of them, oldest first
    epsilon: float  # spent by the phone that took part most
    delta: float
    extrapolation: Extrapolation | None
    release: str | None  # version that the task published

    @classmethod
    def of(cls, document: dict[str, Any], task: str) -> Self:
        """Reads what `hushfold-server status --json` prints. Raises KeyError if the task is not there."""
        found = next((row for row in document["tasks"] if row["name"] == task), None)
        if found is None:
            raise KeyError(task)
        published = [r for r in document["releases"] if r["task"] == task and r["status"] == "published"]
        wider = found.get("extrapolation")
        return cls(
            status=found["status"],
            reason=found["reason"],
            rounds_done=found["rounds_done"],
            rounds=tuple(Round.of(row) for row in found["rounds"]),
            epsilon=found["epsilon"],
            delta=found["delta"],
            extrapolation=Extrapolation(wider["cohort"], wider["epsilon"], wider["delta"]) if wider else None,
            release=published[0]["version"] if published else None,
        )

    @property
    def round_number(self) -> int:
        """Of the newest round, counted from 1; 0 before the first."""
        return self.rounds[-1].number if self.rounds else 0


class ServerProcess:
    """`hushfold-server up` in a run's folder, on free ports. A context manager: it runs inside the block.

    Raises DemoError if the server is not installed or does not start, with what it said.
    """

    def __init__(self, space: Workspace) -> None:
        self._space = space
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if importlib.util.find_spec("hushfold_server") is None:
            raise DemoError("the Hushfold server is not installed beside this demo", "Run `make setup`")
        with self._space.server_output.open("wb") as output:
            self._process = subprocess.Popen(  # noqa: S603  # our own command
                [
                    *(*_COMMAND, "up", "--home", str(self._space.server), "--port", "0", "--authority-port", "0"),
                    *("--parent", str(os.getpid())),  # if this process is killed, the server stops too
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                pass_fds=(self._space.lock,),
                start_new_session=True,  # Ctrl-C in the terminal is the demo's to handle
            )
        note_server(self._space, self._process.pid)
        try:
            self._wait_until_up(self._process)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the server, the hard way if it does not go."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def require_running(self) -> None:
        """Raises DemoError if the server has ended by itself."""
        if self._process is not None and (status := self._process.poll()) is not None:
            raise DemoError(f"the server {_ended(status)}{self._last_words()}", self.see_logs())

    @property
    def app_json(self) -> bytes:
        """What an app embeds to reach this server."""
        return (self._space.server / "public" / "app.json").read_bytes()

    def create_task(self, file: Path) -> None:
        """Launches the task of a task file. Raises DemoError with the server's words if it says no."""
        self._run("task", "create", str(file))

    def look(self, task: str) -> Look:
        """The state of a task. It takes about a second of processor time."""
        return Look.of(json.loads(self._run("status", "--json")), task)

    def _run(self, *arguments: str) -> str:
        command = [*_COMMAND, *arguments, "--home", str(self._space.server)]
        done = subprocess.run(  # noqa: S603  # our own command
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, start_new_session=True
        )
        if done.returncode:
            raise DemoError(
                f"`hushfold-server {' '.join(arguments)}` failed: {_last_line(done.stderr) or 'it said nothing'}"
            )
        return done.stdout

    def _wait_until_up(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_WITHIN
        while UP not in self._output():
            self.require_running()
            if time.monotonic() >= deadline:
                raise DemoError(f"the server is not up after {START_WITHIN:g} seconds", self.see_logs())
            time.sleep(0.1)

    def _output(self) -> str:
        return self._space.server_output.read_text(errors="replace")

    def _last_words(self) -> str:
        """Why it ended, if it said so. What it says when it is up is no reason."""
        output = self._output()
        _, found, reason = output.rpartition("Error:")
        said = found + reason if found else "" if UP in output else output
        return f": {line}" if (line := _last_line(said)) else ""

    def see_logs(self) -> str:
        """Where the server wrote what it did, as advice."""
        return f"See {self._space.server_output} and {self._space.server / 'logs'}"


def _ended(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed ({signal.Signals(-status).name})"
    except ValueError:  # a signal without a name
        return f"was killed (signal {-status})"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
