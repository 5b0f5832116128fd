"""A cohort of devices and a server in one process, for the tests of secure aggregation."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushfold_protocol import plan as plan_module
from hushfold_protocol.graph import Graph
from hushfold_protocol.plan import (
    CohortParameters,
    ModelReference,
    Plan,
    TrainingParameters,
    UpdateParameters,
)
from hushfold_protocol.secagg import crypto, server, session
from hushfold_protocol.secagg import device as device_role
from hushfold_protocol.secagg.device import DeviceSession, Identity
from hushfold_protocol.signing import issue_certificate

NOW = 1_800_000_000

AUTHORITY = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1")
AUTHORITY_KEY = AUTHORITY.public_key().public_bytes_raw()


def make_plan(*, bits: int = 20, floor: int = 4, maximum: int = 12, gamma: float = 0.1, dimension: int = 48) -> Plan:
    return Plan(
        population="keyboard-en",
        task="test",
        round_id=bytes(range(16)),
        round_number=1,
        model=ModelReference("next_word", "1.0.0", bytes(32), "adapter", bytes(32)),
        training=TrainingParameters(10, 4, 8, 0.1, 100, 0),
        update=UpdateParameters(dimension, 1.0, 100.0, bits, 20.0, 3, 4, 1e-3),
        cohort=CohortParameters(maximum, maximum, floor, gamma),
        delta=1e-6,
        join_delay_ms=0,
        expires=NOW + 600,
    )


def make_identity(number: int, authority: Ed25519PrivateKey = AUTHORITY) -> Identity:
    key = Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))
    certificate = issue_certificate(authority, key.public_key().public_bytes_raw(), NOW - 60, NOW + 3600)
    return Identity(key, certificate, authority.public_key().public_bytes_raw())


def seeded(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def use_sparse_graph(monkeypatch: pytest.MonkeyPatch, holders: int, threshold: int, strays: int = 0) -> None:
    """Gives every roster a sparse graph, however small it is: what that means at real sizes is `neighbours`' to say."""
    graph = {size: Graph(size, holders, threshold, strays) for size in range(holders + 1, 200)}
    monkeypatch.setattr(plan_module, "graph_of", lambda size, colluders, floor: graph[size])


def share_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the devices of one process do once what each does for itself: the same roster, signatures and agreements.

    A thousand devices verify two million signatures of their roster alone.
    """
    open_session, verify, agree = session.open_session, session.verify, crypto.agree
    opened, verified, own, agreed = {}, set(), {}, {}

    def open_once(plan, roster, authority_key, now):
        key = plan.hash, id(roster.joins), authority_key, now
        if key not in opened:
            opened[key] = open_session(plan, roster, authority_key, now), roster  # kept, so that its id stays taken
        return opened[key][0]

    def verify_once(*signed):
        if signed not in verified:
            verify(*signed)
            verified.add(signed)

    def agree_once(private, public):
        if private not in own:
            own[private] = private.public_key().public_bytes_raw()
        pair = frozenset((own[private], public))
        if pair not in agreed:
            agreed[pair] = agree(private, public)
        return agreed[pair]

    monkeypatch.setattr(device_role, "open_session", open_once)
    monkeypatch.setattr(session, "verify", verify_once)
    monkeypatch.setattr(crypto, "agree", agree_once)


def twin_of(device: DeviceSession) -> DeviceSession:
    """The same device in the same state, to go on from here in another way; their randomness is one."""
    twin = copy.copy(device)
    twin._answered = dict(device._answered)
    return twin


@dataclass
class Cohort:
    """`size` devices with given vectors in one session; drop-outs are named by device number at each step."""

    plan: Plan
    vectors: list[np.ndarray]
    seed: int = 1
    authority: Ed25519PrivateKey = AUTHORITY
    devices: list[DeviceSession] = field(init=False)

    def __post_init__(self) -> None:
        self.devices = [
            DeviceSession(
                self.plan,
                make_identity(number + 1, self.authority),
                lambda number=number: self.vectors[number],
                min_cohort=2,
                clock=lambda: NOW,
                random_bytes=seeded(self.seed * 1000 + number),
            )
            for number in range(len(self.vectors))
        ]
        self.total = np.zeros(self.vectors[0].size, np.uint32)

    def join(self) -> server.Sharing:
        stage = server.Joining(self.plan, AUTHORITY_KEY)
        for device in self.devices:
            stage = stage.accept(device.join, NOW)
        sharing = stage.close()
        self.index = {n: sharing.session.joins.index(d.join) for n, d in enumerate(self.devices)}
        return sharing

    def share(self, stage: server.Sharing, lost: Collection[int] = ()) -> server.Masking:
        for number in self._present(lost):
            stage = stage.accept(self.index[number], self.devices[number].receive(stage.announcement()))
        return stage.close()

    def upload(self, stage: server.Masking, lost: Collection[int] = ()) -> server.Agreeing:
        for number in self._present(lost):
            index = self.index[number]
            masked = self.devices[number].receive(stage.announcement(index))
            stage = stage.accept(index, masked, self.total)
        return stage.close()

    def agree(self, stage: server.Agreeing, lost: Collection[int] = ()) -> server.Unmasking:
        for number in self._present(lost):
            stage = stage.accept(self.index[number], self.devices[number].receive(stage.announcement()))
        return stage.close()

    def unmask(self, stage: server.Unmasking, lost: Collection[int] = ()) -> np.ndarray:
        for number in self._present(lost):
            stage = stage.accept(self.index[number], self.devices[number].receive(stage.announcement()))
        return stage.close().unmask(self.total)

    def copy(self) -> Cohort:
        """The same devices in the same state, to go on from here in another way."""
        twin = copy.copy(self)
        twin.devices = [twin_of(device) for device in self.devices]
        twin.total = self.total.copy()
        return twin

    def _present(self, lost: Collection[int]) -> list[int]:
        return [n for n in range(len(self.devices)) if n not in lost]

    def expected(self, lost: Collection[int]) -> np.ndarray:
        present = [v for n, v in enumerate(self.vectors) if n not in lost]
        total = np.sum(present, axis=0, dtype=np.uint64) % (1 << self.plan.update.bits)
        return total.astype(np.uint32)

    def run(self, share=(), upload=(), agree=(), unmask=()) -> np.ndarray:
        """The sum, with the named devices lost at each step and at every later one."""
        lost = set(share)
        masking = self.share(self.join(), lost)
        agreeing = self.upload(masking, lost := lost | set(upload))
        unmasking = self.agree(agreeing, lost := lost | set(agree))
        return self.unmask(unmasking, lost | set(unmask))


def make_vectors(count: int, plan: Plan, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    size = plan.update.encoding().dimension
    return [rng.integers(0, 1 << plan.update.bits, size, np.uint64).astype(np.uint32) for _ in range(count)]


__all__ = [
    "AUTHORITY_KEY",
    "NOW",
    "Cohort",
    "make_identity",
    "make_plan",
    "make_vectors",
    "replace",
    "seeded",
    "share_work",
    "twin_of",
    "use_sparse_graph",
]
