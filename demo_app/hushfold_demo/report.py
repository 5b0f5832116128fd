"""What came of a run: a table for people, and the same figures for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.table import Table

from .phone import Phone
from .recall import Recall
from .server_process import Extrapolation, Look
from .task import FleetTask


@dataclass(frozen=True, slots=True)
class PhoneReport:
    """One phone's share in the run."""

    name: str
    about: str  # its user
    invited: int  # rounds
    reported: int  # rounds with its update in the sum
    bytes_sent: int  # bodies of messages, of participations that came to an end
    bytes_received: int
    epsilon_charged: float  # by the device itself: the worst that could have been made of its updates
    version: str | None  # release that it adopted
    before: Recall
    after: Recall

    @classmethod
    def of(cls, phone: Phone, population: str, version: str | None, before: Recall, after: Recall) -> PhoneReport:
        return cls(
            phone.name,
            phone.person.about,
            phone.invited,
            phone.reported,
            phone.bytes_sent,
            phone.bytes_received,
            phone.spent(population),
            version,
            before,
            after,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of a whole run."""

    version: str  # of the release
    rounds: int  # successful ones
    rounds_opened: int
    epsilon: float  # of the phone that took part most, from the true cohorts
    delta: float
    extrapolation: Extrapolation | None  # not measured
    release_bytes: int  # what each phone downloads to adopt the release
    seconds: float
    phones: tuple[PhoneReport, ...]

    @classmethod
    def of(cls, look: Look, version: str, phones: Sequence[PhoneReport], release_bytes: int, seconds: float) -> Report:
        return cls(
            version,
            look.rounds_done,
            look.round_number,
            look.epsilon,
            look.delta,
            look.extrapolation,
            release_bytes,
            seconds,
            tuple(phones),
        )

    @property
    def invited(self) -> int:
        """Invitations that phones agreed to, over all rounds."""
        return sum(phone.invited for phone in self.phones)

    @property
    def reported(self) -> int:
        """Updates in a sum, over all rounds."""
        return sum(phone.reported for phone in self.phones)

    @property
    def adopted(self) -> int:
        """Phones that run the release."""
        return sum(phone.version == self.version for phone in self.phones)

    @property
    def epsilon_charged(self) -> float:
        """The most that any phone has charged itself."""
        return max(phone.epsilon_charged for phone in self.phones)

    @property
    def before(self) -> Recall:
        return sum((phone.before for phone in self.phones), Recall())

    @property
    def after(self) -> Recall:
        return sum((phone.after for phone in self.phones), Recall())

    def document(self, task: FleetTask, seed: int) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {
            "asked": {**asdict(task), "floor": task.floor, "seed": seed},
            **{name: value for name, value in asdict(self).items() if name != "phones"},
            "invited": self.invited,
            "reported": self.reported,
            "dropped": self.invited - self.reported,
            "adopted": self.adopted,
            "epsilon_charged": self.epsilon_charged,
            "before": _recall(self.before),
            "after": _recall(self.after),
            "phones": [
                {**asdict(phone), "before": _recall(phone.before), "after": _recall(phone.after)}
                for phone in self.phones
            ],
        }

    def write(self, path: Path, task: FleetTask, seed: int) -> None:
        """Writes `document` to a file."""
        path.write_text(json.dumps(self.document(task, seed), indent=2) + "\n")

    def table(self) -> Table:
        """The figures for a person."""
        count = len(self.phones)
        table = Table("", "", box=None, show_header=False, pad_edge=False)
        table.add_row("release", f"{self.version}, verified and adopted by {self.adopted} of {count} phones")
        table.add_row("rounds", f"{self.rounds} of {self.rounds_opened} opened, in {self.seconds:.0f} s in all")
        table.add_row("phones", f"{count}, invited {self.invited} times over all rounds")
        table.add_row("", f"{self.reported} updates in a sum, {self.invited - self.reported} dropped out before")
        up = _mean(p.bytes_sent for p in self.phones)
        table.add_row("bytes per phone", f"{up} up, over all rounds that it saw the end of")
        down = _mean(p.bytes_received for p in self.phones)
        table.add_row("", f"{down} down, and {_size(self.release_bytes)} for the release")
        spent = _epsilon(self.epsilon)
        table.add_row("epsilon, measured", f"{spent} at delta {self.delta:g}, for what the sums really held")
        table.add_row("", f"{_epsilon(self.epsilon_charged)} at most in the phones' own ledgers, for the worst case")
        table.add_row("epsilon, extrapolated", self._extrapolated())
        table.add_row("top-1 recall", _change(self.before.top1_percent, self.after.top1_percent))
        table.add_row("top-3 recall", _change(self.before.top3_percent, self.after.top3_percent))
        table.add_row("", f"of {self.after.words} words that no phone has learned from")
        return table

    def _extrapolated(self) -> str:
        if self.extrapolation is None:
            return "this server does not say"
        wider = self.extrapolation
        return (
            f"{_epsilon(wider.epsilon)} at delta {wider.delta:g}, not measured: {wider.cohort:,} devices in each sum, "
            "the same noise in the mean"
        )


def _recall(recall: Recall) -> dict[str, float | int | None]:
    def percent(value: float) -> float | None:
        return round(value, 2) if recall.words else None  # JSON has no NaN

    return {
        "words": recall.words,
        "top1_percent": percent(recall.top1_percent),
        "top3_percent": percent(recall.top3_percent),
    }


def _change(before: float, after: float) -> str:
    return f"{before:.1f} % before, {after:.1f} % after ({after - before:+.1f} points)"


def _mean(values: Iterable[int]) -> str:
    return _size(fmean(values))


def _size(count: float) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _epsilon(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
