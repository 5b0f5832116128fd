"""The supervisor, with small real processes as children."""

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest
from eventually import eventually

from hushfold_server import supervisor as module
from hushfold_server.errors import ConfigurationError, StateError
from hushfold_server.instance import running_server, single_instance
from hushfold_server.settings import Home
from hushfold_server.supervisor import Child, Supervisor, server_children

READY = "import os, pathlib, signal, sys, time; pathlib.Path(os.environ['HUSHFOLD_READY_FILE']).touch()\n"
WORK = READY + "signal.pause()\n"
PATIENCE = 30.0  # seconds that a test waits for a real process


@pytest.fixture
def home(tmp_path):
    return Home.create(tmp_path / "home")


def child(script, name="child", **options):
    return Child(name, (sys.executable, "-S", "-c", textwrap.dedent(script)), **options)


class Run:
    """Runs a supervisor until a condition holds. Its clock goes on by `tick` seconds with every look."""

    def __init__(self, home, *children, tick=0.0, until=lambda run: run.ready):
        self.said, self.ready, self.time, self.looks = [], 0, 0.0, 0
        self.tick, self.until = tick, until
        self._pause, self._deadline = threading.Event(), time.monotonic() + PATIENCE
        self.supervisor = Supervisor(home, children, tell=self.said.append, wait=self._wait, now=lambda: self.time)

    def _wait(self, _seconds):
        assert time.monotonic() < self._deadline, f"it did not happen in time; said: {self.said}"
        self._pause.wait(0.01)
        self.time += self.tick
        self.looks += 1
        return self.until(self)

    def __call__(self):
        self.supervisor.run(self._on_ready)
        return self

    def _on_ready(self):
        self.ready += 1


def pids(home):
    return [int(line) for file in home.logs.glob("*.log") for line in file.read_text().split() if line.isdigit()]


def gone(pid):
    """Ended; as an orphan it may be a zombie where nothing adopts it."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_it_tells_once_that_all_are_ready_and_leaves_none_behind(home):
    script = "print(__import__('os').getpid(), flush=True)\n" + WORK
    looks_when_ready = []

    def until(run):
        if run.ready:
            looks_when_ready.append(run.looks)
        return len(looks_when_ready) > 3

    run = Run(home, child(script, "one"), child(script, "two"), until=until)()
    assert run.ready == 1
    assert run.said == []
    assert len(pids(home)) == 2
    assert all(gone(pid) for pid in pids(home))
    assert not list(home.path.rglob("*.ready"))


def test_not_ready_before_every_child_is(home):
    looks = []  # at the one that is ready

    def until(run):
        if list(home.path.rglob("one.ready")):
            looks.append(run.ready)
        return len(looks) > 5

    Run(home, child(WORK, "one"), child("import signal; signal.pause()", "two"), until=until)()
    assert not any(looks)


def test_children_end_by_sigterm_so_that_they_can_finish(home):
    script = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(print('finished')))\n" + WORK
    Run(home, child(script))()
    assert (home.logs / "child.log").read_text() == "finished\n"


def test_a_child_that_does_not_heed_sigterm_is_killed_with_its_own_children(home, monkeypatch):
    monkeypatch.setattr(module, "STOP_WITHIN", 0.2)
    script = """
        import os, signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(os.getpid(), flush=True)
        if not os.fork():
            print(os.getpid(), flush=True)
    """
    Run(home, child(textwrap.dedent(script) + WORK), until=lambda run: run.ready and len(pids(home)) == 2)()
    eventually(lambda: all(gone(pid) for pid in pids(home)))  # the kernel takes its time with an orphan


def test_output_goes_to_a_private_log_and_quiet_is_asked_for(home, monkeypatch):
    monkeypatch.setenv("ONE_MORE", "x")
    script = """
        import os, sys
        print(os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["ONE_MORE"])
        sys.stderr.write("and errors")
    """
    Run(home, child(textwrap.dedent(script) + WORK))()
    log = home.logs / "child.log"
    assert log.read_text() == "3 x\nand errors"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


CRASH_OFTEN = """
    import os, pathlib, signal
    folder = pathlib.Path({folder!r})
    life = len(list(folder.glob("life-*")))
    (folder / f"life-{{life}}").touch()
    pathlib.Path(os.environ["HUSHFOLD_READY_FILE"]).touch()
    while not (folder / f"crash-{{life}}").exists():
        signal.sigtimedwait([signal.SIGUSR1], 0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""


class CrashOften:
    """Lets a child crash `times` times, each a few looks after the supervisor has seen that it is ready."""

    def __init__(self, folder, times):
        folder.mkdir()
        self.child = child(CRASH_OFTEN.format(folder=str(folder)))
        self._folder, self._times, self._seen_at = folder, times, {}

    def over(self, run):
        revived = sum("works again" in said for said in run.said)
        life = run.ready + revived - 1  # that works now
        since = self._seen_at.setdefault(life, run.looks)
        if 0 <= life < self._times and run.looks - since >= 3:
            (self._folder / f"crash-{life}").touch()
        return revived == self._times


def test_a_crashed_child_is_started_again_after_pauses_that_double(home, tmp_path):
    crashing = CrashOften(tmp_path / "crashes", 3)
    run = Run(home, crashing.child, tick=0.05, until=crashing.over)()
    crashes = [said for said in run.said if "works again" not in said]
    for said, pause in zip(crashes, ("0.5", "1", "2"), strict=True):
        assert said.startswith(f"child was killed by SIGKILL; it starts again in {pause} s. ")
        assert str(home.logs / "child.log") in said
    assert run.time >= 0.5 + 1 + 2
    assert run.ready == 1


def test_after_a_long_good_time_failures_are_forgotten(home, tmp_path):
    crashing = CrashOften(tmp_path / "crashes", 2)
    run = Run(home, crashing.child, tick=50.0, until=crashing.over)()  # a child lives for minutes
    assert sum("starts again in 0.5 s" in said for said in run.said) == 2


def test_a_child_that_refuses_to_start_ends_the_server_with_its_words(home):
    refuses = child("import sys; sys.stderr.write('error: the key is missing\\n'); sys.exit(2)", "authority")
    other = child("print(__import__('os').getpid(), flush=True)\n" + WORK, "other")
    with pytest.raises(ConfigurationError, match="authority refused to start: the key is missing"):
        Run(home, other, refuses)()
    assert all(gone(pid) for pid in pids(home))


def test_a_child_that_never_gets_ready_ends_the_server(home):
    run = Run(home, child("raise SystemExit('out of luck')"), tick=1.0)
    with pytest.raises(
        ConfigurationError, match=r"child does not start: it ended with status 1 5 times \(out of luck\)"
    ):
        run()
    assert len(run.said) == 4


def test_a_slow_child_is_waited_for_and_mentioned_once(home):
    slow = child("import signal; signal.pause()", slow_after=10.0)
    run = Run(home, slow, tick=1.0, until=lambda run: run.looks > 30)()
    assert [said.split(" after ")[0] for said in run.said] == ["child is not ready"]


def test_a_command_that_does_not_exist(home):
    with pytest.raises(OSError, match="no-such-program"):
        Run(home, Child("child", ("no-such-program",)))()


SUPERVISOR = """
    import sys, threading
    from pathlib import Path
    from hushfold_server.settings import Home
    from hushfold_server.instance import single_instance
    from hushfold_server.supervisor import Child, Supervisor
    home = Home(Path(sys.argv[1]))
    child = Child("child", (sys.executable, "-S", "-c", sys.argv[2]))
    with single_instance(home):
        Supervisor(home, [child], tell=print, wait=threading.Event().wait).run(lambda: print("ready", flush=True))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child's life to its parent's")
def test_children_die_with_a_killed_supervisor_and_its_lock_is_free(home):
    command = [sys.executable, "-c", textwrap.dedent(SUPERVISOR), str(home.path)]
    script = "import os, signal; print(os.getpid(), flush=True); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WORK
    with subprocess.Popen([*command, script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(StateError, match=f"running already, process {process.pid}"), single_instance(home):
            pass
        assert running_server(home) == process.pid
        process.kill()
    (pid,) = pids(home)
    eventually(lambda: gone(pid))
    assert running_server(home) is None
    with single_instance(home) as killed:
        assert killed
    with single_instance(home) as killed:
        assert not killed


def test_a_server_that_could_not_start_was_not_killed(home):
    assert running_server(home) is None
    with pytest.raises(ConfigurationError), single_instance(home):
        raise ConfigurationError("the port is in use")
    assert running_server(home) is None
    with single_instance(home) as killed:
        assert not killed
        assert running_server(home) == os.getpid()


def test_the_lock_is_for_one_home(home, tmp_path):
    with single_instance(home), single_instance(Home.create(tmp_path / "other")):
        pass


def test_the_servers_children_get_their_sockets_and_nothing_more(home):
    with socket.socket() as api, socket.socket() as authority:
        for listener in (api, authority):
            listener.bind(("127.0.0.1", 0))
        children = {entry.name: entry for entry in server_children(home, api, authority)}
        assert children.keys() == {"authority", "api", "learner", "publisher"}
        assert children["authority"].inherits == (authority.fileno(),)
        assert children["api"].inherits == (api.fileno(),)
        assert not children["learner"].inherits
        assert not children["publisher"].inherits
        for entry in children.values():
            assert entry.command[-2:] == ("--home", str(home.path))
        assert str(api.getsockname()[1]) in children["publisher"].command


def test_signals_for_a_terminal_do_not_reach_children(home):
    """They are in process groups of their own: Ctrl-C is for the supervisor to handle."""
    groups, handler = [], signal.getsignal(signal.SIGINT)

    def until(run):
        if run.ready:
            groups.extend(os.getpgid(pid) for pid in pids(home))
        return run.ready

    Run(home, child("print(__import__('os').getpid(), flush=True)\n" + WORK), until=until)()
    assert groups
    assert os.getpgrp() not in groups
    assert signal.getsignal(signal.SIGINT) is handler
