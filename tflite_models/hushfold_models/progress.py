"""A bar that shows how far a training run is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from .pretraining import Point


@contextmanager
def training_bar(epochs: int, unit: str) -> Iterator[Callable[[Point], None]]:
    """What a run reports its points to; `unit` is what a loss is the mean over."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.1f} %"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    ) as bars:
        bar = bars.add_task("reading the data", total=epochs)

        def show(point: Point) -> None:
            bars.update(bar, completed=point.epochs, description=f"step {point.step:,}, loss {point.loss:.3f}")
            if point.held_out is not None:
                bars.print(f"epoch {point.epochs:.0f} of {epochs}: held-out loss {point.held_out:.3f} nats per {unit}")

        yield show
