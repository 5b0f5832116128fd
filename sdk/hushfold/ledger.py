"""What left the device, and what privacy that cost: a record for the user and a budget that only shrinks.

The device charges itself before it uploads a masked update, because from then on others can open the sum. The
contribution and the new total are written in one transaction. Nothing is ever refunded: not for a round that failed,
not by a wipe, not by the clock, not by a backup. The total is a Renyi curve per population, added up round by round;
the epsilon that follows from it is worst-case over what the server did with the sums.

The total is kept twice: in the store, and with a `Witness` outside of it. The greater one counts. The store may come
back from a backup, and another store may be opened under the same key; the witness knows then what was spent.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Self

from hushfold_protocol.plan import Plan
from hushfold_protocol.privacy import RdpCurve

from .errors import BudgetExhausted, ChargeConflict, StoreMismatch
from .keys import Witness
from .store import Store


class ContributionState(StrEnum):
    """How far a contribution is known to have come. The privacy is spent from the first state on."""

    CHARGED = "charged"  # charged; the upload may or may not have reached the server
    SENT = "sent"  # the server has the masked update
    MAYBE_OPENED = "opened-unknown"  # the device helped to unmask; whether the sum was opened it cannot know


_ORDER = tuple(ContributionState)


@dataclass(frozen=True, slots=True)
class Contribution:
    """One masked update that left the device, or was about to."""

    round_id: bytes  # 16 bytes
    population: str
    task: str
    round_number: int
    model_sha256: bytes  # 32 bytes, of the vector that training started from
    cohort: int  # devices in the session
    floor: int  # survivors below which nothing is opened
    clip_norm: float  # L2, in units of the weights
    noise_stddev: float  # this device's share of the noise per value, in units of the weights
    delta: float  # of the guarantee that the plan states
    curve: RdpCurve  # Renyi DP of this round alone
    bytes_sent: int  # length of the masked update
    payload_sha256: bytes  # 32 bytes, of the masked update
    charged_at: float  # unix seconds by this device's clock
    state: ContributionState = ContributionState.CHARGED

    @property
    def epsilon(self) -> float:
        """What this round alone costs, at `delta`."""
        return self.curve.epsilon(self.delta)

    @classmethod
    def to_plan(cls, plan: Plan, payload: bytes | memoryview, *, cohort: int, at: float) -> Self:
        """The contribution that `payload`, the masked update as it will be sent, makes to the plan's round.

        cohort: devices in the roster; at: unix seconds.
        """
        return cls(
            round_id=plan.round_id,
            population=plan.population,
            task=plan.task,
            round_number=plan.round_number,
            model_sha256=plan.model.weights_sha256,
            cohort=cohort,
            floor=plan.cohort.floor,
            clip_norm=plan.update.clip_norm,
            noise_stddev=plan.update.local_stddev / plan.update.scale,
            delta=plan.delta,
            curve=plan.curve(),
            bytes_sent=len(payload),
            payload_sha256=hashlib.sha256(payload).digest(),
            charged_at=at,
        )


_NAMES = tuple(field.name for field in fields(Contribution))
_COLUMNS = ", ".join(_NAMES)
_INSERT = f"INSERT INTO contributions ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))})"  # noqa: S608


def _row(contribution: Contribution) -> tuple[object, ...]:
    values = {name: getattr(contribution, name) for name in _NAMES}
    return tuple({**values, "curve": contribution.curve.to_bytes()}.values())


def _read(row: tuple[Any, ...]) -> Contribution:
    values = dict(zip(_NAMES, row, strict=True))
    return Contribution(**{**values, "curve": _curve(values["curve"]), "state": ContributionState(values["state"])})


def _curve(content: bytes) -> RdpCurve:
    try:
        return RdpCurve.from_bytes(content)
    except ValueError as error:
        raise StoreMismatch(
            f"the privacy ledger was written by another version of the SDK: {error}",
            "Update the app; until then nothing is sent",
        ) from error


class DeviceBudget:
    """This device's own privacy budget: at most `limit` epsilon at `delta` for each population, for ever.

    It does not trust the server's accounting. The record of contributions is its ledger. With a `witness`, it holds for
    a store that was restored from a backup, too: the contributions since are missing, what they cost is not.
    """

    def __init__(self, store: Store, *, limit: float, delta: float, witness: Witness | None = None) -> None:
        if not limit > 0:
            raise ValueError(f"a privacy limit must be positive, not {limit}")
        if not 0 < delta < 1:
            raise ValueError(f"delta must be between 0 and 1, not {delta}")
        self._store, self._witness = store, witness
        self.limit = limit
        self.delta = delta

    def spent(self, population: str) -> float:
        """Epsilon of everything that was charged for `population`."""
        return self._total(population).epsilon(self.delta)

    def require(self, population: str, curve: RdpCurve) -> RdpCurve:
        """What is spent after one more contribution that costs `curve`. Raises BudgetExhausted past the limit."""
        total = self._total(population) + curve
        after = total.epsilon(self.delta)
        if not after <= self.limit:
            raise BudgetExhausted(
                f"this contribution would bring epsilon to {after:.2f}, the limit of this device for population "
                f"{population!r} is {self.limit:g}",
                "Nothing more is sent for it; learning on the device goes on",
            )
        return total

    def charge(self, contribution: Contribution) -> None:
        """Write the contribution and the new total, both or neither. Call it before anything is sent.

        Charging an equal contribution again, whatever its time, changes nothing: it is a retransmission.

        Raises:
            BudgetExhausted: it would spend more than the limit.
            ChargeConflict: the round was charged for another contribution.
            StoreMismatch: the total was written by an SDK with another grid of orders.
            KeyUnavailable: the witness cannot be asked or told. It may be charged all the same; do not send.
        """
        if contribution.state is not ContributionState.CHARGED:
            raise ValueError(f"a contribution is charged before it is {contribution.state}")
        population = contribution.population
        with self._store.transaction():
            charged = self._find(contribution.round_id)
            if charged is None:
                total = self.require(population, contribution.curve)
                self._store.execute(_INSERT, _row(contribution))
                self._store.execute("REPLACE INTO budget VALUES (?, ?)", (population, total.to_bytes()))
            elif replace(contribution, charged_at=charged.charged_at, state=charged.state) != charged:
                raise ChargeConflict(
                    f"round {contribution.round_number} of task {contribution.task!r} was charged for another "
                    "contribution, and a second one would reveal more than was accounted for",
                    "Stay out of this round",
                )
        if self._witness is not None:
            # After the commit: a witness that knew of a charge before the store would see it made twice. And in its
            # turn: of two processes, none tells it a total that the other has made old.
            with self._store.transaction():
                self._witness.save_spent(population, self._total(population).to_bytes())

    def advance(self, round_id: bytes, state: ContributionState) -> None:
        """Record how far a charged contribution came. States only move on; an earlier one changes nothing.

        Raises KeyError if the round was never charged.
        """
        with self._store.transaction():
            charged = self._find(round_id)
            if charged is None:
                raise KeyError(f"round {round_id.hex()} was never charged")
            if _ORDER.index(state) > _ORDER.index(charged.state):
                self._store.execute("UPDATE contributions SET state = ? WHERE round_id = ?", (state, round_id))

    def contributions(self) -> list[Contribution]:
        """Everything that left the device, or was about to, in the sequence in which it was charged."""
        rows = self._store.execute(f"SELECT {_COLUMNS} FROM contributions ORDER BY rowid")  # noqa: S608
        return list(map(_read, rows))

    def _find(self, round_id: bytes) -> Contribution | None:
        rows = self._store.execute(f"SELECT {_COLUMNS} FROM contributions WHERE round_id = ?", (round_id,))  # noqa: S608
        return _read(rows[0]) if rows else None

    def _total(self, population: str) -> RdpCurve:
        rows = self._store.execute("SELECT curve FROM budget WHERE population = ?", (population,))
        kept = [row[0] for row in rows]
        if self._witness is not None and (spent := self._witness.load_spent(population)) is not None:
            kept.append(spent)
        # Both only grow, so each is an earlier or the latest total: value by value, the greater is the latest.
        curves = RdpCurve.zero(), *map(_curve, kept)
        return RdpCurve(tuple(map(max, zip(*(curve.values for curve in curves), strict=True))))
