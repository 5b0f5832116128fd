"""What a server and the devices that collude with it can open of all that they have heard.

    Adversary(server, colluders=(5,)).opens()   # {frozenset({0, 3}): their sum, ...}

It opens every share that was sealed to a colluder, reconstructs every secret of which it has as many shares as it
takes, takes off every mask that follows from a secret, and tries that for every set of honest devices. Streams whose
seed it does not know are taken for uniform and independent: a sum that one of them does not cancel in is not opened.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from cheating_server import COLLUDER, CheatingServer, session_of
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from hushfold_protocol import messages
from hushfold_protocol.packing import EncodedVector, unpack
from hushfold_protocol.secagg import crypto, shamir
from hushfold_protocol.secagg.device import Joined
from hushfold_protocol.secagg.session import Session
from hushfold_protocol.wire import Message

Shares = dict[int, dict[int, bytes]]  # [owner][holder]


@dataclass
class Knowledge:
    """What is known of one session, by index in its roster."""

    session: Session
    numbers: tuple[int, ...]  # of the devices, by index
    seed_shares: Shares = field(default_factory=lambda: defaultdict(dict))
    key_shares: Shares = field(default_factory=lambda: defaultdict(dict))
    seeds: dict[int, bytes] = field(default_factory=dict)
    keys: dict[int, X25519PrivateKey] = field(default_factory=dict)
    holders: dict[int, frozenset[int]] = field(default_factory=dict)  # of a device's secrets
    peers: dict[int, frozenset[int]] = field(default_factory=dict)  # towards whom a device has masked
    uploads: dict[int, EncodedVector] = field(default_factory=dict)

    def hear(self, index: int, told: Message, answer: Message) -> None:
        match told, answer:
            case _, messages.Shares():
                self.holders[index] = messages.from_bitmap(answer.receivers, self.session.size)
            case messages.Delivery(), messages.Masked():
                encoding = self.session.plan.update.encoding()
                size = self.session.size
                sharers, senders = messages.from_bitmap(told.sharers, size), messages.from_bitmap(told.senders, size)
                self.peers[index] = self.holders[index] & sharers | senders
                self.uploads[index] = unpack(answer.vector, encoding.dimension, encoding.bits)
            case _, messages.Unmask():
                for entry in answer.seeds:
                    self.seed_shares[entry.index][index] = entry.share
                for entry in answer.keys:
                    self.key_shares[entry.index][index] = entry.share

    def collude(self, holder: int, state: Joined, sent: Mapping[int, messages.Shares]) -> None:
        """A colluder's own secrets, and what the others have sealed to it."""
        session = self.session
        self.seeds[holder], self.keys[holder] = state.seed, state.masking
        for owner in sent.keys() - {holder}:
            receivers = sorted(messages.from_bitmap(sent[owner].receivers, session.size))
            if holder not in receivers:
                continue
            sealed = sent[owner].sealed[receivers.index(holder)]
            key = crypto.share_key(state.sharing, session.joins[owner].sharing_key, session.id, owner, holder)
            plain = crypto.decrypt_shares(key, sealed, session.id, owner, holder)
            self.seed_shares[owner][holder] = plain[: shamir.SHARE_BYTES]
            self.key_shares[owner][holder] = plain[shamir.SHARE_BYTES :]

    def reconstruct(self) -> None:
        for owner, secret in self._secrets(self.seed_shares):
            if crypto.commit(secret, self.session.plan.round_id) == self.session.joins[owner].seed_commitment:
                self.seeds[owner] = secret
        for owner, secret in self._secrets(self.key_shares):
            self.keys[owner] = X25519PrivateKey.from_private_bytes(secret)

    def _secrets(self, shares: Shares) -> Iterator[tuple[int, bytes]]:
        for owner, held in shares.items():
            holders = sorted(held)[: self.session.threshold]
            if len(holders) == self.session.threshold:
                yield owner, shamir.Reconstructor(holders).secret(held)

    def open(self, members: Sequence[int]) -> EncodedVector | None:
        """The sum of these uploads without masks; None if there is a mask in it that is neither known nor cancels."""
        bits = self.session.plan.update.bits
        masks: Counter[tuple[int, int]] = Counter()  # by pair of devices; a device's own by twice itself
        for one in members:
            masks[one, one] += 1
            for other in self.peers[one]:
                masks[min(one, other), max(one, other)] += crypto.pair_sign(one, other)
        total = np.sum([self.uploads[member] for member in members], axis=0, dtype=np.uint32)
        for (one, other), sign in masks.items():
            if sign:
                seed = self._seed_of_mask(one, other)
                if seed is None:
                    return None
                crypto.apply_masks(total, [(seed, -sign)], bits)
        return total & np.uint32((1 << bits) - 1)

    def _seed_of_mask(self, one: int, other: int) -> bytes | None:
        session = self.session
        if one == other:
            return crypto.self_seed(self.seeds[one], session.id, one) if one in self.seeds else None
        for end, peer in ((one, other), (other, one)):
            if end in self.keys:
                public = session.joins[peer].masking_key
                return crypto.pair_seed(self.keys[end], public, session.id, end, peer)
        return None


class Adversary:
    """A server after an attack, with the secrets of the devices that collude with it."""

    def __init__(self, heard: CheatingServer, colluders: Collection[int] = (COLLUDER,)) -> None:
        self._colluders = frozenset(colluders)
        self._known: dict[bytes, Knowledge] = {}
        places = {device.session.join: number for number, device in enumerate(heard.devices)}
        for exchange in heard.exchanges:
            if isinstance(exchange.told, messages.Roster):
                session = session_of(heard.plan, exchange.told)
                numbers = tuple(places.get(join, -1) for join in session.joins)
                self._known.setdefault(session.id, Knowledge(session, numbers))
        for known in self._known.values():
            self._learn(known, heard)

    def _learn(self, known: Knowledge, heard: CheatingServer) -> None:
        sent = {}
        for exchange in heard.exchanges:
            if getattr(exchange.answer, "session", None) != known.session.id:
                continue
            index = known.numbers.index(exchange.number)
            known.hear(index, exchange.told, exchange.answer)
            if isinstance(exchange.answer, messages.Shares):
                sent[index] = exchange.answer
        for index, number in enumerate(known.numbers):
            if number in self._colluders:
                known.collude(index, heard.devices[number].joined, sent)
        known.reconstruct()

    def opens(self, tried: Iterable[Collection[int]] | None = None) -> dict[frozenset[int], EncodedVector]:
        """Every sum of honest devices' vectors that can be opened, by the numbers of the devices in it.

        tried: the sets of devices that may be in it; any set by default, which is for small sessions.
        """
        found = {}
        for known in self._known.values():
            honest = {known.numbers[index] for index in known.uploads} - self._colluders
            for numbers in _subsets(sorted(honest)) if tried is None else tried:
                if not honest.issuperset(numbers):
                    continue
                total = known.open([known.numbers.index(number) for number in numbers])
                if total is not None:
                    found[frozenset(numbers)] = total
        return found


def _subsets(items: Sequence[int]) -> Iterator[tuple[int, ...]]:
    for size in range(1, len(items) + 1):
        yield from combinations(items, size)
