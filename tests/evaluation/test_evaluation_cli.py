"""The command line, up to the whole: texts in, table, file and picture out."""

import gzip
import json
import os
import signal
import subprocess
import sys

import pytest

from hushfold_console.command import MISUSED
from hushfold_evaluation.cli import main

COMMAND = [sys.executable, "-m", "hushfold_evaluation.cli"]


def run(folder, *arguments):
    environment = {**os.environ, "HUSHFOLD_DATA": str(folder), "COLUMNS": "200"}
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, cwd=folder, env=environment, check=False
    )


@pytest.fixture
def data(tmp_path, public, people):
    (tmp_path / "text").mkdir()
    clients = [{"user": each.name, "time": None, "text": text} for each in people for text in each.messages]
    files = {"a-public": [{"text": text} for text in public], "sms-clients": clients}
    for name, records in files.items():
        path = tmp_path / "text" / f"{name}.jsonl.gz"
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--clients", "none.jsonl"], "none.jsonl cannot be read: there is no such file"),
        (["--clients", "broken.jsonl"], "broken.jsonl, line 1: a JSON object"),
        (["--users", "7"], "--users is 7; the texts have 6 people"),
        (["--only", "oracle"], "there is no predictor 'oracle'. Choose among trigram,"),
        ([], "there are no public texts"),
    ],
)
def test_mistakes_are_told_in_a_sentence(data, arguments, said, monkeypatch, capsys):
    (data / "broken.jsonl").write_text("no json\n")
    (data / "text" / "a-public.jsonl.gz").unlink()
    monkeypatch.chdir(data)
    monkeypatch.setenv("HUSHFOLD_DATA", str(data))
    monkeypatch.setattr(sys, "argv", ["hushfold-evaluate", "--users", "2", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == MISUSED
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1
    assert not (data / "build").exists()


@pytest.mark.slow
def test_people_are_measured_and_the_figures_saved(data):
    arguments = ("--users", 3, "--only", "trigram", "--only", "trigram-personal", "--output", "out")
    done = run(data, *arguments)
    assert done.returncode == 0, done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if not line.startswith("Saved"))
    written = json.loads((data / "out" / "report.json").read_text())
    assert written["asked"] == {"clients": "sms-clients.jsonl.gz", "users": 3, "seed": 0}
    figures = {row["name"]: row for row in written["predictors"]}
    assert list(figures) == ["trigram", "trigram-personal", "base"]
    assert 0 < figures["trigram"]["top3"]["value"] < 100
    assert all(row["cost"]["memory"] > 0 and row["cost"]["p95"] >= row["cost"]["p50"] > 0 for row in figures.values())
    assert all(row["perplexity"]["value"] > 1 for row in figures.values())
    assert (data / "out" / "report.png").stat().st_size > 10_000
    again = run(data, *arguments, "--processes", 1)
    assert "training" not in again.stdout
    repeated = json.loads((data / "out" / "report.json").read_text())
    for row, before in zip(repeated["predictors"], written["predictors"], strict=True):
        assert {**row, "cost": None} == {**before, "cost": None}


@pytest.mark.slow
def test_it_stops_when_asked_to_and_leaves_nothing_behind(data):
    environment = {**os.environ, "HUSHFOLD_DATA": str(data), "PYTHONUNBUFFERED": "1", "TMPDIR": str(data)}
    process = subprocess.Popen(
        [*COMMAND, "--only", "trigram", "--users", "0"], stdout=subprocess.PIPE, text=True, cwd=data, env=environment
    )
    for line in process.stdout:
        if line.startswith("measuring"):
            break
    process.send_signal(signal.SIGTERM)
    assert "Stopped" in process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert not list(data.glob("hushfold-evaluation-*"))
    assert not (data / "build" / "evaluation" / "report.json").exists()
