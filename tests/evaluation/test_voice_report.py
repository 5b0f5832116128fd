"""From what was measured of the voice to the tables, the file and the pictures."""

import json
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from hushfold_evaluation.statistics import Estimate
from hushfold_evaluation.voice import picture, report
from hushfold_evaluation.voice.base import Alone, Base
from hushfold_evaluation.voice.clips import COMMANDS
from hushfold_evaluation.voice.digits import DigitTrial
from hushfold_evaluation.voice.digits import figures as digit_figures
from hushfold_evaluation.voice.figures import Rate, Share
from hushfold_evaluation.voice.measuring import HUSHFOLD, MFCC, NOISE, POCKETSPHINX, SPEECH, Results
from hushfold_evaluation.voice.personal import PersonalFigures
from hushfold_evaluation.voice.streaming import Streamed


def base():
    confusions = np.zeros((12, 13), np.int64)
    np.fill_diagonal(confusions, 45)
    confusions[:, -1] = 5
    speakers = {f"sc-{number}": Share(9, 10) for number in range(60)}
    wide, none = Estimate(100.0, 100.0, 100.0), Estimate(float("nan"), float("nan"), float("nan"))
    accuracy, foreign = Estimate(90.0, 88.8, 91.2), Estimate(0.5, 0.0, 1.0)
    alone = Alone(wide, Estimate(62.5, 60.0, 65.0), foreign)
    return Base(confusions, speakers, wide, accuracy, 10.0, 90.0, foreign, none, 200, alone)


def personal(takes, threshold=0.4):
    wide = Estimate(100.0, 100.0, 100.0)
    names = [f"pw-{number:010}" for number in range(3)]
    return PersonalFigures(
        takes=takes,
        speakers=3,
        clips=90,
        closest=wide,
        accuracy=Estimate(95.6, 91.1, 98.9),
        worst=86.7,
        at_one_percent=wide,
        worst_at_one_percent=100.0,
        threshold=threshold,
        foreign=Estimate(0.9, 0.4, 1.3),
        others=Estimate(12.3, 10.0, 14.0),
        untaught=wide,
        others_at_one_percent=wide,
        untaught_at_one_percent=wide,
        refused=2 if takes == 1 else 0,
        by_speaker=dict.fromkeys(names, 90.0),
        by_speaker_at_one_percent=dict(zip(names, (90.0, 80.0, 100.0), strict=True)),
    )


def results(*, streams=True, missing=()):
    trials = [
        DigitTrial(speaker, takes, Share(errors, 20), Share(1, 30))
        for speaker in ("george", "jackson")
        for takes, errors in ((0, 8), (1, 6), (3, 4), (5, 2))
    ]
    nan = float("nan")
    return Results(
        base={HUSHFOLD: base(), MFCC: base()},
        personal={name: [personal(takes, float("inf")) for takes in (1, 3, 5)] for name in (HUSHFOLD, MFCC)},
        digits=digit_figures(trials, seed=0),
        alarms={SPEECH: Rate(2, 1.0), NOISE: Rate(0, 0.5)} if streams else {},
        streamed=Streamed(3600.2, 0.0312, 21_400_000, 0.1872, nan, Share(400, 430), Share(430, 450), Rate(3, 1.0))
        if streams
        else None,
        missing=missing,
    )


def printed(shown):
    out = StringIO()
    console = Console(file=out, width=80, highlight=False)
    for renderable in report.tables(shown):
        console.print(renderable)
    return out.getvalue()


@pytest.mark.parametrize("streams", [True, False])
def test_the_tables_fit_into_80_columns(streams):
    text = printed(results(streams=streams))
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "\u2026" not in text
    assert "nan" not in text
    for figure in ("90.0", "95.6", "91.1-98.9", "86.7", "0.50", "40.0"):
        assert figure in text
    for figure in ("6.3", "6.0", "187 ms", "21.4 MB", "3.1", "93.0"):
        assert (figure in text) >= streams
    assert "2 recordings were refused" in text


def test_what_is_not_installed_says_how_to_get_it():
    text = " ".join(printed(results(missing=(POCKETSPHINX,))).split())
    assert "pocketsphinx not installed" in text
    assert "pip install pocketsphinx" in text


def test_the_file_holds_everything_and_is_json(tmp_path):
    report.write(tmp_path / "report.json", {"seed": 0}, results(missing=(POCKETSPHINX,)))
    written = json.loads((tmp_path / "report.json").read_text(), parse_constant=lambda _: pytest.fail("not JSON"))
    assert written["asked"] == {"seed": 0}
    ours = written["base_words"][HUSHFOLD]
    assert ours["accuracy"]["value"] == pytest.approx(90)
    assert ours["foreign"]["value"] == pytest.approx(0.5)
    assert ours["alone"]["accuracy"] == {"value": 62.5, "low": 60.0, "high": 65.0}
    assert ours["at_one_percent"] == {"value": None, "low": None, "high": None}
    assert ours["confusions"]["said"] == list(COMMANDS)
    assert len(ours["confusions"]["clips"][0]) == len(ours["confusions"]["heard"]) == 13
    assert written["false_alarms"][NOISE]["per_hour_at_most"] == pytest.approx(5.99, abs=0.01)
    assert [row["takes"] for row in written["personal_words"][HUSHFOLD]] == [1, 3, 5]
    assert written["personal_words"][HUSHFOLD][0]["threshold"] is None
    assert [row["ratio"]["value"] for row in written["digits"]] == [None, 0.75, 0.5, 0.25]
    assert written["stream"]["cpu_percent"] == pytest.approx(3.12)
    assert written["stream"]["latency_seconds"] == {"p50": 0.1872, "p95": None}
    assert written["not_installed"] == [POCKETSPHINX]


def test_pictures_are_drawn(tmp_path):
    files = picture.draw(results(), tmp_path)
    assert sorted(file.name for file in files) == ["confusion.png", "speakers.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
