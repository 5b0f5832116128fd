"""The voice's figures as pictures: what base words are taken for, and each speaker's taught words."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .base import NOTHING, Base
from .clips import COMMANDS
from .measuring import HUSHFOLD, MFCC, Results

CONFUSION, SPEAKERS = "confusion.png", "speakers.png"

_INK, _ORANGE, _GREY = "#222222", "#d55e00", "#bbbbbb"  # told apart by colour-blind people too
_DOTS = {"before": (_ORANGE, 12), "1": ("#9ecae1", 9), "3": ("#4292c6", 7), "5": ("#08303b", 4)}
"""By the number of recordings: colour and size."""

_DOTS_PER_INCH = 150


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw the pictures into a folder; their files."""
    files = [folder / CONFUSION, folder / SPEAKERS]
    _confusion(results.base[HUSHFOLD]).savefig(files[0], dpi=_DOTS_PER_INCH)
    _speakers(results).savefig(files[1], dpi=_DOTS_PER_INCH)
    return files


def _confusion(base: Base) -> Figure:
    """Percent of each word's clips, by what they were taken for."""
    figure = Figure(figsize=(7.6, 6.8), layout="constrained")
    axes = figure.subplots()
    shares = 100 * base.confusions / np.maximum(1, base.confusions.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for said, heard in np.argwhere(base.confusions):
        share = shares[said, heard]
        axes.text(
            heard, said, f"{share:.0f}", ha="center", va="center", fontsize=8, color="white" if share > 55 else _INK
        )
    axes.set_xticks(range(len(COMMANDS) + 1), (*COMMANDS, NOTHING), rotation=45, ha="right")
    axes.set_yticks(range(len(COMMANDS)), COMMANDS)
    axes.axvline(len(COMMANDS) - 0.5, color=_INK, linewidth=0.8)
    axes.set_xlabel("taken for")
    axes.set_ylabel("said")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_title(
        f"Base words, % of each word's clips: {base.confusions.sum():,} by {len(base.by_speaker)} unseen speakers",
        fontsize=10,
        loc="left",
        color=_INK,
    )
    return figure


def _speakers(results: Results) -> Figure:
    """Taught words and digits, a row for each speaker, before and after."""
    ours, others = results.personal[HUSHFOLD], results.personal[MFCC]
    digits = {f"{row.takes}" if row.takes else "before": row.by_speaker for row in results.digits}
    order = _order(ours[1].by_speaker_at_one_percent)
    names = _order({speaker: -error for speaker, error in digits["before"].items()})
    figure = Figure(figsize=(11, 1.9 + 0.24 * max(len(order), len(names))), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for axes, rows, title in ((left, ours, "Hushfold"), (middle, others, "MFCC + SVM")):
        by_takes = {f"{row.takes}": [row.by_speaker_at_one_percent[name] for name in order] for row in rows}
        _dots(axes, by_takes, order)
        _plain(axes, f"{title}: taught words, accuracy with\n1 % of foreign clips accepted, %")
    middle.set_yticks([])
    _dots(right, {takes: [100 - errors[name] for name in names] for takes, errors in digits.items()}, names)
    _plain(right, "Hushfold: zero, one, five, eight,\naccuracy, %")
    handles = [axes_line for axes_line in right.get_lines() if not str(axes_line.get_label()).startswith("_")]
    figure.legend(handles=handles, title="recordings of each word", loc="outside lower left", ncols=4, frameon=False)
    return figure


def _dots(axes: Axes, values: dict[str, list[float]], names: list[str]) -> None:
    """A dot for each number of recordings: more of them are smaller and darker, so that none hides another."""
    every = np.array(list(values.values()))
    axes.hlines(range(len(names)), every.min(axis=0), every.max(axis=0), color=_GREY, linewidth=1)
    for label, row in values.items():
        colour, size = _DOTS[label]
        axes.plot(row, range(len(names)), "o", color=colour, label=label, markersize=size, clip_on=False)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _order(values: dict[str, float]) -> list[str]:
    """Names, the best first."""
    return sorted(values, key=lambda name: (-values[name] if not math.isnan(values[name]) else math.inf, name))


def _plain(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9, loc="left", color=_INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#eeeeee")
    axes.set_axisbelow(True)
    axes.set_xlim(-2, 102)
