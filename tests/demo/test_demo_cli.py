"""Tests of the demo's command line, up to the whole: a server, phones, rounds, a release, and Ctrl-C."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

COMMAND = [sys.executable, "-m", "hushfold_demo.cli", "run"]


def run(*arguments, **options):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, **options)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--phones", "0"], "--phones (make's N) is 0; 3 to 200 are possible"),
        (["--phones", "many"], "--phones (make's N) is 'many'. It must be a whole number"),
        (["--phones", ""], "--phones (make's N) is ''. It must be a whole number"),
        (["--lost", "23"], "--lost (make's LOST) is 23; of 24 phones 0 to 9"),
        (["--rounds", "0"], "--rounds (make's ROUNDS) is 0"),
        (["--seed", "x"], "--seed (make's SEED) is 'x'"),
        (["--texts", "no-such-file.jsonl"], "no-such-file.jsonl cannot be read: there is no such file"),
        (["--texts", "broken.jsonl"], "broken.jsonl, line 1: a JSON object"),
        (["--home", "taken"], "holds something else than a demo"),
    ],
)
def test_mistakes_are_told_in_a_sentence(tmp_path, arguments, said):
    (tmp_path / "broken.jsonl").write_text("no json\n")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "build").exists()
    assert (tmp_path / "taken" / "thesis.txt").exists()


@pytest.mark.parametrize("text", [" ", "привет мир"])
def test_texts_that_nothing_can_be_learned_from_are_refused_before_a_server_starts(tmp_path, text):
    lines = [json.dumps({"user": user, "text": text}) for user in "abc" for _ in range(20)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    done = run("--phones", 3, "--texts", "texts.jsonl", "--home", "demo", cwd=tmp_path)
    assert done.returncode == 2
    assert "no phone has a message that the English model can learn from" in done.stderr
    assert "XNNPACK" not in done.stderr
    assert not (tmp_path / "demo" / "server").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_hands_over_what_is_named_and_nothing_else():
    sizes = ["N=", "LOST=2", "TEXTS=it's a file.jsonl"]
    told = subprocess.run(["make", "-n", "demo", *sizes], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    command = next(line for line in told.splitlines() if "hushfold-demo" in line)
    assert shlex.split(command)[1:] == ["run", "--lost=2", "--texts=it's a file.jsonl"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_fleet_learns_a_release_and_can_do_so_again(tmp_path):
    home = tmp_path / "demo"
    for seed in (1, 2):
        done = run("--phones", 6, "--lost", 2, "--rounds", 2, "--home", home, "--seed", seed)
        assert done.returncode == 0, done.stdout + done.stderr
        report = json.loads((home / "report.json").read_text())
        assert report["rounds"] == 2
        assert report["adopted"] == len(report["phones"]) == 6
        assert report["version"] != "1.0.0"
        assert report["reported"] >= 2 * report["asked"]["floor"]
        assert report["dropped"] == report["invited"] - report["reported"]
        for name in ("invited", "reported", "dropped"):
            assert report[name] == sum(each[name] for each in report["history"])
        assert report["reported"] <= sum(phone["reported"] for phone in report["phones"])
        assert 0 < report["epsilon"] <= report["epsilon_charged"]
        assert all(phone["epsilon_charged"] > 0 for phone in report["phones"] if phone["reported"])
        assert sum(phone["bytes_sent"] > 0 for phone in report["phones"]) >= report["asked"]["floor"]
        assert report["extrapolation"]["cohort"] == 10_000
        assert report["extrapolation"]["epsilon"] < report["epsilon"]
        assert report["before"]["words"] == report["after"]["words"] > 300
        assert report["before"] != report["after"]
        assert f"release                {report['version']}" in done.stdout
        # All of the first round; a phone that comes back late misses the second, and its fate in it.
        assert 2 <= done.stdout.count("disappears:") <= 4
        assert not _processes_of(home)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_cleanly_in_the_middle_of_a_round(request, tmp_path, number):
    home = tmp_path / "demo"
    # A shell has its background jobs ignore the interrupt, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    process = subprocess.Popen(
        [*COMMAND, "--phones", "4", "--lost", "0", "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "Round 1" in line:
            break
    began = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == 130
    assert time.monotonic() - began < 30
    assert "Stopped: the server and the phones are closed" in out
    assert "Traceback" not in err
    assert not _processes_of(home)


def _processes_of(home):
    """Command lines of processes that still work in the folder."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(home) in line]
