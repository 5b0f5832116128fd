"""The rounds of a task as its server counts them, and what there is to say when one begins or ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

_SUMMED = ("summed", "learned", "released", "discarded")  # phases in which the sum has been opened


@dataclass(frozen=True, slots=True)
class Round:
    """One round. Of every phone that was invited, the update is in the sum or it is not: `invited` is the sum of
    `reported` and `dropped`."""

    number: int  # counted from 1
    phase: str
    reason: str  # why it was aborted or discarded
    invited: int  # phones that were given the plan
    joined: int  # of them, those that had trained in time
    survivors: int  # of them, those whose masked update arrived
    epsilon_after: float | None  # of the phone that took part most, after this round; None if it was not charged

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Reads one of the `rounds` of `hushfold-server status --json`."""
        return cls(**{name: row[name] for name in cls.__slots__})

    @property
    def summed(self) -> bool:
        """Whether its sum has been opened."""
        return self.phase in _SUMMED

    @property
    def aborted(self) -> bool:
        return self.phase == "aborted"

    @property
    def reported(self) -> int:
        """Phones whose update is in the sum; none if there is no sum."""
        return self.survivors if self.summed else 0

    @property
    def dropped(self) -> int:
        """Phones that were invited and whose update is in no sum."""
        return self.invited - self.reported


def news(before: Sequence[Round], now: Sequence[Round]) -> Iterator[str]:
    """Sentences about the rounds that have begun or ended since they were as `before`."""
    known = {past.number: past for past in before}
    for current in now:
        past = known.get(current.number)
        if past is None:
            yield f"Round {current.number} is open"
        if current.summed and not (past and past.summed):
            yield f"Round {current.number} is summed: {_counts(current)}{_price(current)}"
        elif current.aborted and not (past and past.aborted):
            yield f"Round {current.number} is aborted: {current.reason}"
        if current.phase == "discarded" and not (past and past.phase == "discarded"):
            yield f"Round {current.number} is discarded, and nothing learned from it: {current.reason}"


def epsilon_text(value: float) -> str:
    """An epsilon for people."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _counts(summed: Round) -> str:
    return f"{summed.invited} invited, {summed.reported} in the sum, {summed.dropped} dropped out"


def _price(summed: Round) -> str:
    return "" if summed.epsilon_after is None else f"; epsilon {epsilon_text(summed.epsilon_after)} so far"
