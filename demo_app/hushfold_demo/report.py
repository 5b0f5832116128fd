"""What came of a run: a table for people, and the same figures for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from hushfold.participation import Step

from .phone import Phone
from .recall import Recall
from .rounds import Round, epsilon_text
from .server_process import Extrapolation, Look
from .task import FleetTask

_AFTER_UPLOAD = (Step.AGREE, Step.UNMASK)


@dataclass(frozen=True, slots=True)
class PhoneReport:
    """One phone's share in the run."""

    name: str
    about: str  # its user
    invited: int  # rounds
    reported: int  # rounds with its update in the sum
    disappeared: int  # rounds that it disappeared from
    disappeared_late: int  # of them, those that it had uploaded its update to: it is in the sum nevertheless
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
            len(phone.vanished),
            sum(step in _AFTER_UPLOAD for step in phone.vanished),
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
    history: tuple[Round, ...]  # all that were opened
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
            look.rounds,
            look.epsilon,
            look.delta,
            look.extrapolation,
            release_bytes,
            seconds,
            tuple(phones),
        )

    @property
    def invited(self) -> int:
        """Invitations over all rounds."""
        return sum(each.invited for each in self.history)

    @property
    def reported(self) -> int:
        """Updates in a sum, over all rounds."""
        return sum(each.reported for each in self.history)

    @property
    def dropped(self) -> int:
        """Invitations that no update in a sum came of, over all rounds."""
        return sum(each.dropped for each in self.history)

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
            **{name: value for name, value in asdict(self).items() if name not in ("phones", "history")},
            "rounds_opened": len(self.history),
            "invited": self.invited,
            "reported": self.reported,
            "dropped": self.dropped,
            "adopted": self.adopted,
            "epsilon_charged": self.epsilon_charged,
            "before": _recall(self.before),
            "after": _recall(self.after),
            "history": [{**asdict(each), "reported": each.reported, "dropped": each.dropped} for each in self.history],
            "phones": [
                {**asdict(phone), "before": _recall(phone.before), "after": _recall(phone.after)}
                for phone in self.phones
            ],
        }

    def write(self, path: Path, task: FleetTask, seed: int) -> None:
        """Writes `document` to a file; what was there stays until all of it is written."""
        new = path.with_name(f"{path.name}.new")
        new.write_text(json.dumps(self.document(task, seed), indent=2) + "\n")
        new.replace(path)

    def tables(self) -> RenderableType:
        """The figures for a person, in 80 columns."""
        return Group("", self._rounds_table(), "", self._figures_table())

    def _rounds_table(self) -> Table:
        table = Table(box=None, pad_edge=False, show_footer=True)
        table.add_column("round", footer="all")
        for header, total in (
            ("invited", self.invited),
            ("in the sum", self.reported),
            ("dropped out", self.dropped),
        ):
            table.add_column(header, footer=str(total), justify="right")
        table.add_column("epsilon so far", footer=epsilon_text(self.epsilon), justify="right")
        table.add_column("", footer="")
        for each in self.history:
            counts = (str(count) for count in (each.number, each.invited, each.reported, each.dropped))
            spent = "" if each.epsilon_after is None else epsilon_text(each.epsilon_after)
            table.add_row(*counts, spent, "aborted" if each.aborted else "")
        return table

    def _figures_table(self) -> Table:
        count = len(self.phones)
        table = Table("", "", box=None, show_header=False, pad_edge=False)
        table.add_row("release", f"{self.version}, verified and adopted by {self.adopted} of {count} phones")
        table.add_row("rounds", f"{self.rounds} of {len(self.history)} opened, in {self.seconds:.0f} s in all")
        for number, text in enumerate(self._disappearances()):
            table.add_row("" if number else "phones lost", text)
        up = _mean(p.bytes_sent for p in self.phones)
        table.add_row("bytes per phone", f"{up} up, over all rounds that it saw the end of")
        down = _mean(p.bytes_received for p in self.phones)
        table.add_row("", f"{down} down, and {_size(self.release_bytes)} for the release")
        spent = epsilon_text(self.epsilon)
        table.add_row("epsilon, measured", f"{spent} at delta {self.delta:g}, for what the sums really held")
        table.add_row("", f"{epsilon_text(self.epsilon_charged)} at most in the phones' ledgers: the worst case")
        for label, text in zip(("epsilon, extrapolated", ""), self._extrapolated(), strict=False):
            table.add_row(label, text)
        table.add_row("top-1 recall", _change(self.before.top1_percent, self.after.top1_percent))
        table.add_row("top-3 recall", _change(self.before.top3_percent, self.after.top3_percent))
        table.add_row("", f"of {self.after.words} words that no phone has learned from")
        return table

    def _disappearances(self) -> Iterator[str]:
        """How the phones that disappeared and those that dropped out of a round add up."""
        late = sum(phone.disappeared_late for phone in self.phones)
        early = sum(phone.disappeared for phone in self.phones) - late
        if early:
            yield f"{early} before their upload: they dropped out"
        if late:
            yield f"{late} after their upload: these updates are in the sum"
        if (others := self.dropped - early) > 0:
            yield f"{others} more dropped out: late, or in an aborted round"

    def _extrapolated(self) -> tuple[str, ...]:
        if self.extrapolation is None:
            return ("this server does not say",)
        wider = self.extrapolation
        return (
            f"{epsilon_text(wider.epsilon)} at delta {wider.delta:g} with {wider.cohort:,} devices in each sum",
            "and the same noise in the mean; not measured",
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
