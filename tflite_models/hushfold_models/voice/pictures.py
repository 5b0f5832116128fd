"""Pictures for the model card."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.figure import Figure

from .config import COMMANDS, LABELS
from .quality import Figures

_INK = "#222222"
_DOTS_PER_INCH = 100


def draw_confusion(figures: Figures) -> bytes:
    """A PNG of what was said against what was heard, in percent of what was said."""
    counts = np.array(figures.confusion)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(7, 5.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for row, column in np.ndindex(shares.shape):
        if counts[row, column]:
            colour = "white" if shares[row, column] > 50 else _INK
            axes.text(column, row, f"{shares[row, column]:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(LABELS)), LABELS, rotation=45, ha="right")
    axes.set_yticks(range(len(COMMANDS)), COMMANDS)
    axes.set_xlabel("heard", color=_INK)
    axes.set_ylabel("said, by speakers that nothing was trained on", color=_INK)
    axes.set_title(f"{figures.clips} clips, in percent of each word", loc="left", fontsize=10, color=_INK)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    return picture.getvalue()
