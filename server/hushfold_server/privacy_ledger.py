"""The server's privacy ledger: what every device's part in a task has cost, and whether one more round may.

The unit is a device. What it spent is the sum of the Renyi curves of the rounds whose sums its update is in;
nothing is claimed for sampling, because devices decide themselves when to check in. The epsilon of a task is the
greatest of any device. A round's curve follows from who really was in the sum: survivors less the tolerated
colluders add noise.

A round is charged when its list of survivors is agreed and before their shares are asked for, since from then on
the sum can be opened. A charge is never taken back.

Every epsilon that a decision rests on is computed twice: by `hushfold_protocol.privacy`, as on the devices, and by
Google's dp_accounting. If they disagree, nothing is opened.
"""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from dp_accounting import GaussianDpEvent, rdp
from sqlalchemy import Connection, Row, insert, select

from hushfold_protocol.plan import Plan
from hushfold_protocol.privacy import ORDERS, RdpCurve, round_curve

from .database import Database, charges, participations, tasks
from .errors import AccountantMismatch, BudgetSpent, NotFound, PrivacyError
from .tasks import TaskSpec, load_task

_TOLERANCE = 1e-9  # relative difference of two epsilons that is rounding

Curves = npt.NDArray[np.float64]  # [device, order]: one composed curve a row


@dataclass(frozen=True, slots=True)
class Charge:
    """One round as it was charged."""

    round_id: str  # hex
    survivors: int  # devices in the sum
    noise_contributors: int  # survivors less tolerated colluders
    epsilon_after: float  # of the device that took part most, this round included
    delta: float
    charged_at: float  # unix seconds


class PrivacyLedger:
    """The ledger of every task in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def may_open(self, plan: Plan) -> float:
        """The epsilon that the task could reach with one more round, at worst; raises BudgetSpent past its budget.

        At worst, the device that has spent most takes part and only the floor survives. Call it before the plan is
        signed.
        """
        with self._database.read() as connection:
            spec = _spec(connection, plan.task)
            _check_delta(spec, plan)
            _, spent = _exposures(connection, plan.task)
        curve = plan.curve()
        _check_round(plan, plan.cohort.noise_contributors, curve)
        # A newcomer is the most exposed device of a task that has none yet.
        spent = np.vstack([spent, np.zeros((1, len(ORDERS)))])
        return _within_budget(spec, spent + np.array(curve.values), "one more round at its floor")

    def charge(self, connection: Connection, plan: Plan, survivors: Set[bytes], *, now: float) -> Charge:
        """Charges a round to its survivors, given as device ids; what was charged is on the disk after the commit.

        `connection` is a write transaction: the round's move to unmasking belongs into the same one, and no device
        may be asked for shares before it is committed. `now` is unix seconds. Charging the same survivors again
        gives the first charge back. Raises, with nothing written: BudgetSpent; PrivacyError for fewer survivors than
        the floor, and for a round that was charged to others; AccountantMismatch.
        """
        spec = _spec(connection, plan.task)
        _check_delta(spec, plan)
        round_id, devices = plan.round_id.hex(), frozenset(device.hex() for device in survivors)
        contributors = len(devices) - plan.cohort.colluders
        curve = round_curve(plan.update.encoding(), contributors)

        known = connection.execute(select(charges).where(charges.c.round == round_id)).one_or_none()
        if known is not None:
            charged_to = select(participations.c.device).where(participations.c.round == round_id)
            if devices != set(connection.scalars(charged_to)):
                raise PrivacyError(f"round {round_id} was charged to other survivors already")
            if known.curve != curve.to_bytes():
                raise PrivacyError(f"round {round_id} was charged at another cost already")
            return _as_charge(known)
        if not plan.cohort.floor <= len(devices) <= plan.cohort.maximum:
            raise PrivacyError(
                f"round {round_id} has {len(devices)} survivors; between {plan.cohort.floor} and "
                f"{plan.cohort.maximum} were promised"
            )
        _check_round(plan, contributors, curve)

        names, spent = _exposures(connection, plan.task)
        newcomers = devices.difference(names)
        spent = np.vstack([spent, np.zeros((len(newcomers), len(ORDERS)))])
        took_part = np.array([name in devices for name in names] + [True] * len(newcomers))
        spent[took_part] += np.array(curve.values)
        epsilon = _within_budget(spec, spent, f"round {plan.round_number}")

        row = {
            "round": round_id,
            "task": plan.task,
            "survivors": len(devices),
            "noise_contributors": contributors,
            "curve": curve.to_bytes(),
            "epsilon_after": epsilon,
            "delta": plan.delta,
            "charged_at": now,
        }
        connection.execute(insert(charges).values(row))
        parts = [{"round": round_id, "task": plan.task, "device": device} for device in sorted(devices)]
        connection.execute(insert(participations), parts)
        return Charge(round_id, len(devices), contributors, epsilon, plan.delta, now)


def _spec(connection: Connection, task: str) -> TaskSpec:
    text = connection.scalar(select(tasks.c.spec).where(tasks.c.name == task))
    if text is None:
        raise NotFound(f"there is no task {task!r}")
    return load_task(text)


def _check_delta(spec: TaskSpec, plan: Plan) -> None:
    if plan.delta != spec.privacy.delta:
        raise PrivacyError(
            f"the plan of task {plan.task!r} has delta {plan.delta:g}, its budget is stated at {spec.privacy.delta:g}"
        )


def _exposures(connection: Connection, task: str) -> tuple[list[str], Curves]:
    """Every device that took part, and what it spent: curves[device, order]."""
    took_part = connection.execute(
        select(participations.c.device, participations.c.round).where(participations.c.task == task)
    ).all()
    by_round: dict[str, list[int]] = {}
    index: dict[str, int] = {}
    for device, round_id in took_part:
        by_round.setdefault(round_id, []).append(index.setdefault(device, len(index)))
    spent = np.zeros((len(index), len(ORDERS)))
    for round_id, curve in connection.execute(
        select(charges.c.round, charges.c.curve).where(charges.c.task == task).order_by(charges.c.round)
    ):
        spent[by_round[round_id]] += np.array(RdpCurve.from_bytes(curve).values)
    return list(index), spent


def _within_budget(spec: TaskSpec, spent: Curves, step: str) -> float:
    epsilon, budget = _greatest_epsilon(spent, spec.privacy.delta), spec.privacy.budget_epsilon
    if not epsilon <= budget:
        raise BudgetSpent(
            f"{step} would bring epsilon to {epsilon:.4g} at delta {spec.privacy.delta:g}, the budget is {budget:g}",
            "What was learned within it is published; a new budget is a new promise to devices, and a task of its own",
        )
    return epsilon


def _greatest_epsilon(curves: Curves, delta: float) -> float:
    """The greatest epsilon of any curve; 0 of none. Checked twice."""
    greatest = 0.0
    while len(curves):
        top = curves[curves.sum(axis=1).argmax()]
        greatest = max(greatest, _epsilon(RdpCurve(tuple(top.tolist())), delta))
        # Epsilon grows with every value of the curve: what is nowhere above `top` costs no more. Rounds differ in
        # little but their survivors, so that few curves are left to look at.
        curves = curves[~(curves <= top).all(axis=1)]
    return greatest


def _epsilon(curve: RdpCurve, delta: float) -> float:
    ours = curve.epsilon(delta)
    theirs = float(rdp.compute_epsilon(ORDERS, curve.values, delta)[0])
    if not math.isclose(ours, theirs, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
        raise AccountantMismatch(
            f"epsilon of one curve at delta {delta:g} is {ours!r} by hushfold_protocol and {theirs!r} by dp_accounting",
            "Open no round; one of the two libraries is damaged or of a wrong version",
        )
    return ours


def _check_round(plan: Plan, contributors: int, curve: RdpCurve) -> None:
    """Skellam noise protects less than Gaussian noise of its variance: a round that claims to cost less is wrong.

    dp_accounting has no event for the Skellam mechanism (version 0.6.0), but it has this lower bound.
    """
    encoding = plan.update.encoding()
    multiplier = math.sqrt(max(0, contributors)) * encoding.local_stddev / encoding.l2_bound
    gaussian = rdp.RdpAccountant(ORDERS).compose(GaussianDpEvent(multiplier)).get_epsilon(plan.delta)
    skellam = _epsilon(curve, plan.delta)
    if skellam < gaussian * (1 - _TOLERANCE):
        raise AccountantMismatch(
            f"round {plan.round_number} of task {plan.task!r}: epsilon {skellam:.6g}, less than the {gaussian:.6g} "
            "of Gaussian noise of the same variance",
            "Open no round; the privacy curve is computed wrongly",
        )


def _as_charge(row: Row[Any]) -> Charge:
    return Charge(row.round, row.survivors, row.noise_contributors, row.epsilon_after, row.delta, row.charged_at)
