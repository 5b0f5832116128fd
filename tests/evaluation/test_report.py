"""From scores to figures, to the table, the file and the picture."""

import json
import math
from io import StringIO

import pytest
from rich.console import Console

from hushfold_evaluation.contenders import BASE, BY_NAME
from hushfold_evaluation.costs import Cost
from hushfold_evaluation.picture import draw
from hushfold_evaluation.protocol import Score
from hushfold_evaluation.report import Report
from hushfold_evaluation.statistics import resamples

WORDS = 240
PEOPLE = 4


def score(hits, words=WORDS, scored=10):
    """Hits on the first words."""
    top3 = tuple(at < hits for at in range(words))
    return Score(top3, top3, 5 * words, 2 * words, scored * math.log(50), scored)


def report(costs=True, people=PEOPLE):
    scores = {
        "trigram": [score(40)] * people,
        "trigram-personal": [score(60), score(100), score(52), score(20, words=30)][:people],
        BASE: [score(50), score(50), score(50), score(5, words=30)][:people],
        "onboard": [score(51, scored=0), score(20, scored=0), score(52, scored=0), score(8, 30, 0)][:people],
    }
    contenders = [BY_NAME[name] for name in ("trigram", "trigram-personal", BASE, "presage", "onboard")]
    cost = Cost(memory=20_500_000, p50=0.8e-3, p95=1.5e-3, copy=0.04e-3, learning=0.31, messages=200)
    scores["trigram"] = [score(40, len(each.top3)) for each in scores[BASE]]
    return Report.of(contenders, scores, dict.fromkeys(scores, cost) if costs else {}, resamples(people, seed=0))


@pytest.fixture(scope="module")
def rows():
    return {row.name: row for row in report().rows}


def test_figures_are_of_all_words_together(rows):
    personal = rows["trigram-personal"]
    assert personal.words == 3 * WORDS + 30
    assert personal.top3.value == pytest.approx(100 * 232 / 750)
    assert personal.top3.low < personal.top3.value < personal.top3.high
    assert personal.ksr3.value == pytest.approx(40)
    assert personal.perplexity.value == pytest.approx(50)
    assert personal.ratio.value == pytest.approx(232 / (3 * 40 + 30))


def test_what_a_predictor_does_not_have_is_nan(rows):
    assert math.isnan(rows["onboard"].perplexity.value)
    assert math.isnan(rows[BASE].ratio.value)


def test_only_people_who_write_enough_are_tested_alone(rows):
    """60, 100 and 52 hits beside 50 of the same words: p is 2^-10, 2^-50 and 1/4."""
    assert rows["trigram-personal"].eligible == 3
    assert rows["trigram-personal"].better.value == pytest.approx(200 / 3)
    assert rows["trigram-personal"].worse.value == 0
    assert rows["onboard"].worse.value == pytest.approx(100 / 3)
    assert rows["onboard"].better.value == 0
    assert rows[BASE].better.value == rows[BASE].worse.value == 0


def printed(shown):
    out = StringIO()
    console = Console(file=out, width=80)
    for renderable in (shown.figures(), shown.costs(), *shown.notes()):
        console.print(renderable)
    return out.getvalue()


def test_the_tables_fit_into_80_columns():
    text = printed(report())
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "\u2026" not in text
    for figure in ("30.9", "67", "33", "0.80 ms", "20.0 x", "20.5 MB"):
        assert figure in text


def test_what_is_not_installed_says_how_to_get_it():
    text = printed(report())
    assert "not installed" in text
    assert "make system-deps" in text
    assert "apt-get install presage" in " ".join(text.split())


def test_the_file_holds_everything_and_is_json(tmp_path):
    report().write(tmp_path / "report.json", {"seed": 0})
    written = json.loads((tmp_path / "report.json").read_text(), parse_constant=lambda _: pytest.fail("not JSON"))
    assert written["asked"] == {"seed": 0}
    assert written["people"] == PEOPLE
    assert [row["name"] for row in written["predictors"]] == ["trigram", "trigram-personal", BASE, "onboard"]
    assert written["predictors"][1]["top3"]["value"] == pytest.approx(100 * 232 / 750)
    assert written["predictors"][2]["ratio"] == {"value": None, "low": None, "high": None}
    assert written["predictors"][0]["cost"]["memory"] == 20_500_000
    assert written["not_installed"][0]["name"] == "presage"


@pytest.mark.parametrize("people", [1, PEOPLE])
def test_a_picture_is_drawn(tmp_path, people):
    draw(report(costs=False, people=people), tmp_path / "report.png", "texts")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
