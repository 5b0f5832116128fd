"""What an operator reads: tables that fit a terminal of 80 columns, and below them what takes a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.table import Table

from .database import Phase
from .overview import ReleaseOverview, TaskOverview


def task_table(tasks: Sequence[TaskOverview]) -> Table:
    """One line for each task."""
    table = Table("task", "status", "rounds", "newest round", "epsilon spent", box=None, pad_edge=False)
    for row in tasks:
        newest = "none yet"
        if row.round:
            newest = f"{row.round.number} {row.round.phase}"
            newest += "" if row.round.phase is Phase.ABORTED else f", {row.round.joined} joined"
        table.add_row(
            row.name,
            row.status,
            f"{row.rounds_done} of {row.rounds_planned}",
            newest,
            f"{row.epsilon:.3g} of {row.budget_epsilon:g}",
        )
    return table


def task_notes(tasks: Sequence[TaskOverview]) -> Iterator[str]:
    """What a table has no room for."""
    for row in tasks:
        yield f"{row.name}: for the devices of {row.population}; epsilon at delta {row.delta:g}"
        if row.reason:
            yield f"{row.name}: {row.status}: {row.reason}"
        for each in row.rounds:
            # Of aborted rounds the newest matters; discarded ones mean that a device has cheated.
            if each.reason and (each == row.round or each.phase is Phase.DISCARDED):
                yield f"{row.name}: round {each.number} {each.phase}: {each.reason}"
        if row.extrapolation:
            yield f"{row.name}: {row.extrapolation}"


def release_table(releases: Sequence[ReleaseOverview]) -> Table:
    """One line for each release."""
    table = Table("release", "model", "version", "status", "rollout", "from", "published", box=None, pad_edge=False)
    for row in releases:
        table.add_row(
            str(row.number),
            row.model,
            row.version,
            row.status,
            f"{row.rollout_percent} %",
            row.task or "base model",
            "" if row.published_at is None else f"{datetime.fromtimestamp(row.published_at, UTC):%Y-%m-%d}",
        )
    return table


def release_notes(releases: Sequence[ReleaseOverview]) -> Iterator[str]:
    """Why releases were withdrawn."""
    for row in releases:
        if row.reason:
            yield f"release {row.number}: {row.status}: {row.reason}"
