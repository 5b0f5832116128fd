"""Rounds: from an open plan to the sum of its survivors' updates, every step of it on the disk before it counts.

What a step is, and what follows it, is in `steps`; what the database has of a round, in `live_round`. Here they meet:

- a message counts when its row is committed, together with the running sum if it is a masked vector;
- a step has ended when `database.move` is committed; the privacy charge is in the transaction that moves a round to
  unmasking, before any device can be asked for shares;
- what was received is deleted when the round has ended, whichever way.

A round's stage is rebuilt from the committed messages, so a server that was stopped, in whatever way, goes on where it
was. A step ends when everyone has answered or when its time is up, whichever comes first (`tick`). A round that cannot
go on is aborted with the reason, and the others do.

One process at a time drives the rounds of a home: what it has in memory is then what is on the disk. Each transaction
checks that it is, so a second process would be an error and not a wrong sum.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Connection, Row, delete, insert, select
from sqlalchemy.exc import OperationalError

from hushfold_protocol.errors import Equivocation, Refused, RemoteError
from hushfold_protocol.messages import Closed, ComeBack, Ending, Invitation, Join, Masked, Signed, Wait
from hushfold_protocol.packing import RunningSum
from hushfold_protocol.plan import Plan
from hushfold_protocol.secagg import server as secagg
from hushfold_protocol.signing import device_id, verify
from hushfold_protocol.wire import Message, decode_any

from . import steps
from .database import LIVE_PHASES, Database, Phase, move, participations, round_messages, rounds, sums
from .errors import NotFound, PrivacyError, StateError
from .invitations import invite
from .live_round import LiveRound, is_current, rebuild, store_deadline, store_sum
from .privacy_ledger import PrivacyLedger
from .process import reason_of
from .steps import STEP_OF, STEPS

_SIGNED = tuple(kind for kind in STEP_OF if kind is not Join)  # a join has its signature inside

log = structlog.get_logger()


class Rounds:
    """The rounds of one server. Safe for use by several threads; one process at a time drives a round."""

    def __init__(
        self, database: Database, ledger: PrivacyLedger, authority_key: bytes, now: Callable[[], float]
    ) -> None:
        self._database, self._ledger = database, ledger
        self._authority_key, self._now = authority_key, now
        self._lock = threading.RLock()
        self._live: dict[str, LiveRound] = {}

    # -------------------------------------------------------------- what devices call

    def check_in(self, population: str, device: bytes) -> Invitation | ComeBack:
        """An invitation to the population's open round, or when to come back. Inviting twice is inviting once."""
        with self._lock, self._database.begin() as connection:
            return invite(connection, population, device, self._now())

    def plan(self, round_id: str) -> Plan:
        """The plan of a round in progress. Raises NotFound."""
        with self._lock:
            return self._find(round_id).plan

    def join(self, message: Join) -> None:
        """Lets a device into the session of its round.

        A byte-identical repeat changes nothing; joining again with other keys raises Equivocation. Raises NotFound,
        Refused or SignatureInvalid.
        """
        with self._lock:
            live = self._find(message.round_id.hex())
            device = device_id(message.certificate.public_key)
            content = message.encode()
            if not self._is_repeat(live, device, message, content):
                self._take(live, device, message, content)

    def submit(self, round_id: str, device: bytes, signed: Signed) -> None:
        """Takes one device's message of the present step.

        A byte-identical repeat changes nothing; a different second one raises Equivocation. After the round's end
        nothing is taken: `next_message` says how it ended. Raises NotFound for an unknown round, Refused or another
        RemoteError for a message that the step does not take.
        """
        with self._lock:
            if self._ended(round_id, device) is not None:
                return  # perhaps a repeat: the last answer was lost when it made the sum
            live = self._find(round_id)
            message = decode_any(signed.payload, *_SIGNED)
            if self._is_repeat(live, device, message, signed.payload):
                return
            public_key = steps.public_key_of(live.stage, device)
            verify(public_key, type(message).__name__, signed.payload, signed.signature)
            self._take(live, device, message, signed.payload)

    def next_message(self, round_id: str, device: bytes) -> Message:
        """What the server has for this device now. Raises NotFound for an unknown round."""
        with self._lock:
            ended = self._ended(round_id, device)
            if ended is not None:
                return ended
            live = self._find(round_id)
            stage, wait = live.stage, Wait(live.wait_ms(self._now()))
            if isinstance(stage, secagg.Joining):
                return wait
            try:
                index = steps.index_of(stage, device)
            except Refused as error:
                return Closed(Ending.LEFT_OUT, str(error))
            if index in steps.answered(stage):
                return wait
            left_out = Closed(Ending.LEFT_OUT, "this device was too late for a step of the session")
            return steps.announcement(stage, index) or left_out

    # -------------------------------------------------------------- what time does

    def resume(self) -> None:
        """Gives every round in progress its step's time again. Call it once after a start: devices could not answer
        while the server was away."""
        with self._lock:
            for row in self._in_progress():
                with self._apart(row):
                    live = self._find(row.id)
                    live = replace(live, deadline=max(live.deadline, self._now() + live.step_seconds))
                    with self._database.begin() as connection:
                        store_deadline(connection, live)
                    self._live[row.id] = live
                    if live.stage.full:  # the server was stopped between the step's last message and its end
                        self._end_step(live)

    def tick(self) -> None:
        """Ends every step whose time is up. Call it a few times a second."""
        with self._lock:
            for row in self._in_progress(rounds.c.deadline <= self._now()):
                with self._apart(row):
                    self._end_step(self._find(row.id))

    def _in_progress(self, *conditions: ColumnElement[bool]) -> list[Row[Any]]:
        wanted = select(rounds.c.id, rounds.c.phase).where(rounds.c.phase.in_(LIVE_PHASES), *conditions)
        with self._database.read() as connection:
            return list(connection.execute(wanted))

    @contextmanager
    def _apart(self, row: Row[Any]) -> Iterator[None]:
        """Keeps a round that cannot go on from holding up the others. What is no round's fault is raised."""
        try:
            yield
        except (OperationalError, OSError, MemoryError):
            raise
        except StateError:  # nothing was changed; the next look finds the round as it is
            log.exception("round_moved_by_another", round=row.id)
        except Exception as error:
            log.exception("round_broken", round=row.id)
            self._abort(row.id, row.phase, reason_of(error), self._now())

    # -------------------------------------------------------------- one message, one step

    def _is_repeat(self, live: LiveRound, device: bytes, message: Message, content: bytes) -> bool:
        """Whether this very message was accepted before. Raises Equivocation for another one of its kind."""
        sent = {"round": live.id, "stage": STEP_OF[type(message)].stored, "device": device.hex()}
        with self._database.read() as connection:
            known = connection.scalar(select(round_messages.c.digest).filter_by(**sent))
        if known is not None and known != _digest(content):
            raise Equivocation("a second, different message for the same step")
        return known is not None

    def _take(self, live: LiveRound, device: bytes, message: Message, content: bytes) -> None:
        """Accepts a message that is no repeat, and ends the step if it was the last one."""
        now = self._now()
        total = live.total.copy() if isinstance(message, Masked) else live.total  # what was committed stays as it is
        stage = steps.accept(live.stage, device, message, now, total)
        before, live = live, replace(live, stage=stage, total=total)
        with self._database.begin() as connection:
            self._require_current(connection, before)
            connection.execute(
                insert(round_messages).values(
                    round=live.id,
                    stage=STEP_OF[type(message)].stored,
                    device=device.hex(),
                    digest=_digest(content),
                    body=steps.stored(message, content),
                    received_at=now,
                )
            )
            if isinstance(message, Masked):
                store_sum(connection, live)
            if isinstance(message, Join) and len(steps.answered(stage)) >= live.plan.cohort.target:
                # Enough have come: the others have one more step's time.
                live = replace(live, deadline=min(live.deadline, now + live.step_seconds))
                store_deadline(connection, live)
        self._live[live.id] = live
        if stage.full:
            self._end_step(live)

    def _end_step(self, live: LiveRound) -> None:
        """On to the next step, or to the end of the round."""
        now = self._now()
        try:
            with self._database.read() as connection:
                self._require_current(connection, live)
            # Before the transaction, for which others wait: to take off the masks of a large cohort may take a minute.
            stage = live.stage.close()
            total = stage.unmask(live.total) if isinstance(stage, secagg.Opened) else live.total
            with self._database.begin() as connection:
                following = self._advance(connection, live, stage, total, now)
        except (RemoteError, PrivacyError) as error:
            self._abort(live.id, live.phase, str(error), now)
            return
        if following is None:
            del self._live[live.id]
        else:
            self._live[live.id] = following
        log.info("round_advanced", round=live.id, task=live.plan.task, left=live.phase)
        self._prolong_others(live, self._now() - now)

    def _prolong_others(self, live: LiveRound, seconds: float) -> None:
        """Lets every other round's step end so much later: while this one's ended, no device was heard."""
        if seconds < 1:
            return
        for row in self._in_progress(rounds.c.id != live.id):
            with self._apart(row):
                other = self._find(row.id)
                other = replace(other, deadline=other.deadline + seconds)
                with self._database.begin() as connection:
                    store_deadline(connection, other)
                self._live[other.id] = other

    def _advance(
        self,
        connection: Connection,
        live: LiveRound,
        stage: secagg.Stage | secagg.Opened,
        total: RunningSum,
        now: float,
    ) -> LiveRound | None:
        """The round at its next step, as `connection` has it after its commit; None if `total` is its sum."""
        self._require_current(connection, live)
        step, deadline = STEPS[live.phase], now + live.step_seconds
        counts = {step.counted: len(steps.answered(live.stage))} if step.counted else {}
        move(connection, live.id, live.phase, step.following, now=now, deadline=deadline, **counts)
        if isinstance(stage, secagg.Opened):
            store_sum(connection, replace(live, total=total))
            connection.execute(delete(round_messages).where(round_messages.c.round == live.id))
            return None
        if isinstance(stage, secagg.Unmasking):
            self._ledger.charge(connection, live.plan, steps.survivors(stage), now=now)
        return replace(live, phase=step.following, deadline=deadline, stage=stage)

    def _abort(self, round_id: str, phase: Phase, reason: str, now: float) -> None:
        with self._database.begin() as connection:
            move(connection, round_id, phase, Phase.ABORTED, now=now, reason=reason)
            connection.execute(delete(round_messages).where(round_messages.c.round == round_id))
            connection.execute(delete(sums).where(sums.c.round == round_id))
        self._live.pop(round_id, None)
        log.warning("round_aborted", round=round_id, left=phase, reason=reason)

    # -------------------------------------------------------------- the database

    def _find(self, round_id: str) -> LiveRound:
        live = self._live.get(round_id)
        if live is None:
            with self._database.read() as connection:
                live = self._live[round_id] = rebuild(connection, round_id, self._authority_key)
        return live

    def _require_current(self, connection: Connection, live: LiveRound) -> None:
        """Raises StateError, and forgets `live`, unless the database has the very messages that it was made of."""
        if not is_current(connection, live):
            self._live.pop(live.id, None)
            raise StateError(
                f"round {live.id} was changed by another process", "Run one device API for each server's folder"
            )

    def _ended(self, round_id: str, device: bytes) -> Closed | None:
        """How the round ended for this device; None while it is in progress. Raises NotFound."""
        with self._database.read() as connection:
            row = connection.execute(
                select(rounds.c.phase, rounds.c.reason).where(rounds.c.id == round_id)
            ).one_or_none()
            took_part = connection.execute(
                select(participations).filter_by(round=round_id, device=device.hex())
            ).one_or_none()
        if row is None:
            raise NotFound(f"there is no round {round_id}", "Check in again")
        if row.phase in LIVE_PHASES:
            return None
        if row.phase is Phase.ABORTED:
            return Closed(Ending.ABORTED, _cut(row.reason))
        if took_part is None:
            return Closed(Ending.LEFT_OUT, "the sum was formed without this device")
        return Closed(Ending.SUMMED, "")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _cut(reason: str) -> str:
    """As much of a reason as a message takes, in bytes."""
    return reason.encode()[:500].decode(errors="ignore")
