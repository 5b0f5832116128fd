"""The command line, and the whole `up` with the real authority and publisher."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request

import psutil
import pytest
from small_model import WEIGHTS, write_model
from sqlalchemy import insert, update
from task_files import task_file
from test_publisher import Server

from hushfold_server import cli
from hushfold_server.database import Database, charges, rounds, states
from hushfold_server.instance import single_instance
from hushfold_server.settings import HOME_VARIABLE, Home


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command line in this process; gives exit status, standard output and standard error."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "60")  # narrow: nothing may be cut off

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hushfold-server", *map(str, arguments)])
        status = 0
        capsys.readouterr()  # what a test's own server logged
        try:
            cli.main()
        except SystemExit as exit_:
            status = exit_.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return status, out, err

    return run


@pytest.fixture
def home(tmp_path, run):
    assert run("init")[0] == 0
    return Home.open(tmp_path / "home")


@pytest.fixture
def models(tmp_path):
    # The task file's numbers are for an adapter of some hundred values.
    write_model(tmp_path / "models", weights=bytes(4 * 500))
    return tmp_path / "models"


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "words.toml"
    file.write_text(task_file())
    return file


def fails(result, *words):
    status, out, err = result
    assert (status, out) == (2, "")
    assert err.startswith("Error: ")
    for word in words:
        assert str(word) in err


def test_init_may_be_repeated(run, home):
    before = {path: path.read_bytes() for path in home.keys("plan").iterdir()}
    status, out, _ = run("init")
    assert status == 0
    assert "hushfold-server up" in out
    assert {path: path.read_bytes() for path in home.keys("plan").iterdir()} == before


def test_a_task_is_launched_listed_paused_and_resumed(run, home, models, file):
    status, out, err = run("task", "create", file, "--models", models)
    assert status == 0
    assert out == (
        "Task words is launched for the devices of en: noise multiplier 4, modulo 2^32; 13 to 25 devices in a sum; "
        "epsilon 1.14 a round at most, of 6 at delta 1e-06.\n"
        "The server does not run now; rounds open when it does. Start it with `hushfold-server up`.\n"
    )
    assert err == "Warning: devices with the default policy refuse this: floor of 13, at least 65 needed\n"
    (task,) = json.loads(run("task", "list", "--json")[1])
    assert (task["name"], task["status"], task["epsilon"], task["budget_epsilon"]) == ("words", "active", 0.0, 6.0)
    assert (task["rounds_done"], task["rounds_planned"], task["round"]) == (0, 10, None)
    assert run("task", "pause", "words")[0] == 0
    assert "paused by an operator" in run("task", "list")[1]
    fails(run("task", "pause", "words"), "is paused")
    assert run("task", "resume", "words")[0] == 0
    fails(run("task", "resume", "words"), "is active")
    assert "opens no more rounds" in run("task", "finish", "words")[1]
    assert "words: finishing: an operator ends it" in run("task", "list")[1]
    fails(run("task", "resume", "words"), "is finishing")


def test_the_same_name_twice(run, home, models, file):
    run("task", "create", file, "--models", models)
    fails(run("task", "create", file, "--models", models), "'words' already", "another name")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[task", "not valid TOML"),
        ("", "[task] is missing"),
        (task_file(cohort={"target": '"20"'}), "[cohort] target"),
        (task_file(privacy={"noise_multiplier": None, "target_epsilon": "0.0001"}), "cannot be met"),
        (task_file(training={"stpes": "20"}), "did you mean steps"),
        (task_file(privacy={"budget_epsilon": "0.5"}), "pays for no round"),
        ("a = " + 5000 * "[", "nested too deeply"),
    ],
)
def test_a_faulty_task_file_is_told_in_its_own_terms(run, home, models, file, text, said):
    file.write_text(text)
    fails(run("task", "create", file, "--models", models), said)
    assert json.loads(run("task", "list", "--json")[1]) == []


def test_files_that_cannot_be_read(run, home, models, tmp_path):
    fails(run("task", "create", tmp_path / "none.toml"), "none.toml", "No such file")
    fails(run("task", "create", tmp_path), "Is a directory")
    (tmp_path / "latin.toml").write_bytes(b"\xff")
    fails(run("task", "create", tmp_path / "latin.toml"), "UTF-8")


def test_a_model_that_is_not_installed(run, home, file, tmp_path):
    fails(run("task", "create", file, "--models", tmp_path / "none"), "'next_word' is not installed")


def test_unknown_names_and_numbers(run, home):
    fails(run("task", "pause", "nothing"), "no task 'nothing'")
    fails(run("release", "rollback", "7"), "no release 7")
    fails(run("release", "rollout", "7", "50"), "no release 7")


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("task", "create"),
        ("release", "rollback", "x"),
        ("release", "rollout", "1", "101"),
        ("up", "--port", "x"),
    ],
)
def test_what_is_no_command_line(run, arguments):
    status, _, err = run(*arguments)
    assert status == 2
    assert "Usage" in err


@pytest.mark.parametrize("command", [("status",), ("task", "list"), ("release", "list"), ("task", "pause", "x")])
def test_a_folder_that_is_no_servers(run, command):
    fails(run(*command), "there is no folder", "hushfold-server init")


def test_a_database_that_is_none(run, home):
    home.database.write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    fails(run("status"), home.database, "backup")


def test_status_of_an_empty_server(run, home):
    status, out, _ = run("status")
    assert status == 0
    assert "no tasks" in out
    assert "no releases" in out
    assert json.loads(run("status", "--json")[1]) == {"process": None, "tasks": [], "releases": []}


def test_status_says_whether_the_server_runs(run, home):
    assert "The server is not running. Start it with `hushfold-server up`." in run("status")[1]
    with single_instance(home):
        assert f"The server runs, process {os.getpid()}." in run("status")[1]
        assert json.loads(run("status", "--json")[1])["process"] == os.getpid()


def test_advice_names_the_folder_that_the_command_named(run, tmp_path):
    elsewhere = tmp_path / "else where"
    assert f"`hushfold-server up --home '{elsewhere}'`" in run("init", "--home", elsewhere)[1]
    assert f"`hushfold-server task create FILE --home '{elsewhere}'`" in run("status", "--home", elsewhere)[1]


def test_a_lost_database_is_refused_by_every_command(run, tmp_path, models):
    server = Server(tmp_path)
    server.start()
    server.database.close()
    for file in tmp_path.glob("home/hushfold.db*"):
        file.unlink()
    for command in (("status",), ("init",), ("release", "list"), ("up", "--models", models)):
        fails(run(*command), "is gone", "Restore it from a backup")
    assert not server.home.database.exists()


def test_status_shows_round_release_and_budget(run, home, models, file):
    run("task", "create", file, "--models", models)
    database = Database(home.database)
    with database.begin() as connection:
        for number in range(3):
            connection.execute(insert(states).values(task="words", number=number, object_sha256="ab", created_at=1.0))
        for number, epsilon, phase in ((1, 0.5, "released"), (2, 1.25, "masking")):
            connection.execute(
                insert(rounds).values(
                    id=f"{number:032x}", task="words", number=number, base_state=0, phase=phase, joined=19,
                    invitation=b"plan", deadline=1.0, created_at=1.0, updated_at=1.0,
                )
            )  # fmt: skip
            connection.execute(
                insert(charges).values(
                    round=f"{number:032x}", task="words", survivors=18, noise_contributors=17, curve=b"",
                    epsilon_after=epsilon, delta=1e-6, charged_at=float(number),
                )
            )  # fmt: skip
    status, out, _ = run("status")
    assert status == 0
    (line,) = (line for line in out.splitlines() if line.startswith("words "))
    for word in ("2 of 10", "2 masking, 19 joined", "1.25 of 6"):
        assert word in line
    (task,) = json.loads(run("status", "--json")[1])["tasks"]
    assert [row["number"] for row in task["rounds"]] == [1, 2]
    assert task["rounds"][-1] == task["round"] == {
        "number": 2, "phase": "masking", "reason": "", "invited": 0, "joined": 19, "sharers": 0, "survivors": 0,
        "epsilon_after": 1.25,
    }  # fmt: skip
    with database.begin() as connection:
        connection.execute(update(rounds).where(rounds.c.number == 2).values(phase="aborted", reason="[too] few"))
    out = run("status")[1]
    assert "words: round 2 aborted: [too] few" in out  # brackets are not taken for markup
    table = out[: out.index("words: ")]
    assert "2 aborted" in table
    assert all(len(line) <= 80 for line in table.splitlines()[1:])
    database.close()


def test_releases_are_listed_widened_and_rolled_back(run, tmp_path):
    server = Server(tmp_path)
    server.start()
    server.learn("1.1.0", 1, rollout_percent=5)
    server.start()
    waits = "The server does not run now; {} when it does. Start it with `hushfold-server up`.\n"
    out = run("release", "rollout", "2", "40")[1]
    assert out == "Release 2 goes to 40 % of the devices.\n" + waits.format("devices are told")
    out = run("release", "rollback", "1")[1]
    assert out == "The weights of release 1 go out again as release 3.\n" + waits.format("devices get it")
    fails(run("release", "rollback", "1"), "release 3", "has the weights of release 1 already")
    listed = json.loads(run("release", "list", "--json")[1])
    assert [(row["number"], row["status"], row["rollout_percent"]) for row in listed] == [
        (3, "candidate", 100), (2, "withdrawn", 40), (1, "published", 100),
    ]  # fmt: skip
    out = run("release", "list")[1]
    assert "release 2: withdrawn: rolled back to release 1" in out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "base model" in out
    fails(run("release", "rollout", "2", "50"), "was withdrawn")
    server.database.close()


# What `up` does, with two of the four processes: the others need TensorFlow.
UP = """
    import sys
    from hushfold_server import cli, supervisor
    every = supervisor.server_children
    supervisor.server_children = lambda *given: tuple(
        child for child in every(*given) if child.name in ("authority", "publisher")
    )
    cli.main()
"""


class Up:
    """A running `hushfold-server up`."""

    def __init__(self, home, models, *options):
        command = [sys.executable, "-c", textwrap.dedent(UP), "up", "--home", str(home), "--models", str(models)]
        ports = () if "--port" in options else ("--port", "0", "--authority-port", "0")
        self.process = subprocess.Popen(
            [*command, *ports, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def until(self, words):
        """Standard output up to the line with `words`."""
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if words in line:
                return "".join(lines)
        raise AssertionError("".join(lines) + self.process.stderr.read())

    def ends(self):
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err


def get(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)


def children_of(process):
    return psutil.Process(process.pid).children()


@pytest.mark.slow
def test_up_serves_survives_crashes_and_stops(tmp_path, models):
    home = tmp_path / "home"
    with Up(home, models) as up:
        shown = up.until("logs")
        assert f"process {up.process.pid}" in shown
        app = json.loads((home / "public" / "app.json").read_text())
        assert app["authority_url"] in shown
        assert app["service_url"] in shown
        assert get(app["authority_url"] + "/health") == {"status": "ok"}
        # A second server for this home is told about the first.
        with Up(home, models) as second:
            status, out, err = second.ends()
            assert (status, out) == (2, "")
            assert f"running already, process {up.process.pid}" in err
        # The port of a crashed child stays open: a device that asks meanwhile waits for the next one.
        health = app["authority_url"] + "/health"
        (authority,) = (
            child for child in children_of(up.process) if "hushfold_server.authority:create_app" in child.cmdline()
        )
        authority.kill()
        assert get(health) == {"status": "ok"}
        assert "authority was killed by SIGKILL" in up.until("authority works again")
        left = children_of(up.process)
        begun = time.monotonic()
        up.process.send_signal(signal.SIGINT)
        assert up.ends()[0] == 0
        assert time.monotonic() - begun < 10
        assert not any(child.is_running() for child in left)
    for log in ("authority.log", "publisher.log"):
        assert (home / "logs" / log).read_text() == ""


@pytest.mark.slow
def test_up_after_kill_9_goes_on_on_the_same_ports(tmp_path, models):
    home = tmp_path / "home"
    with socket.socket() as free, socket.socket() as other:
        ports = []
        for listener in (free, other):
            listener.bind(("127.0.0.1", 0))
            ports.append(str(listener.getsockname()[1]))
    options = ("--port", ports[0], "--authority-port", ports[1])
    with Up(home, models, *options) as up:
        up.until("logs")
        key = json.loads((home / "public" / "app.json").read_text())["authority_key"]
        os.kill(up.process.pid, signal.SIGKILL)
    with Up(home, models, *options) as up:
        assert "was killed; this one goes on" in up.until("logs")
        assert get(f"http://127.0.0.1:{ports[1]}/health") == {"status": "ok"}
        assert json.loads((home / "public" / "app.json").read_text())["authority_key"] == key
    published = [path.read_bytes() for path in home.rglob("*.weights.f32")]
    assert published == [bytes(4 * 500)] != [WEIGHTS]


def test_up_on_a_port_in_use_says_which(run, models):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        fails_up = run("up", "--port", port, "--authority-port", 0, "--models", models)
    assert fails_up[0] == 2
    assert f"the server does not start: port {port} on 127.0.0.1, for the device API, is in use" in fails_up[2]


def test_up_that_was_refused_is_no_server_that_was_killed(run, home, models):
    home.settings_file.write_text("api_port = 'x'\n")
    for _ in range(2):
        fails(run("up", "--models", models), "the server does not start: ", "api_port is 'x'")


def test_up_refuses_other_machines_without_tls(run, home, models):
    home.settings_file.write_text('host = "0.0.0.0"\n')
    fails(run("up", "--models", models), "tls_certificate")
