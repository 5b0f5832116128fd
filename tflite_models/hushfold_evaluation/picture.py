"""The figures as a picture: a dot and its interval for each predictor, and who is better or worse off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from .contenders import BASE
from .report import Report, Row
from .statistics import ELIGIBLE_WORDS, Estimate

_INK, _BLUE, _ORANGE, _GREY = "#222222", "#0072b2", "#d55e00", "#bbbbbb"  # told apart by colour-blind people too
_DOTS_PER_INCH = 150


def draw(report: Report, path: Path, about: str) -> None:
    """Draw a report into a PNG file. `about` says whose texts these are."""
    rows = report.rows
    figure = Figure(figsize=(11, 1.7 + 0.42 * len(rows)), layout="constrained")
    axes = figure.subplots(1, 4, sharey=True, width_ratios=(3, 3, 3, 2.5))
    _dots(axes[0], "top-1, % of words", [row.top1 for row in rows], rows)
    _dots(axes[1], "top-3, % of words", [row.top3 for row in rows], rows)
    _dots(axes[2], "KSR@3, % of keys saved", [row.ksr3 for row in rows], rows)
    _shares(axes[3], rows)
    axes[0].set_yticks(range(len(rows)), [row.title for row in rows])
    axes[0].set_ylim(len(rows) - 0.4, -0.6)
    figure.suptitle(f"{about}: {report.people} people, {rows[0].words:,} words", x=0.01, ha="left", color=_INK)
    figure.supxlabel(
        "Full dots: has learned from each person's earlier messages. Lines: 95 % intervals, by resampling people",
        x=0.01,
        ha="left",
        fontsize="small",
        color=_INK,
    )
    figure.savefig(path, dpi=_DOTS_PER_INCH)


def _dots(axes: Axes, title: str, estimates: Sequence[Estimate], rows: Sequence[Row]) -> None:
    _plain(axes, title)
    for height, (estimate, row) in enumerate(zip(estimates, rows, strict=True)):
        colour = _ORANGE if row.name == BASE else _BLUE
        axes.plot((estimate.low, estimate.high), (height, height), color=colour, linewidth=2)
        axes.plot(estimate.value, height, "o", color=colour, markerfacecolor=colour if row.learns else "white")
        axes.annotate(
            f"{estimate.value:.1f}",
            (estimate.value, height),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )
    base = next((each.value for each, row in zip(estimates, rows, strict=True) if row.name == BASE), math.nan)
    axes.axvline(base, color=_ORANGE, linewidth=0.8, linestyle=":")
    axes.set_xlim(left=0)


def _shares(axes: Axes, rows: Sequence[Row]) -> None:
    _plain(axes, f"worse | better than {BASE},\n% of people with {ELIGIBLE_WORDS}+ words")
    for height, row in enumerate(rows):
        if row.name != BASE and row.eligible:
            axes.barh(height, row.better.value, 0.5, color=_BLUE)
            axes.barh(height, -row.worse.value, 0.5, color=_GREY)
            axes.text(row.better.value + 3, height, f"{row.better.value:.0f}", va="center", fontsize=8)
            axes.text(-row.worse.value - 3, height, f"{row.worse.value:.0f}", va="center", ha="right", fontsize=8)
    axes.axvline(0, color=_INK, linewidth=0.8)
    axes.set_xlim(-120, 120)
    axes.set_xticks((-100, 0, 100), ("100", "0", "100"), fontsize=8)


def _plain(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10, loc="left", color=_INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#eeeeee")
    axes.set_axisbelow(True)
