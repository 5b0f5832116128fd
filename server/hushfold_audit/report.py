"""Claims and findings: as a table for people, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from .canaries import Canaries
from .estimates import Bound, Fit, gaussian_fit, one_run_bound
from .observers import OBSERVERS
from .seen import SeenTask
from .setting import Setting

CONFIDENCE = 0.99  # that nothing is said to exceed its claim which does not, over all observers of one task
_STATEMENTS = 2 * len(OBSERVERS)  # of one task: a bound and the lower end of an interval for each observer


@dataclass(frozen=True, slots=True)
class Finding:
    """What one observer learns about who was included."""

    observer: str
    bound: Bound
    fit: Fit

    @property
    def at_least(self) -> float:
        """Epsilon is no less, as far as this observer can show."""
        return max(self.bound.epsilon, self.fit.low)


@dataclass(frozen=True, slots=True)
class Audited:
    """One task: what its ledger claims, and what the observers find."""

    planted: str | None  # the bug; None for the product as it is
    rounds: int
    claimed: float  # epsilon of the ledger for the devices that took part
    delta: float
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, planted: str | None, task: SeenTask, canaries: Canaries) -> Audited:
        """Lets every observer of a task guess."""
        significance = (1 - CONFIDENCE) / _STATEMENTS
        findings = []
        for name, scores_of in OBSERVERS.items():
            scores = scores_of(task, canaries)
            bound = one_run_bound(scores, task.delta, significance)
            findings.append(Finding(name, bound, gaussian_fit(scores, task.delta, significance)))
        return cls(planted, len(task.rounds), task.epsilon, task.delta, tuple(findings))

    @property
    def refuting(self) -> tuple[Finding, ...]:
        """Findings by which the claim is wrong."""
        return tuple(finding for finding in self.findings if finding.at_least > self.claimed)

    @property
    def as_it_should(self) -> bool:
        """A bug is caught, and nothing else is."""
        return bool(self.refuting) == (self.planted is not None)

    @property
    def verdict(self) -> str:
        if self.planted is None:
            return "exceeds its claim" if self.refuting else "keeps its claim"
        return "caught" if self.refuting else "not caught"


@dataclass(frozen=True, slots=True)
class Report:
    """All that came of a run."""

    setting: Setting
    seed: int
    audited: tuple[Audited, ...]

    @property
    def as_it_should(self) -> bool:
        return all(each.as_it_should for each in self.audited)

    def rows(self) -> list[list[str]]:
        """One for each task and observer."""
        rows = []
        for each in self.audited:
            for place, finding in enumerate(each.findings):
                bound, fit = finding.bound, finding.fit
                rows.append(
                    [
                        (each.planted or "as it is") if place == 0 else "",
                        f"{each.claimed:.2f}" if place == 0 else "",
                        finding.observer,
                        f"{fit.epsilon:.2f}",
                        f"{fit.low:.2f} to {fit.high:.2f}",
                        f"{bound.right} of {bound.guesses}",
                        f"{bound.epsilon:.2f}",
                        each.verdict if place == 0 else "",
                    ]
                )
        return rows

    def table(self) -> Table:
        """For a terminal."""
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        for name, justify in _COLUMNS:
            table.add_column(name, justify=justify)
        for row in self.rows():
            table.add_row(*row)
        return table

    def write(self, folder: Path) -> Path:
        """`audit.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "audit.json"
        path.write_text(json.dumps(self._json(), indent=1) + "\n")
        return path

    def _json(self) -> dict[str, Any]:
        tasks = [
            asdict(each) | {"verdict": each.verdict, "refuted_by": [finding.observer for finding in each.refuting]}
            for each in self.audited
        ]
        setting = asdict(self.setting) | {"canaries": self.setting.canaries, "colluders": self.setting.colluders}
        return {"setting": setting, "seed": self.seed, "confidence": CONFIDENCE, "audited": tasks}


_COLUMNS: Sequence[tuple[str, Literal["left", "right"]]] = (
    ("task", "left"),
    ("claimed", "right"),
    ("seen by", "left"),
    ("estimate", "right"),
    ("interval", "right"),
    ("guesses", "right"),
    ("at least", "right"),
    ("verdict", "left"),
)
