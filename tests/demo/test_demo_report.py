"""Tests of the demo's report: the same figures for people and for programs."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from hushfold_demo.narration import Narration
from hushfold_demo.recall import Recall
from hushfold_demo.report import PhoneReport, Report
from hushfold_demo.server_process import Extrapolation
from hushfold_demo.task import FleetTask

TASK = FleetTask(3, 1, 2)
ONE = PhoneReport("phone 1 (a)", "x", 2, 2, 3000, 5000, 40.0, "1.1.0", Recall(100, 10, 20), Recall(100, 12, 26))
TWO = PhoneReport("phone 2 (b)", "y", 2, 1, 1000, 3000, 55.0, None, Recall(300, 30, 60), Recall(300, 24, 42))
REPORT = Report("1.1.0", 2, 3, 36.9, 1e-5, Extrapolation(10_000, 0.07, 1e-5), 5_651_304, 61.0, (ONE, TWO))


def printed(report):
    out = io.StringIO()
    Console(file=out, width=200).print(report.table())
    return out.getvalue()


def test_the_table_has_the_figures():
    text = printed(REPORT)
    for figure in (
        "1.1.0, verified and adopted by 1 of 2 phones",
        "2 of 3 opened, in 61 s",
        "2, invited 4 times",
        "3 updates in a sum, 1 dropped out",
        "2.0 kB up",
        "4.0 kB down, and 5.7 MB for the release",
        "36.9 at delta 1e-05",
        "55 at most in the phones' own ledgers",
        "0.07 at delta 1e-05, not measured: 10,000 devices in each sum",
        "top-1 recall           10.0 % before, 9.0 % after (-1.0 points)",
        "top-3 recall           20.0 % before, 17.0 % after (-3.0 points)",
        "of 400 words",
    ):
        assert figure in text, figure


def test_a_large_epsilon_is_a_plain_number():
    assert "1,490 at delta" in printed(replace(REPORT, epsilon=1490.4))


def test_no_extrapolation_is_made_up():
    text = printed(replace(REPORT, extrapolation=None))
    assert "this server does not say" in text
    assert "10,000" not in text


def test_the_file_has_the_same_figures_and_each_phones(tmp_path):
    path = tmp_path / "report.json"
    REPORT.write(path, TASK, seed=7)
    document = json.loads(path.read_text())
    assert document["asked"] == {"phones": 3, "lost": 1, "rounds": 2, "floor": 2, "seed": 7}
    assert (document["invited"], document["reported"], document["dropped"], document["adopted"]) == (4, 3, 1, 1)
    assert document["after"] == {"words": 400, "top1_percent": 9.0, "top3_percent": 17.0}
    assert document["extrapolation"] == {"cohort": 10_000, "epsilon": 0.07, "delta": 1e-5}
    assert [phone["version"] for phone in document["phones"]] == ["1.1.0", None]
    assert document["phones"][1]["before"]["top3_percent"] == 20.0


def test_a_phone_without_words_is_no_number_in_the_file():
    report = replace(REPORT, phones=(replace(ONE, before=Recall(), after=Recall()),))
    assert report.document(TASK, 1)["before"] == {"words": 0, "top1_percent": None, "top3_percent": None}


@pytest.mark.parametrize("terminal", [False, True])
def test_brackets_in_what_is_said_are_not_markup(terminal):
    out = io.StringIO()
    narration = Narration(Console(file=out, force_terminal=terminal, width=40))
    with narration.working("Working"):
        narration.now("half way")
        narration.say("[bold]a name[/] " + "long " * 20)
    assert "[bold]a name[/]" in out.getvalue()
    assert ("half way" in out.getvalue()) <= terminal
    assert ("Working ..." in out.getvalue()) is not terminal
