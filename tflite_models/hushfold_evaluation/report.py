"""Figures from scores: for programs as JSON, for people as tables that fit into 80 columns."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from .contenders import BASE, Contender
from .costs import COPIED, Cost
from .protocol import Score
from .statistics import ELIGIBLE_WORDS, Estimate, Rows, Statistic, bootstrap, holm, mcnemar

_WORDS, _TOP1, _TOP3, _KEYS, _SAVED, _NATS, _SCORED, _OTHER_TOP3, _ELIGIBLE, _BETTER, _WORSE = range(11)  # columns


@dataclass(frozen=True, slots=True)
class Row:
    """One contender's figures, percentages but for perplexity and ratio, each with its interval.

    `ratio` is top-3 over that of the same predictor without what it learns from the person. `better` and `worse` are
    shares of the `eligible` people with a significant difference to the base.
    """

    name: str
    title: str
    learns: bool
    words: int
    top1: Estimate
    top3: Estimate
    ksr3: Estimate
    perplexity: Estimate
    ratio: Estimate
    better: Estimate
    worse: Estimate
    eligible: int
    cost: Cost | None


@dataclass(frozen=True, slots=True)
class Report:
    """All that came of an evaluation. `missing`: contenders that are not installed."""

    people: int
    rows: tuple[Row, ...]
    missing: tuple[Contender, ...]

    @classmethod
    def of(
        cls,
        contenders: Sequence[Contender],
        scores: Mapping[str, Sequence[Score]],
        costs: Mapping[str, Cost],
        samples: NDArray[np.int64],
    ) -> Report:
        """Contenders without scores are those that are missing."""
        rows = tuple(_row(each, scores, costs, samples) for each in contenders if each.name in scores)
        missing = tuple(each for each in contenders if each.name not in scores)
        return cls(samples.shape[1], rows, missing)

    def document(self) -> dict[str, Any]:
        """Everything, as JSON values: null stands for what there is not."""
        rows = [asdict(row) for row in self.rows]
        missing = [{"name": each.name, "packages": each.packages} for each in self.missing]
        document: dict[str, Any] = _without_nan({"people": self.people, "predictors": rows, "not_installed": missing})
        return document

    def write(self, path: Path, asked: Mapping[str, Any]) -> None:
        """Writes `document` to a file, with what was asked for."""
        path.write_text(json.dumps({"asked": dict(asked), **self.document()}, indent=2) + "\n")

    def figures(self) -> Table:
        """How good the suggestions are."""
        table = _table("", "top-1 %", "top-3 %", "KSR@3 %", "perplex.", "ratio", "better", "worse")
        for row in self.rows:
            cells = [(each, 1) for each in (row.top1, row.top3, row.ksr3, row.perplexity)] + [(row.ratio, 2)]
            if row.name != BASE:
                cells += [(row.better, 0), (row.worse, 0)]
            table.add_row(f"[bold]{row.title}[/]", *(_number(each, digits) for each, digits in cells))
            table.add_row("", *(f"[dim]{_interval(each, digits)}[/]" for each, digits in cells))
        for contender in self.missing:
            table.add_row(f"[bold]{contender.title}[/]", "not", "installed")
        return table

    def costs(self) -> Table:
        """What they cost on this machine."""
        table = _table("", "memory", "p50", "p95", "of a copy", "learning")
        for row in self.rows:
            if row.cost is not None:
                cost = row.cost
                table.add_row(
                    f"[bold]{row.title}[/]",
                    f"{cost.memory / 1e6:.1f} MB",
                    f"{1e3 * cost.p50:.2f} ms",
                    f"{1e3 * cost.p95:.2f} ms",
                    f"{cost.p50 / cost.copy:.1f} x",
                    f"{cost.learning:.2f} s",
                )
        return table

    def notes(self) -> list[str]:
        """What the tables mean."""
        words = self.rows[0].words if self.rows else 0
        eligible = self.rows[0].eligible if self.rows else 0
        notes = [
            f"{self.people} people, {words:,} words. Below each figure: its 95 % interval, by resampling people. "
            "ratio: top-3 over the same without learning. "
            f"better, worse: % of the {eligible} people with {ELIGIBLE_WORDS} words or more for whom it differs "
            "significantly from the base (exact one-sided test of top-3 hits, Holm-corrected).",
            "memory: added to Python, the SDK's code and the LiteRT runtime, by what learned and suggested. "
            "p50, p95: of a suggestion, on one core. "
            f"of a copy: p50 over the time to copy {COPIED >> 20} MiB. "
            "learning: from one person, processor time.",
        ]
        for contender in self.missing:
            notes.append(
                f"{contender.title} is not installed: `make system-deps` does that on Debian "
                f"(apt-get install {' '.join(contender.packages)})."
            )
        return notes


def _row(
    contender: Contender, scores: Mapping[str, Sequence[Score]], costs: Mapping[str, Cost], samples: NDArray[np.int64]
) -> Row:
    rows = _rows(scores[contender.name], scores[BASE], scores.get(contender.without))
    figures = {
        "top1": _share(_TOP1, _WORDS),
        "top3": _share(_TOP3, _WORDS),
        "ksr3": _share(_SAVED, _KEYS),
        "perplexity": _perplexity,
        "ratio": lambda sums: sums[..., _TOP3] / sums[..., _OTHER_TOP3],
        "better": _share(_BETTER, _ELIGIBLE),
        "worse": _share(_WORSE, _ELIGIBLE),
    }
    return Row(
        contender.name,
        contender.title,
        contender.learns,
        words=int(rows[:, _WORDS].sum()),
        eligible=int(rows[:, _ELIGIBLE].sum()),
        cost=costs.get(contender.name),
        **{name: bootstrap(rows, samples, statistic) for name, statistic in figures.items()},
    )


def _rows(scores: Sequence[Score], base: Sequence[Score], without: Sequence[Score] | None) -> Rows:
    """Each person's part of every sum, `[people, columns]`."""
    rows = np.zeros((len(scores), 11))
    for row, score in zip(rows, scores, strict=True):
        row[_WORDS : _SCORED + 1] = (
            len(score.top1),
            sum(score.top1),
            sum(score.top3),
            score.keys,
            score.saved,
            score.nats,
            score.scored,
        )
    rows[:, _OTHER_TOP3] = [sum(score.top3) for score in without] if without else math.nan
    eligible = [index for index, score in enumerate(scores) if len(score.top3) >= ELIGIBLE_WORDS]
    rows[eligible, _ELIGIBLE] = 1
    rows[eligible, _BETTER] = _significant(scores, base, eligible)
    rows[eligible, _WORSE] = _significant(base, scores, eligible)
    return rows


def _significant(scores: Sequence[Score], others: Sequence[Score], eligible: Sequence[int]) -> list[bool]:
    """For which people the scores are better than the others."""
    p_values = []
    for index in eligible:
        pairs = list(zip(scores[index].top3, others[index].top3, strict=True))
        p_values.append(mcnemar(pairs.count((True, False)), pairs.count((False, True))))
    return holm(p_values)


def _share(part: int, whole: int) -> Statistic:
    return lambda sums: 100 * sums[..., part] / sums[..., whole]


def _perplexity(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    perplexity: NDArray[np.float64] = np.exp(sums[..., _NATS] / sums[..., _SCORED])
    return perplexity


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    return table


def _number(estimate: Estimate, digits: int = 1) -> str:
    return "" if math.isnan(estimate.value) else f"{estimate.value:.{_digits(estimate, digits)}f}"


def _interval(estimate: Estimate, digits: int = 1) -> str:
    if math.isnan(estimate.low):
        return ""
    digits = _digits(estimate, digits)
    return f"{estimate.low:.{digits}f}-{estimate.high:.{digits}f}"


def _digits(estimate: Estimate, digits: int) -> int:
    return digits if estimate.value < 100 else 0


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value
