"""Tests of the demo's report: the same figures for people and for programs."""

import io
import json
from dataclasses import replace

from rich.console import Console

from hushfold_demo.recall import Recall
from hushfold_demo.report import PhoneReport, Report
from hushfold_demo.rounds import Round
from hushfold_demo.server_process import Extrapolation
from hushfold_demo.task import FleetTask

TASK = FleetTask(3, 1, 2)
ONE = PhoneReport("phone 1 (a)", "x", 2, 2, 1, 1, 3000, 5000, 40.0, "1.1.0", Recall(100, 10, 20), Recall(100, 12, 26))
TWO = PhoneReport("phone 2 (b)", "y", 2, 1, 1, 0, 1000, 3000, 55.0, None, Recall(300, 30, 60), Recall(300, 24, 42))
HISTORY = (
    Round(1, "learned", "", 2, 2, 2, 20.0),
    Round(2, "aborted", "too few joined", 2, 1, 0, None),
    Round(3, "released", "", 2, 2, 1, 36.9),
)
REPORT = Report("1.1.0", 2, HISTORY, 36.9, 1e-5, Extrapolation(10_000, 0.07, 1e-5), 5_651_304, 61.0, (ONE, TWO))


def printed(report, width=200):
    out = io.StringIO()
    Console(file=out, width=width).print(report.tables())
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def test_the_table_has_the_figures():
    text = "\n".join(printed(REPORT))
    for figure in (
        "release 1.1.0, verified and adopted by 1 of 2 phones",
        "rounds 2 of 3 opened, in 61 s",
        "2.0 kB up",
        "4.0 kB down, and 5.7 MB for the release",
        "36.9 at delta 1e-05",
        "55 at most in the phones' ledgers",
        "0.07 at delta 1e-05 with 10,000 devices in each sum\nand the same noise in the mean; not measured",
        "top-1 recall 10.0 % before, 9.0 % after (-1.0 points)",
        "top-3 recall 20.0 % before, 17.0 % after (-3.0 points)",
        "of 400 words",
    ):
        assert figure in text, figure


def test_invitations_updates_and_phones_that_drop_out_add_up():
    lines = printed(REPORT)
    assert lines[1:6] == [
        "round invited in the sum dropped out epsilon so far",
        "1 2 2 0 20",
        "2 2 0 2 aborted",
        "3 2 1 1 36.9",
        "all 6 3 3 36.9",
    ]
    for invited, reported, dropped in ((2, 2, 0), (2, 0, 2), (2, 1, 1), (6, 3, 3)):
        assert invited == reported + dropped
    assert "phones lost 1 before their upload: they dropped out" in lines
    assert "1 after their upload: these updates are in the sum" in lines
    assert "2 more dropped out: late, or in an aborted round" in lines


def test_nothing_is_said_of_phones_that_were_not_lost():
    phones = tuple(replace(phone, disappeared=0, disappeared_late=0) for phone in REPORT.phones)
    assert not any("lost" in line for line in printed(replace(REPORT, phones=phones, history=HISTORY[:1])))


def test_the_tables_fit_80_columns():
    large = replace(
        REPORT, epsilon=123_456.7, seconds=1234.0, phones=(replace(ONE, epsilon_charged=123_456.7), *[TWO] * 199)
    )
    assert printed(large, width=80) == printed(large, width=200)


def test_a_large_epsilon_is_a_plain_number():
    assert any("1,490 at delta" in line for line in printed(replace(REPORT, epsilon=1490.4)))


def test_no_extrapolation_is_made_up():
    text = "\n".join(printed(replace(REPORT, extrapolation=None)))
    assert "this server does not say" in text
    assert "10,000" not in text


def test_the_file_has_the_same_figures_and_each_phones(tmp_path):
    path = tmp_path / "report.json"
    REPORT.write(path, TASK, seed=7)
    document = json.loads(path.read_text())
    assert document["asked"] == {"phones": 3, "lost": 1, "rounds": 2, "floor": 2, "seed": 7}
    assert (document["invited"], document["reported"], document["dropped"], document["adopted"]) == (6, 3, 3, 1)
    assert (document["rounds"], document["rounds_opened"]) == (2, 3)
    assert [each["dropped"] for each in document["history"]] == [0, 2, 1]
    assert list(tmp_path.iterdir()) == [path]
    assert document["after"] == {"words": 400, "top1_percent": 9.0, "top3_percent": 17.0}
    assert document["extrapolation"] == {"cohort": 10_000, "epsilon": 0.07, "delta": 1e-5}
    assert [phone["version"] for phone in document["phones"]] == ["1.1.0", None]
    assert document["phones"][1]["before"]["top3_percent"] == 20.0


def test_a_phone_without_words_is_no_number_in_the_file():
    report = replace(REPORT, phones=(replace(ONE, before=Recall(), after=Recall()),))
    assert report.document(TASK, 1)["before"] == {"words": 0, "top1_percent": None, "top3_percent": None}
