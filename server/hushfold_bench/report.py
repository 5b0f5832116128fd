"""Figures: tables for a terminal and for a document, and JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from hushfold_protocol.packing import sum_width

from .peer import FlowerFigures
from .rounds import ENCODE, RoundFigures
from .setting import WHOLE_MODEL, Setting
from .yardsticks import AES, Yardstick


@dataclass(frozen=True, slots=True)
class Result:
    """One setting, measured. `flower` is None where it was not asked for or could not be had."""

    figures: RoundFigures
    flower: FlowerFigures | None


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should not exceed."""

    what: str
    most: float
    unit: str
    value: float

    @property
    def met(self) -> bool:
        return self.value <= self.most


@dataclass(frozen=True, slots=True)
class Report:
    """All that came of a run."""

    setting: Setting  # of the yardsticks
    machine: str
    yardsticks: tuple[Yardstick, ...]
    results: tuple[Result, ...]
    remarks: tuple[str, ...] = ()  # sentences: what could not be measured

    def aes_seconds(self, masks: int) -> float:
        """What plain AES takes for so many masks."""
        rate = next(each.rate for each in self.yardsticks if each.name == AES)
        return masks * sum_width(self.setting.bits) * self.setting.dimension / (rate * 1e9)

    def tables(self) -> list[tuple[str, list[str], list[list[str]]]]:
        """Title, head and rows of each table."""
        return [self._ratios(), self._rounds(), self._blocks(), self._goals()]

    def _ratios(self) -> tuple[str, list[str], list[list[str]]]:
        rows = []
        for result in self.results:
            figures, flower = result.figures, result.flower
            device, server = figures.device_seconds.cpu, figures.server_seconds.cpu
            against = ["", "", ""]
            if flower is not None:
                whole = device + figures.device[ENCODE].cpu
                against = [
                    f"{flower.device_seconds / whole:.1f}",
                    f"{flower.server_seconds / server:.0f}",
                    f"{flower.up / figures.up:.1f}",
                ]
            rows.append(
                [
                    *_name(figures),
                    f"{device / self.aes_seconds(figures.device_masks):.1f}",
                    f"{server / self.aes_seconds(figures.server_masks):.1f}",
                    f"{figures.up / figures.plaintext:.3f}",
                    *against,
                ]
            )
        head = [
            "devices", "lost", "device, x AES", "server, x AES", "up, x plain",
            "Flower: device", "server", "up",
        ]  # fmt: skip
        return "Ratios", head, rows

    def _rounds(self) -> tuple[str, list[str], list[list[str]]]:
        rows = [
            [
                *_name(figures),
                f"{1e3 * figures.device_seconds.cpu:.0f} ms",
                f"{1e3 * figures.device[ENCODE].cpu:.0f} ms",
                f"{figures.server_seconds.cpu:.2f} s",
                f"{figures.up / 1e6:.2f} MB",
                f"{figures.down / 1e3:.0f} KB",
                f"{figures.server_memory / 1e6:.0f} MB",
                f"{figures.device_memory / 1e6:.0f} MB",
            ]
            for figures in (result.figures for result in self.results)
        ]
        head = ["devices", "lost", "device", "encoding", "server", "up", "down", "server's", "device's memory"]
        return "Rounds", head, rows

    def _blocks(self) -> tuple[str, list[str], list[list[str]]]:
        rows = [
            [each.title, f"{1e3 * each.seconds:.1f} ms", f"{each.rate:.2f} GB/s", f"{each.aes:.2f}"]
            for each in self.yardsticks
        ]
        return "Building blocks", ["", "time", "rate", "of AES"], rows

    def _goals(self) -> tuple[str, list[str], list[list[str]]]:
        rows = [
            [goal.what, f"{goal.value:.3g} {goal.unit}", f"{goal.most:g} {goal.unit}", "met" if goal.met else "missed"]
            for goal in self.goals()
        ]
        return "Goals", ["", "measured", "at most", ""], rows

    def goals(self) -> list[Goal]:
        """Those that this run has figures for: none, unless updates are as long as the shipped model's."""
        goals: list[Goal] = []
        if self.setting.dimension != WHOLE_MODEL:
            return goals
        for figures in (result.figures for result in self.results):
            devices, lost = figures.setting.devices, figures.setting.lost
            where = f"{devices} devices, {lost} % lost"
            if devices == 100:
                goals.append(Goal(f"device, {where}", 120, "ms", 1e3 * figures.device_seconds.cpu))
            most = {(100, 0): 0.25, (100, 10): 1.2, (100, 30): 2.5, (1000, 10): 12.0}.get((devices, lost))
            if most is not None:
                goals.append(Goal(f"server, {where}", most, "s", figures.server_seconds.cpu))
            if (devices, lost) == (1000, 10):
                goals.append(Goal(f"server's memory, {where}", 250, "MB", figures.server_memory / 1e6))
            most_up = 1.01 * figures.plaintext + 50_000
            goals.append(Goal(f"upload, {where}", most_up / 1e6, "MB", figures.up / 1e6))
        noise = next((each for each in self.yardsticks if each.name == "noise"), None)
        if noise is not None:
            goals.append(Goal(noise.title, 20, "ms", 1e3 * noise.seconds))
        return goals

    def markdown(self) -> str:
        """The tables as a document has them."""
        parts = [f"{self.machine}. Figures are processor time, but for bytes."]
        for title, head, rows in self.tables():
            if rows:
                lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
                parts += [f"### {title}", "\n".join(lines)]
        parts += self.remarks
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path) -> list[Path]:
        """`bench.json` and `bench.md`."""
        folder.mkdir(parents=True, exist_ok=True)
        figures, document = folder / "bench.json", folder / "bench.md"
        figures.write_text(json.dumps(self._json(), indent=1) + "\n")
        document.write_text(self.markdown())
        return [figures, document]

    def _json(self) -> dict[str, Any]:
        return asdict(self) | {"goals": [asdict(goal) | {"met": goal.met} for goal in self.goals()]}


def terminal_tables(report: Report) -> list[Table]:
    """The same tables, for a terminal."""
    tables = []
    for title, head, rows in report.tables():
        if not rows:
            continue
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
        for place, name in enumerate(head):
            table.add_column(name, justify="right" if place or rows[0][0][0].isdigit() else "left")
        for row in rows:
            table.add_row(*row)
        tables.append(table)
    return tables


def machine() -> str:
    """The processor and how many cores of it this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{_processor()}, {cores} core{'s' * (cores != 1)}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names: Sequence[str] = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _name(figures: RoundFigures) -> list[str]:
    return [f"{figures.setting.devices:,}", f"{figures.setting.lost} %"]
