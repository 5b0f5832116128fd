"""A server that cheats: the honest server's own stages, and at some point something else for some device.

`CheatingServer` drives real devices through one session and writes down every message in `exchanges`. The attacks are
in the tables that `attacks` names; what the server has won by one of them is for `adversary` to find out.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from cohort import AUTHORITY_KEY, NOW, make_identity, make_plan, twin_of

from hushfold_protocol import messages
from hushfold_protocol.errors import ProtocolError
from hushfold_protocol.packing import EncodedVector
from hushfold_protocol.plan import Plan
from hushfold_protocol.randomness import AesCtrStream
from hushfold_protocol.secagg import crypto, server
from hushfold_protocol.secagg.device import DeviceSession, Identity, Joined
from hushfold_protocol.secagg.session import Session, merkle_root
from hushfold_protocol.signing import device_id
from hushfold_protocol.wire import Message

COUNT = 6  # devices of a session
COLLUDER = 5  # the one that tells the server everything
PLAN = make_plan(bits=20, floor=4, maximum=COUNT, gamma=0.17, dimension=16)
"""One colluder is tolerated: four shares open a secret, four devices must agree, and three add noise for certain."""


@dataclass(frozen=True)
class Exchange:
    """What one device was told, and what it answered or why it did not."""

    number: int
    told: Message
    answer: Message | None
    refusal: ProtocolError | None = None


class Thwarted(Exception):
    """A device refused, and the attack does not go on without it."""


@dataclass
class Device:
    """A device in a test: everything about it can be made again from `identity` and `stream_key`."""

    identity: Identity
    min_cohort: int
    stream_key: bytes  # of the AES-256-CTR stream that all of the device's randomness is taken from
    vector: EncodedVector
    session: DeviceSession
    joined: Joined  # its state before it was told anything


def make_device(plan: Plan, identity: Identity, name: str, min_cohort: int = 2) -> Device:
    """A device whose randomness and vector follow from its name, so that a run can be repeated byte for byte."""
    key = hashlib.sha256(f"randomness of {name}".encode()).digest()
    words = AesCtrStream(hashlib.sha256(f"vector of {name}".encode()).digest())(4 * plan.update.encoding().dimension)
    vector = np.frombuffer(words, "<u4") >> np.uint32(32 - plan.update.bits)
    session = DeviceSession(
        plan,
        identity,
        vector.copy,
        min_cohort=min_cohort,
        clock=lambda: NOW,
        random_bytes=AesCtrStream(key),
    )
    assert isinstance(session.state, Joined)
    return Device(identity, min_cohort, key, vector, session, session.state)


def enrolled(plan: Plan, count: int = COUNT, name: str = "session 1") -> list[Device]:
    return [make_device(plan, make_identity(number + 1), f"device {number + 1} of {name}") for number in range(count)]


class CheatingServer:
    """One session. A device's number is its place among all `devices`, sorted as in a roster."""

    def __init__(self, plan: Plan, devices: Sequence[Device]) -> None:
        self.plan = plan
        self.devices = sorted(devices, key=lambda d: device_id(d.identity.certificate.public_key))
        self.roster = messages.Roster(tuple(device.session.join for device in self.devices))
        self.exchanges: list[Exchange] = []
        self.total = np.zeros(plan.update.encoding().dimension, np.uint32)

    def copy(self) -> CheatingServer:
        """The same session, to go on from here in another way."""
        twin = copy.copy(self)
        twin.devices = [replace(device, session=twin_of(device.session)) for device in self.devices]
        twin.exchanges, twin.total = list(self.exchanges), self.total.copy()
        return twin

    # -------------------------------------------------------------- one message

    def tell(self, number: int, message: Message) -> Message:
        """The device's answer. Raises Thwarted if it refuses."""
        try:
            answer = self.devices[number].session.receive(message)
        except ProtocolError as refusal:
            self.exchanges.append(Exchange(number, message, None, refusal))
            raise Thwarted from refusal
        self.exchanges.append(Exchange(number, message, answer))
        return answer

    def try_all(self, told: Mapping[int, Message]) -> dict[int, Message]:
        """Tells each of several devices its own message: the answers of those that do not refuse."""
        answers = {}
        for number, message in told.items():
            try:
                answers[number] = self.tell(number, message)
            except Thwarted:
                continue
        return answers

    def of(self, number: int) -> list[Exchange]:
        """What was said to and by one device."""
        return [exchange for exchange in self.exchanges if exchange.number == number]

    def refusal(self, number: int) -> ProtocolError | None:
        """Why the device first refused; None if it never did."""
        return next((e.refusal for e in self.exchanges if e.number == number and e.refusal is not None), None)

    # -------------------------------------------------------------- the honest server's steps

    def join(self) -> server.Sharing:
        stage = server.Joining(self.plan, AUTHORITY_KEY)
        for join in self.roster.joins:
            stage = stage.accept(join, NOW)
        return stage.close()

    def share(self, stage: server.Sharing, first: int = 0) -> server.Masking:
        """Device `first` is asked before all others."""
        for number in sorted(range(len(self.devices)), key=lambda number: number != first):
            answer = self.tell(number, stage.announcement())
            assert isinstance(answer, messages.Shares)
            stage = stage.accept(number, answer)
        return stage.close()

    def upload(self, stage: server.Masking, lost: Collection[int] = ()) -> server.Agreeing:
        for number in self._but(lost):
            answer = self.tell(number, stage.announcement(number))
            assert isinstance(answer, messages.Masked)
            stage = stage.accept(number, answer, self.total)
        return stage.close()

    def agree(self, stage: server.Agreeing, lost: Collection[int] = ()) -> server.Unmasking:
        for number in self._but(lost):
            answer = self.tell(number, stage.announcement())
            assert isinstance(answer, messages.Consent)
            stage = stage.accept(number, answer)
        return stage.close()

    def unmask(self, stage: server.Unmasking, lost: Collection[int] = ()) -> EncodedVector:
        for number in self._but(lost):
            answer = self.tell(number, stage.announcement())
            assert isinstance(answer, messages.Unmask)
            stage = stage.accept(number, answer)
        return stage.close().unmask(self.total)

    def _but(self, lost: Collection[int]) -> list[int]:
        return [number for number in range(len(self.devices)) if number not in lost]

    def upload_signatures(self) -> dict[int, bytes]:
        """What devices have signed with their uploads: the sharers that they were shown."""
        return {e.number: e.answer.signature for e in self.exchanges if isinstance(e.answer, messages.Masked)}

    def expected(self, numbers: Iterable[int]) -> EncodedVector:
        """The plain sum of some devices' vectors modulo 2^bits."""
        total = np.sum([self.devices[number].vector for number in numbers], axis=0, dtype=np.uint64)
        return (total % (1 << self.plan.update.bits)).astype(np.uint32)


def session_of(plan: Plan, roster: messages.Roster) -> Session:
    """The session that a device derives from a roster, without its checks."""
    root = merkle_root([join.encode() for join in roster.joins])
    return Session(plan, roster.joins, hashlib.sha256(crypto.LABEL + b"session\0" + plan.hash + root).digest())
