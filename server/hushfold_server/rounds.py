"""Rounds: from an open plan to the sum of its survivors' updates, every step of it on the disk before it counts.

A round's stage is a value of `hushfold_protocol.secagg.server`. It is rebuilt from the accepted messages in the
database, so a server that was stopped, in whatever way, goes on where it was:

- a message counts when its row is committed, together with the running sum if it is a masked vector;
- a phase changes when `database.move` is committed; the privacy charge is in the transaction that moves a round to
  unmasking, before any device can be asked for shares;
- what was received in a step is deleted when the round has ended, whichever way.

A step ends when everyone has answered or when its time is up, whichever comes first (`tick`).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import structlog
from sqlalchemy import Connection, delete, insert, select, update

from hushfold_protocol.errors import Equivocation, Refused, RemoteError
from hushfold_protocol.messages import (
    Closed,
    ComeBack,
    Consent,
    Ending,
    Invitation,
    Join,
    Masked,
    Shares,
    Signed,
    Unmask,
    Wait,
)
from hushfold_protocol.plan import Plan
from hushfold_protocol.secagg import server as secagg
from hushfold_protocol.secagg.crypto import Vector
from hushfold_protocol.signing import device_id, open_sealed
from hushfold_protocol.wire import Message

from .database import (
    LIVE_PHASES,
    Database,
    Phase,
    TaskStatus,
    invitations,
    move,
    participations,
    round_messages,
    rounds,
    sums,
    tasks,
)
from .errors import NotFound, PrivacyError
from .privacy_ledger import PrivacyLedger
from .tasks import load_task

log = structlog.get_logger()

WAIT_MS = 200  # a device asks again after this long

# What a device sends in each phase, and under which name it is kept.
_EXPECTED: dict[Phase, tuple[str, type[Message]]] = {
    Phase.SHARING: ("shares", Shares),
    Phase.MASKING: ("masked", Masked),
    Phase.AGREEING: ("consent", Consent),
    Phase.UNMASKING: ("unmask", Unmask),
}


@dataclass(frozen=True)
class _Live:
    """One round in progress, as the database has it."""

    plan: Plan
    phase: Phase
    deadline: float  # unix seconds
    step_seconds: float
    stage: secagg.Stage
    total: Vector  # uint32[D], masked, modulo 2^32

    @property
    def id(self) -> str:
        return self.plan.round_id.hex()

    def answered(self, index: int) -> bool:
        """Whether this device has done its part of the present step."""
        match self.stage:
            case secagg.Sharing(sealed=done) | secagg.Agreeing(signatures=done) | secagg.Unmasking(answers=done):
                return index in done
            case secagg.Masking(uploaded=uploaded):
                return index in uploaded
            case _:
                return False


class Rounds:
    """The rounds of one server. Safe for use by several threads; one process at a time drives a round."""

    def __init__(
        self, database: Database, ledger: PrivacyLedger, authority_key: bytes, now: Callable[[], float]
    ) -> None:
        self._database, self._ledger = database, ledger
        self._authority_key, self._now = authority_key, now
        self._lock = threading.RLock()
        self._live: dict[str, _Live] = {}

    # -------------------------------------------------------------- what devices call

    def check_in(self, population: str, device: bytes) -> Invitation | ComeBack:
        """An invitation to the population's open round, or when to come back. Inviting twice is inviting once."""
        with self._lock, self._database.begin() as connection:
            now = self._now()
            found = connection.execute(
                select(rounds.c.id, rounds.c.invitation, tasks.c.spec)
                .join(tasks)
                .where(
                    tasks.c.population == population,
                    tasks.c.status == TaskStatus.ACTIVE,
                    rounds.c.phase == Phase.OPEN,
                    rounds.c.deadline > now,
                )
                .order_by(rounds.c.created_at)
            ).first()
            if found is None:
                return ComeBack(self._pace_ms(connection, population), "no round is open now")
            known = connection.scalar(
                select(invitations.c.device).where(
                    invitations.c.round == found.id, invitations.c.device == device.hex()
                )
            )
            if known is None:
                connection.execute(insert(invitations).values(round=found.id, device=device.hex(), invited_at=now))
            return Invitation.decode(found.invitation)

    def plan(self, round_id: str) -> Plan:
        """The plan of a round in progress. Raises NotFound."""
        with self._lock:
            return self._find(round_id).plan

    def join(self, message: Join) -> None:
        """Lets a device into the session of its round. Raises NotFound, Refused, SignatureInvalid or Equivocation."""
        with self._lock:
            live = self._find(message.round_id.hex())
            if not isinstance(live.stage, secagg.Joining):
                raise Refused("the session has begun without this device: check in again")
            stage = live.stage.accept(message, self._now())
            device = device_id(message.certificate.public_key).hex()
            with self._database.begin() as connection:
                self._keep(connection, live, "join", device, message.encode(), message.encode())
            live = replace(live, stage=stage)
            if len(stage.joins) == live.plan.cohort.target:  # enough: the others have one more step's time
                live = replace(live, deadline=min(live.deadline, self._now() + live.step_seconds))
                with self._database.begin() as connection:
                    connection.execute(update(rounds).where(rounds.c.id == live.id).values(deadline=live.deadline))
            self._live[live.id] = live
            if stage.full:
                self._advance(live)

    def submit(self, round_id: str, device: bytes, signed: Signed) -> None:
        """Takes one device's message of the present step.

        A byte-identical repeat changes nothing; a different second one raises Equivocation. Raises NotFound for an
        unknown round, Refused or another RemoteError for a message that the step does not take.
        """
        with self._lock:
            live = self._find(round_id)
            digest = hashlib.sha256(signed.payload).hexdigest()
            for name, kind in _EXPECTED.values():
                if signed.payload[3:4] == bytes((kind.type_code,)) and self._is_repeat(round_id, name, device, digest):
                    return
            if isinstance(live.stage, secagg.Joining):
                raise Refused("the session has not begun")
            name, kind = _EXPECTED[live.phase]
            index = self._index(live, device)
            public_key = live.stage.session.joins[index].certificate.public_key
            message = open_sealed(signed, public_key, kind)
            total = live.total
            match live.stage, message:
                case secagg.Sharing() as sharing, Shares():
                    stage: secagg.Stage = sharing.accept(index, message)
                case secagg.Masking() as masking, Masked():
                    total = live.total.copy()  # the committed sum stays as it is until the row is
                    stage = masking.accept(index, message, total)
                case secagg.Agreeing() as agreeing, Consent():
                    stage = agreeing.accept(index, message)
                case secagg.Unmasking() as unmasking, Unmask():
                    stage = unmasking.accept(index, message)
            body = b"" if isinstance(message, Masked) else signed.payload
            with self._database.begin() as connection:
                self._keep(connection, live, name, device.hex(), signed.payload, body)
                if isinstance(message, Masked):
                    self._store_sum(connection, live.id, total, _count(stage))
            live = self._live[live.id] = replace(live, stage=stage, total=total)
            if stage.full:
                self._advance(live)

    def next_message(self, round_id: str, device: bytes) -> Message:
        """What the server has for this device now. Raises NotFound for an unknown round."""
        with self._lock:
            ended = self._ended(round_id, device)
            if ended is not None:
                return ended
            live = self._find(round_id)
            if isinstance(live.stage, secagg.Joining):
                return Wait(WAIT_MS)
            try:
                index = self._index(live, device)
            except Refused as error:
                return Closed(Ending.LEFT_OUT, str(error))
            if live.answered(index):
                return Wait(WAIT_MS)
            match live.stage:
                case secagg.Sharing() as stage:
                    return stage.announcement()
                case secagg.Masking() as stage if index in stage.sharers:
                    return stage.announcement(index)
                case secagg.Agreeing() as stage if index in stage.survivors:
                    return stage.announcement()
                case secagg.Unmasking() as stage if index in stage.signatures:
                    return stage.announcement()
                case _:
                    return Closed(Ending.LEFT_OUT, "this device was too late for a step of the session")

    # -------------------------------------------------------------- what time and the operator do

    def resume(self) -> None:
        """Gives every round in progress its step's time again. Call it once after a start: devices could not answer
        while the server was away."""
        with self._lock:
            with self._database.read() as connection:
                live = list(connection.scalars(select(rounds.c.id).where(rounds.c.phase.in_(LIVE_PHASES))))
            for round_id in live:
                found = self._find(round_id)
                deadline = max(found.deadline, self._now() + found.step_seconds)
                with self._database.begin() as connection:
                    connection.execute(update(rounds).where(rounds.c.id == round_id).values(deadline=deadline))
                self._live[round_id] = replace(found, deadline=deadline)

    def tick(self) -> None:
        """Ends every step whose time is up. Call it a few times a second."""
        with self._lock:
            with self._database.read() as connection:
                due = list(
                    connection.scalars(
                        select(rounds.c.id).where(rounds.c.phase.in_(LIVE_PHASES), rounds.c.deadline <= self._now())
                    )
                )
            for round_id in due:
                self._advance(self._find(round_id))

    def _advance(self, live: _Live) -> None:
        """Closes the present step: on to the next one, or to the end of the round."""
        now = self._now()
        try:
            with self._database.begin() as connection:
                following = self._close(connection, live, now)
        except (RemoteError, PrivacyError) as error:
            self._abort(live, str(error), now)
            return
        if following is None:
            self._live.pop(live.id, None)
        else:
            self._live[live.id] = following
        log.info("round_advanced", round=live.id, task=live.plan.task, left=live.phase)

    def _close(self, connection: Connection, live: _Live, now: float) -> _Live | None:
        """The next step, with the round moved to it in `connection`; None when the sum is formed."""
        deadline = now + live.step_seconds
        match live.stage:
            case secagg.Joining() as joining:
                sharing = joining.close(now)
                move(
                    connection, live.id, live.phase, Phase.SHARING, now=now,
                    deadline=deadline, joined=sharing.session.size,
                )  # fmt: skip
                return replace(live, phase=Phase.SHARING, deadline=deadline, stage=sharing)
            case secagg.Sharing() as sharing:
                masking = sharing.close()
                move(
                    connection, live.id, live.phase, Phase.MASKING, now=now,
                    deadline=deadline, sharers=len(masking.sharers),
                )  # fmt: skip
                return replace(live, phase=Phase.MASKING, deadline=deadline, stage=masking)
            case secagg.Masking() as masking:
                agreeing = masking.close()
                move(
                    connection, live.id, live.phase, Phase.AGREEING, now=now,
                    deadline=deadline, survivors=len(agreeing.survivors),
                )  # fmt: skip
                return replace(live, phase=Phase.AGREEING, deadline=deadline, stage=agreeing)
            case secagg.Agreeing() as agreeing:
                unmasking = agreeing.close()
                joins = unmasking.session.joins
                survivors = {device_id(joins[i].certificate.public_key) for i in unmasking.survivors}
                self._ledger.charge(connection, live.plan, survivors, now=now)
                move(connection, live.id, live.phase, Phase.UNMASKING, now=now, deadline=deadline)
                return replace(live, phase=Phase.UNMASKING, deadline=deadline, stage=unmasking)
            case secagg.Unmasking() as unmasking:
                total = unmasking.close().unmask(live.total)
                self._store_sum(connection, live.id, total, len(unmasking.survivors))
                move(connection, live.id, live.phase, Phase.SUMMED, now=now)
                connection.execute(delete(round_messages).where(round_messages.c.round == live.id))
                return None

    def _abort(self, live: _Live, reason: str, now: float) -> None:
        with self._database.begin() as connection:
            move(connection, live.id, live.phase, Phase.ABORTED, now=now, reason=reason)
            connection.execute(delete(round_messages).where(round_messages.c.round == live.id))
            connection.execute(delete(sums).where(sums.c.round == live.id))
        self._live.pop(live.id, None)
        log.warning("round_aborted", round=live.id, task=live.plan.task, left=live.phase, reason=reason)

    # -------------------------------------------------------------- the database

    def _find(self, round_id: str) -> _Live:
        live = self._live.get(round_id)
        if live is None:
            with self._database.read() as connection:
                live = self._live[round_id] = self._rebuild(connection, round_id)
        return live

    def _rebuild(self, connection: Connection, round_id: str) -> _Live:
        """The round as the committed rows say it is. Accepts and closes just as it happened."""
        row = connection.execute(select(rounds, tasks.c.spec).join(tasks).where(rounds.c.id == round_id)).one_or_none()
        if row is None or row.phase not in LIVE_PHASES:
            raise NotFound(f"there is no round {round_id} in progress", "Check in again")
        plan = Plan.decode(Invitation.decode(row.invitation).plan)
        received: dict[str, list[tuple[str, bytes, float]]] = {}
        for entry in connection.execute(
            select(round_messages)
            .where(round_messages.c.round == round_id)
            .order_by(round_messages.c.received_at, round_messages.c.device)
        ):
            received.setdefault(entry.stage, []).append((entry.device, entry.body, entry.received_at))

        joining = secagg.Joining(plan, self._authority_key)
        moment = row.created_at
        for _, body, moment in received.get("join", ()):
            joining = joining.accept(Join.decode(body), moment)
        stage: secagg.Stage = joining
        if row.phase is not Phase.OPEN:
            sharing = joining.close(moment)
            index = {device_id(j.certificate.public_key).hex(): i for i, j in enumerate(sharing.session.joins)}
            for device, body, _ in received.get("shares", ()):
                sharing = sharing.accept(index[device], Shares.decode(body))
            stage = sharing
            if row.phase is not Phase.SHARING:
                uploaded = frozenset(index[device] for device, _, _ in received.get("masked", ()))
                masking = replace(sharing.close(), uploaded=uploaded)
                stage = masking
                if row.phase is not Phase.MASKING:
                    agreeing = masking.close()
                    for device, body, _ in received.get("consent", ()):
                        agreeing = agreeing.accept(index[device], Consent.decode(body))
                    stage = agreeing
                    if row.phase is not Phase.AGREEING:
                        unmasking = agreeing.close()
                        for device, body, _ in received.get("unmask", ()):
                            unmasking = unmasking.accept(index[device], Unmask.decode(body))
                        stage = unmasking
        stored = connection.scalar(select(sums.c.total).where(sums.c.round == round_id))
        size = plan.update.encoding().padded
        total = np.zeros(size, np.uint32) if stored is None else np.frombuffer(stored, "<u4").astype(np.uint32)
        step = load_task(row.spec).schedule.step_seconds
        return _Live(plan, row.phase, row.deadline, step, stage, total)

    def _ended(self, round_id: str, device: bytes) -> Closed | None:
        with self._database.read() as connection:
            row = connection.execute(
                select(rounds.c.phase, rounds.c.reason).where(rounds.c.id == round_id)
            ).one_or_none()
            took_part = connection.scalar(
                select(participations.c.device).where(
                    participations.c.round == round_id, participations.c.device == device.hex()
                )
            )
        if row is None:
            raise NotFound(f"there is no round {round_id}", "Check in again")
        if row.phase in LIVE_PHASES:
            return None
        if row.phase is Phase.ABORTED:
            return Closed(Ending.ABORTED, _cut(row.reason))
        if took_part is None:
            return Closed(Ending.LEFT_OUT, "the sum was formed without this device")
        return Closed(Ending.SUMMED, "")

    def _keep(self, connection: Connection, live: _Live, name: str, device: str, content: bytes, body: bytes) -> None:
        """A row for an accepted message, if it is not a repeat."""
        digest = hashlib.sha256(content).hexdigest()
        known = connection.scalar(
            select(round_messages.c.digest).where(
                round_messages.c.round == live.id,
                round_messages.c.stage == name,
                round_messages.c.device == device,
            )
        )
        if known is None:
            row = {"round": live.id, "stage": name, "device": device, "digest": digest, "body": body}
            connection.execute(insert(round_messages).values(**row, received_at=self._now()))

    def _is_repeat(self, round_id: str, name: str, device: bytes, digest: str) -> bool:
        with self._database.read() as connection:
            known = connection.scalar(
                select(round_messages.c.digest).where(
                    round_messages.c.round == round_id,
                    round_messages.c.stage == name,
                    round_messages.c.device == device.hex(),
                )
            )
        if known is not None and known != digest:
            raise Equivocation("a second, different message for the same step")
        return known is not None

    def _store_sum(self, connection: Connection, round_id: str, total: Vector, contributors: int) -> None:
        content = total.astype("<u4").tobytes()
        stored = connection.execute(
            update(sums).where(sums.c.round == round_id).values(total=content, contributors=contributors)
        )
        if stored.rowcount == 0:
            connection.execute(insert(sums).values(round=round_id, total=content, contributors=contributors))

    @staticmethod
    def _index(live: _Live, device: bytes) -> int:
        if isinstance(live.stage, secagg.Joining):
            raise Refused("the session has not begun")
        try:
            return live.stage.session.index_of(device)
        except KeyError:
            raise Refused("this device is not in the session: check in again") from None

    @staticmethod
    def _pace_ms(connection: Connection, population: str) -> int:
        """When to come back, of the population's most patient active task; a quarter of an hour if it has none."""
        specs = connection.scalars(
            select(tasks.c.spec).where(tasks.c.population == population, tasks.c.status == TaskStatus.ACTIVE)
        )
        pace = [load_task(spec).schedule.come_back_seconds for spec in specs]
        return min(int(1000 * max(pace, default=900.0)), 0xFFFFFFFF)


def _cut(reason: str) -> str:
    """As much of a reason as a message takes, in bytes."""
    return reason.encode()[:500].decode(errors="ignore")


def _count(stage: secagg.Stage) -> int:
    return len(stage.uploaded) if isinstance(stage, secagg.Masking) else 0
