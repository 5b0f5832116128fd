"""The loss curve of a training run, as a picture for the model card."""

from __future__ import annotations

import io
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from .pretraining import Point

_INK, _BLUE, _ORANGE = "#222222", "#0072b2", "#d55e00"  # told apart by colour-blind people too
_DOTS_PER_INCH = 100
_TICKS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)  # of a decade


def draw(history: Sequence[Point], *, unit: str = "nats per word", unseen: str = "held-out messages") -> bytes:
    """A PNG of the loss while training and on what is unseen. The same history gives the same bytes."""
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    training = [point for point in history if point.held_out is None]
    axes.plot([p.epochs for p in training], [p.loss for p in training], color=_BLUE, linewidth=1)
    held_out = [(point.epochs, point.held_out) for point in history if point.held_out is not None]
    axes.plot(*zip(*held_out, strict=True), "o-", color=_ORANGE)
    axes.set_xlabel("epochs", color=_INK)
    axes.set_ylabel(unit, color=_INK)
    axes.set_title(f"Loss while training (line) and on {unseen} (dots)", loc="left", fontsize=10, color=_INK)
    axes.set_yscale("log")  # or the beginning would flatten the rest
    axes.yaxis.set_major_locator(LogLocator(subs=_TICKS))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eeeeee")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return picture.getvalue()
