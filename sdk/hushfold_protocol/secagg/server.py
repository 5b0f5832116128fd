"""The server's role. All its transitions live here.

    Joining --close--> Sharing --close--> Masking --close--> Agreeing --close--> Unmasking --close--> Opened

Every stage is an immutable value. `accept` takes one device's message and returns the stage with it; `close` ends
the stage and returns the next one, or raises TooFew: the session is then over, and nothing in it can be opened.
`announcement` is what the stage tells a device. The masked vectors are not kept: the caller adds each one to a
running sum as it arrives, so memory does not grow with the cohort, and `unmask` takes the masks off at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ..errors import Equivocation, Refused, TooFew
from ..messages import (
    SEALED_BYTES,
    Consent,
    Consents,
    Delivery,
    IndexedSignature,
    Join,
    Masked,
    Roster,
    Shares,
    Survivors,
    Unmask,
    from_bitmap,
    to_bitmap,
)
from ..packing import EncodedVector, RunningSum, add_packed
from ..plan import Plan
from ..signing import device_id
from . import crypto, shamir
from .session import Session, admit, session_of


@dataclass(frozen=True)
class Joining:
    """Devices that hold a finished update enter with fresh keys."""

    plan: Plan
    authority_key: bytes
    joins: Mapping[bytes, Join] = field(default_factory=dict)  # by device id

    @property
    def full(self) -> bool:
        return len(self.joins) >= self.plan.cohort.maximum

    def accept(self, join: Join, now: float) -> Joining:
        """The stage with this device in it.

        Raises Equivocation for a second, different join, Refused if the session is full, and what `admit` raises.
        """
        device = device_id(join.certificate.public_key)
        known = self.joins.get(device)
        if known is not None:
            if known != join:
                raise Equivocation("this device joined the session before, with other keys")
            return self
        if self.full:
            raise Refused("the session is full")
        taken = {key for other in self.joins.values() for key in (other.sharing_key, other.masking_key)}
        admit(join, taken, self.plan, self.authority_key, now)
        return replace(self, joins={**self.joins, device: join})

    def close(self) -> Sharing:
        """The session of those who are in it, each of whom was checked when it came. Raises TooFew below the floor."""
        return Sharing(session_of(self.plan, tuple(self.joins[device] for device in sorted(self.joins))))


@dataclass(frozen=True)
class Sharing:
    """Every device of the roster encrypts shares of its secrets to those that it has chosen to hold them."""

    session: Session
    sealed: Mapping[int, Mapping[int, bytes]] = field(default_factory=dict)  # by sender, then receiver

    def announcement(self) -> Roster:
        return self.session.roster

    def accept(self, sender: int, message: Shares) -> Sharing:
        self.session.require(message.session)
        receivers = from_bitmap(message.receivers, self.session.size)
        self.session.graph.require_holders(sender, receivers)
        if len(message.sealed) != len(receivers):
            raise Refused(f"{len(message.sealed)} shares for {len(receivers)} devices")
        if any(len(sealed) != SEALED_BYTES for sealed in message.sealed):
            raise Refused("a share of the wrong length")
        sealed = dict(zip(sorted(receivers), message.sealed, strict=True))
        if _repeated(self.sealed.get(sender), sealed):
            return self
        return replace(self, sealed={**self.sealed, sender: sealed})

    @property
    def full(self) -> bool:
        return len(self.sealed) == self.session.size

    def close(self) -> Masking:
        _enough(len(self.sealed), self.session.consents, "shared their secrets")
        return Masking(self.session, dict(self.sealed))


class _Shared:
    """What follows from who has shared, and is the same for every upload: computed once."""

    def __init__(self, session: Session, sealed: Mapping[int, Mapping[int, bytes]]) -> None:
        self.sealed, self.sharers = sealed, frozenset(sealed)
        self.bitmap = to_bitmap(self.sharers, session.size)
        self.text = session.sharers_text(self.sharers)
        self.received: dict[int, dict[int, bytes]] = {}  # by receiver, then sender in order
        for sender in sorted(sealed):
            for receiver, share in sealed[sender].items():
                self.received.setdefault(receiver, {})[sender] = share


@dataclass(frozen=True)
class Masking:
    """The sharers upload their masked vectors."""

    session: Session
    sealed: Mapping[int, Mapping[int, bytes]]  # by sender, then receiver
    uploaded: frozenset[int] = frozenset()
    signatures: Mapping[int, bytes] = field(default_factory=dict)  # of the uploads
    _shared: _Shared | None = field(default=None, repr=False, compare=False)  # handed on from upload to upload

    @property
    def shared(self) -> _Shared:
        known = self._shared
        if known is None or known.sealed is not self.sealed:
            known = _Shared(self.session, self.sealed)
            object.__setattr__(self, "_shared", known)
        return known

    @property
    def sharers(self) -> frozenset[int]:
        return self.shared.sharers

    @property
    def holders(self) -> Mapping[int, frozenset[int]]:
        """The other devices that hold each sharer's secrets."""
        return {sender: frozenset(sealed) for sender, sealed in self.sealed.items()}

    def announcement(self, receiver: int) -> Delivery:
        received = self.shared.received.get(receiver, {})
        senders = to_bitmap(received, self.session.size)
        return Delivery(self.session.id, self.shared.bitmap, senders, tuple(received.values()))

    def accept(self, sender: int, message: Masked, total: RunningSum) -> Masking:
        """Adds the vector to `total`, in place: at once, and once for each device."""
        self.session.require(message.session)
        if sender not in self.sealed:
            raise Refused("an upload by a device that has not shared its secrets")
        if sender in self.uploaded:
            raise Equivocation("this device's vector is in the sum already")
        self.session.verify_sharers(sender, self.shared.text, message.signature)
        try:
            add_packed(total, message.vector, self.session.plan.update.bits)
        except ValueError as error:
            raise Refused(f"the masked vector is malformed: {error}") from None
        return self.recall(sender, message.signature)

    def recall(self, sender: int, signature: bytes) -> Masking:
        """The stage with an upload whose vector is in the sum."""
        return replace(self, uploaded=self.uploaded | {sender}, signatures={**self.signatures, sender: signature})

    @property
    def full(self) -> bool:
        return self.uploaded == self.sharers

    def close(self) -> Agreeing:
        _enough(len(self.uploaded), self.session.consents, "uploaded")
        return Agreeing(self.session, self.sharers, self.uploaded, dict(self.signatures), self.holders)


@dataclass(frozen=True)
class Agreeing:
    """The survivors sign the lists that they were shown."""

    session: Session
    sharers: frozenset[int]
    survivors: frozenset[int]
    uploads: Mapping[int, bytes]  # signatures of the sharers by the survivors
    holders: Mapping[int, frozenset[int]]  # of each sharer's secrets, without itself
    signatures: Mapping[int, bytes] = field(default_factory=dict)

    def announcement(self) -> Survivors:
        return Survivors(self.session.id, to_bitmap(self.survivors, self.session.size))

    def accept(self, sender: int, message: Consent) -> Agreeing:
        self.session.require(message.session)
        if sender not in self.survivors:
            raise Refused("a consent by a device that is not among the survivors")
        if _repeated(self.signatures.get(sender), message.signature):
            return self
        text = self.session.consent_text(self.sharers, self.survivors)
        self.session.verify_consent(sender, text, message.signature)
        return replace(self, signatures={**self.signatures, sender: message.signature})

    @property
    def full(self) -> bool:
        return len(self.signatures) == len(self.survivors)

    def close(self) -> Unmasking:
        _enough(len(self.signatures), self.session.consents, "agreed on the survivors")
        silent = {index: self.uploads[index] for index in self.survivors - self.signatures.keys()}
        consents = Consents(self.session.id, _entries(self.signatures), _entries(silent))
        return Unmasking(self.session, self.sharers, self.survivors, self.holders, dict(self.signatures), consents)


@dataclass(frozen=True)
class Unmasking:
    """The survivors give shares: of each survivor's own seed, or of each drop-out's masking key."""

    session: Session
    sharers: frozenset[int]
    survivors: frozenset[int]
    holders: Mapping[int, frozenset[int]]  # of each sharer's secrets, without itself
    signatures: Mapping[int, bytes]  # of both lists, by those who consented
    consents: Consents
    answers: Mapping[int, Unmask] = field(default_factory=dict)

    @property
    def dropped(self) -> frozenset[int]:
        return self.sharers - self.survivors

    def announcement(self) -> Consents:
        return self.consents

    def accept(self, sender: int, message: Unmask) -> Unmasking:
        self.session.require(message.session)
        if sender not in self.survivors:
            raise Refused("shares by a device that is not among the survivors")
        if _repeated(self.answers.get(sender), message):
            return self
        if [entry.index for entry in message.seeds] != self._held_by(sender, self.survivors):
            raise Refused("seed shares for other devices than the survivors")
        if [entry.index for entry in message.keys] != self._held_by(sender, self.dropped):
            raise Refused("key shares for other devices than the drop-outs")
        return replace(self, answers={**self.answers, sender: message})

    @property
    def full(self) -> bool:
        return len(self.answers) == len(self.survivors)

    def close(self) -> Opened:
        """The secrets that take the masks off.

        Raises TooFew, or Refused with the owner of a secret that cannot be had: it shared another than it has bound
        itself to, or someone gave a wrong share of it.
        """
        _enough(len(self.answers), self.session.threshold, "gave shares")
        seed_shares = {i: {e.index: e.share for e in answer.seeds} for i, answer in self.answers.items()}
        key_shares = {i: {e.index: e.share for e in answer.keys} for i, answer in self.answers.items()}
        seeds, keys = {}, {}
        for owner in sorted(self.survivors):
            name = self.session.name(owner)
            seed = self._secret(owner, seed_shares)
            if crypto.commit(seed, self.session.plan.round_id) != self.session.joins[owner].seed_commitment:
                raise Refused(f"the shares of the seed of {name} do not fit its commitment")
            seeds[owner] = seed
        for owner in sorted(self.dropped):
            name = self.session.name(owner)
            key = X25519PrivateKey.from_private_bytes(self._secret(owner, key_shares))
            if key.public_key().public_bytes_raw() != self.session.joins[owner].masking_key:
                raise Refused(f"the shares of the masking key of {name} do not fit its public key")
            keys[owner] = key
        return Opened(self.session, self.survivors, self.holders, seeds, keys)

    def _held_by(self, holder: int, owners: frozenset[int]) -> list[int]:
        """Those of `owners` whose shares `holder` has, in order: also its own, in the complete graph."""
        own = {holder} if self.session.graph.complete else frozenset()
        return sorted(owner for owner in owners if holder in self.holders[owner] or owner in own)

    def _secret(self, owner: int, shares: Mapping[int, Mapping[int, bytes]]) -> bytes:
        """What the shares of the first holders of a secret give; `shares` by holder, then owner."""
        threshold, name = self.session.threshold, self.session.name(owner)
        holders = [holder for holder in sorted(shares) if owner in shares[holder]][:threshold]
        _enough(len(holders), threshold, f"gave shares of a secret of {name}")
        try:
            return _reconstructor(tuple(holders)).secret({holder: shares[holder][owner] for holder in holders})
        except ValueError as error:
            raise Refused(f"the shares of a secret of {name} are wrong: {error}") from None


@lru_cache(maxsize=4)
def _reconstructor(holders: tuple[int, ...]) -> shamir.Reconstructor:
    """In the complete graph all secrets are opened by the same holders, whose coefficients are computed once."""
    return shamir.Reconstructor(holders)


@dataclass(frozen=True)
class Opened:
    """The secrets of one session that open its sum over exactly the survivors."""

    session: Session
    survivors: frozenset[int]
    holders: Mapping[int, frozenset[int]]  # of each sharer's secrets, without itself
    seeds: Mapping[int, bytes] = field(repr=False)
    keys: Mapping[int, X25519PrivateKey] = field(repr=False)

    def unmask(self, total: RunningSum) -> EncodedVector:
        """The sum of the survivors' vectors modulo 2^bits, from `total`, which is left unchanged."""
        result = total.copy()
        crypto.apply_masks(result, self._masks(), self.session.plan.update.bits)
        return result.astype(np.uint32, copy=False)

    def _masks(self) -> Iterator[tuple[bytes, int]]:
        """Seed and sign of everything that is to be taken off: own masks, and halves of masks towards drop-outs."""
        session = self.session
        for owner, seed in self.seeds.items():
            yield crypto.self_seed(seed, session.id, owner), -1
        for owner, key in self.keys.items():
            for peer in sorted(self.survivors):
                if peer in self.holders[owner] or owner in self.holders[peer]:
                    pair = crypto.pair_seed(key, session.joins[peer].masking_key, session.id, owner, peer)
                    # The survivor's half of the mask is in the sum, with the survivor's sign.
                    yield pair, -crypto.pair_sign(peer, owner)


Stage = Joining | Sharing | Masking | Agreeing | Unmasking


def _entries(signatures: Mapping[int, bytes]) -> tuple[IndexedSignature, ...]:
    return tuple(IndexedSignature(index, signatures[index]) for index in sorted(signatures))


def _repeated(known: object, received: object) -> bool:
    """True for a byte-identical retransmission, False for a first message; raises Equivocation otherwise."""
    if known is None:
        return False
    if known != received:
        raise Equivocation("a second, different message for the same step")
    return True


def _enough(count: int, needed: int, what: str) -> None:
    if count < needed:
        raise TooFew(f"{count} devices {what}, {needed} are needed")
