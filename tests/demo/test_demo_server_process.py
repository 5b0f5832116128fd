"""Tests of what the demo reads from the server, and of a server that does not start."""

import fcntl
import subprocess
import sys

import pytest
from eventually import eventually

from hushfold_demo import server_process
from hushfold_demo.errors import DemoError
from hushfold_demo.rounds import Round
from hushfold_demo.server_process import Extrapolation, Look, ServerProcess
from hushfold_demo.workspace import workspace

ROUND = {
    "number": 2,
    "phase": "masking",
    "reason": "",
    "invited": 24,
    "joined": 20,
    "sharers": 0,
    "survivors": 0,
    "epsilon_after": None,
}
TASK = {
    "name": "t",
    "status": "active",
    "reason": "",
    "rounds_done": 1,
    "round": ROUND,
    "rounds": [{**ROUND, "number": 1, "phase": "learned", "survivors": 19, "epsilon_after": 3.5}, ROUND],
    "epsilon": 3.5,
    "delta": 1e-5,
}


def release(status="published", task="t", version="1.1.0"):
    return {"task": task, "status": status, "version": version}


def test_a_look_reads_the_rounds():
    look = Look.of({"tasks": [{**TASK, "name": "other"}, TASK], "releases": []}, "t")
    assert (look.round_number, look.rounds_done, look.epsilon) == (2, 1, 3.5)
    assert look.rounds == (Round(1, "learned", "", 24, 20, 19, 3.5), Round(2, "masking", "", 24, 20, 0, None))
    assert look.release is None
    assert look.extrapolation is None


def test_before_the_first_round_there_is_none():
    look = Look.of({"tasks": [{**TASK, "round": None, "rounds": []}], "releases": []}, "t")
    assert (look.round_number, look.rounds) == (0, ())


@pytest.mark.parametrize(
    ("releases", "version"),
    [
        ([release(task=None)], None),
        ([release(status="candidate")], None),
        ([release(task="other")], None),
        ([release(version="1.2.0"), release()], "1.2.0"),
    ],
)
def test_only_the_tasks_published_release_counts(releases, version):
    assert Look.of({"tasks": [TASK], "releases": releases}, "t").release == version


def test_the_servers_extrapolation_is_read():
    wider = {"cohort": 10_000, "survivors": 19, "rounds": 3, "noise_multiplier": 99.0, "epsilon": 0.1, "delta": 1e-5}
    look = Look.of({"tasks": [{**TASK, "extrapolation": wider}], "releases": []}, "t")
    assert look.extrapolation == Extrapolation(10_000, 0.1, 1e-5)


def test_a_task_that_is_not_there():
    with pytest.raises(KeyError):
        Look.of({"tasks": [TASK], "releases": []}, "u")


def command(monkeypatch, script):
    monkeypatch.setattr(server_process, "_COMMAND", (sys.executable, "-c", script))


def test_a_server_that_ends_is_quoted(tmp_path, monkeypatch):
    command(monkeypatch, "import sys; print('Error: the disk is full', file=sys.stderr); sys.exit(2)")
    with workspace(tmp_path) as space, pytest.raises(DemoError, match="status 2: Error: the disk is full"):
        ServerProcess(space).__enter__()


def test_a_server_that_is_killed_is_not_said_to_give_a_reason(tmp_path, monkeypatch):
    command(monkeypatch, "print('Hushfold is up\\n  authority  http://127.0.0.1:1'); import signal; signal.pause()")
    with workspace(tmp_path) as space, ServerProcess(space) as server:
        server._process.kill()
        server._process.wait()
        with pytest.raises(DemoError, match=r"^the server was killed \(SIGKILL\)\. See .*server\.log"):
            server.require_running()


def test_a_server_that_fails_later_is_quoted_without_its_welcome(tmp_path, monkeypatch):
    late = "print('Hushfold is up\\n  logs  here'); import os, sys; print('Error: the api ended'); sys.exit(1)"
    command(monkeypatch, late)
    with workspace(tmp_path) as space, ServerProcess(space) as server:
        server._process.wait()
        with pytest.raises(DemoError, match=r"^the server ended with status 1: Error: the api ended\. See"):
            server.require_running()


def test_a_server_that_does_not_stop_is_killed(tmp_path, monkeypatch):
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('Hushfold is up'); signal.pause()"
    command(monkeypatch, f"{stubborn}\nwhile True: signal.pause()")
    monkeypatch.setattr(server_process, "STOP_WITHIN", 0.1)
    with workspace(tmp_path) as space:
        with ServerProcess(space) as server:
            process = server._process
            server.require_running()
        assert process.returncode == -9


def test_a_server_that_ends_in_between_is_noticed(tmp_path, monkeypatch):
    command(monkeypatch, "print('Hushfold is up')")
    with workspace(tmp_path) as space, ServerProcess(space) as server:
        server._process.wait()
        with pytest.raises(DemoError, match=r"ended with status 0\. See"):
            server.require_running()


def test_a_command_that_fails_is_quoted(tmp_path, monkeypatch):
    command(monkeypatch, "import sys; sys.exit('Error: no such task')")
    with workspace(tmp_path) as space, pytest.raises(DemoError, match=r"`hushfold-server status .*no such task"):
        ServerProcess(space).look("t")


def test_the_demo_says_when_there_is_no_server(tmp_path, monkeypatch):
    monkeypatch.setattr(server_process.importlib.util, "find_spec", lambda _: None)
    with workspace(tmp_path) as space, pytest.raises(DemoError, match="not installed"):
        ServerProcess(space).__enter__()


def test_commands_go_to_the_runs_own_folder(tmp_path, monkeypatch):
    command(monkeypatch, "import json, sys; json.dump({'tasks': [], 'releases': sys.argv[1:]}, sys.stdout)")
    with workspace(tmp_path) as space:
        told = subprocess.run([*server_process._COMMAND, "x"], capture_output=True, check=True).stdout
        assert b'"x"' in told
        assert str(space.server) in ServerProcess(space)._run("status", "--json")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to another")
def test_the_server_of_a_demo_that_was_killed_stops(tmp_path):
    """With the real server, whose copy of the lock says that it runs."""
    demo = f"""
from pathlib import Path
from hushfold_demo.server_process import ServerProcess
from hushfold_demo.workspace import workspace
with workspace(Path({str(tmp_path)!r})) as space:
    ServerProcess(space).__enter__()
"""
    process = subprocess.Popen([sys.executable, "-c", demo])
    output = tmp_path / "server.log"
    eventually(lambda: output.exists() and "Starting" in output.read_text())
    process.kill()
    process.wait()
    with (tmp_path / "demo.lock").open() as lock:
        eventually(lambda: flocked(lock))


def flocked(file):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
