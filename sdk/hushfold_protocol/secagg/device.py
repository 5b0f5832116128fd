"""The device's role. All its transitions live here.

    Joined --Roster--> Shared --Delivery + vector--> Uploaded --Survivors--> Agreed --Consents--> Unmasked

Each function takes a state and the server's message and returns the next state and the answer. It raises
RemoteError for a message that must not be answered, and the state stays as it was. `DeviceSession` walks the
states, repeats an answer byte for byte when the same message comes again, and refuses a different one.

What the masks protect, in short: an upload is hidden by the device's own mask and by one mask for each other
sharer. A device gives away shares of either a peer's own seed (it survived) or its masking key (it dropped out),
never both, and only after enough others have signed the same lists (`Session.consent_text`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from ..errors import Equivocation, Refused, SignatureInvalid, TooFew, WrongState
from ..messages import (
    Certificate,
    Consent,
    Consents,
    Delivery,
    IndexedShare,
    Join,
    Masked,
    Roster,
    Shares,
    Survivors,
    Unmask,
    from_bitmap,
)
from ..packing import EncodedVector, pack
from ..plan import Plan
from ..randomness import RandomBytes
from ..signing import sign_join
from ..wire import Message
from . import crypto, shamir
from .session import Session, open_session, sign_consent


@dataclass(frozen=True)
class Identity:
    """The enrolled device and the authority that it trusts to vouch for others."""

    key: Ed25519PrivateKey = field(repr=False)
    certificate: Certificate
    authority_key: bytes


@dataclass(frozen=True)
class Joined:
    plan: Plan
    identity: Identity
    join: Join
    sharing: X25519PrivateKey = field(repr=False)
    masking: X25519PrivateKey = field(repr=False)
    seed: bytes = field(repr=False)  # secret of this device's own mask


@dataclass(frozen=True)
class Shared:
    session: Session
    index: int
    identity: Identity
    sharing: X25519PrivateKey = field(repr=False)
    masking: X25519PrivateKey = field(repr=False)
    seed: bytes = field(repr=False)
    own: bytes = field(repr=False)  # this device's share of its own seed


@dataclass(frozen=True)
class Uploaded:
    session: Session
    index: int
    identity: Identity
    sharers: frozenset[int]
    seed_shares: dict[int, bytes] = field(repr=False)  # by owner
    key_shares: dict[int, bytes] = field(repr=False)  # by owner


@dataclass(frozen=True)
class Agreed:
    session: Session
    sharers: frozenset[int]
    survivors: frozenset[int]
    seed_shares: dict[int, bytes] = field(repr=False)  # of survivors only
    key_shares: dict[int, bytes] = field(repr=False)  # of drop-outs only


@dataclass(frozen=True)
class Unmasked:
    """The device has answered everything and keeps no secret."""


State = Joined | Shared | Uploaded | Agreed | Unmasked


def join(plan: Plan, identity: Identity, random_bytes: RandomBytes) -> tuple[Joined, Join]:
    """Fresh keys for one plan, bound to it and to the enrolled device by a signature."""
    sharing = X25519PrivateKey.from_private_bytes(random_bytes(32))
    masking = X25519PrivateKey.from_private_bytes(random_bytes(32))
    seed = random_bytes(shamir.SECRET_BYTES)
    message = sign_join(
        identity.key,
        plan,
        identity.certificate,
        sharing.public_key().public_bytes_raw(),
        masking.public_key().public_bytes_raw(),
        crypto.commit(seed, plan.round_id),
    )
    return Joined(plan, identity, message, sharing, masking, seed), message


def on_roster(
    state: Joined, roster: Roster, now: float, min_cohort: int, random_bytes: RandomBytes
) -> tuple[Shared, Shares]:
    """Checks the roster, fixes the session, and encrypts shares of both secrets to every other device."""
    if len(roster.joins) < min_cohort:
        raise TooFew(f"{len(roster.joins)} devices joined, this device demands {min_cohort}")
    session = open_session(state.plan, roster, state.identity.authority_key, now)
    try:
        index = session.joins.index(state.join)
    except ValueError:
        raise Refused("the roster does not hold this device's own keys") from None
    seeds = shamir.share(state.seed, session.threshold, session.size, random_bytes)
    keys = shamir.share(state.masking.private_bytes_raw(), session.threshold, session.size, random_bytes)
    sealed = []
    for peer, peer_join in enumerate(session.joins):
        if peer != index:
            key = crypto.share_key(state.sharing, peer_join.sharing_key, session.id, index, peer)
            sealed.append(crypto.encrypt_shares(key, seeds[peer] + keys[peer], session.id, index, peer))
    following = Shared(session, index, state.identity, state.sharing, state.masking, state.seed, seeds[index])
    return following, Shares(session.id, tuple(sealed))


def on_delivery(state: Shared, delivery: Delivery, vector: EncodedVector) -> tuple[Uploaded, Masked]:
    """Masks `vector` (uint32, already encoded and noised) towards every other sharer.

    The caller charges the device's privacy budget before it sends the result. Raises Refused, with the sender's id, for
    shares that do not open: without them this device could not help to take that sender's masks off.
    """
    session, index = state.session, state.index
    session.require(delivery.session)
    bits = session.plan.update.bits
    if vector.dtype != np.uint32 or vector.ndim != 1:
        raise ValueError("a one-dimensional uint32 vector is needed")
    sharers = from_bitmap(delivery.sharers, session.size)
    if index not in sharers:
        raise Refused("this device shared its secrets, but the server says that it did not")
    if len(sharers) < session.consents:
        raise TooFew(f"{len(sharers)} devices shared, {session.consents} are needed")
    peers = sorted(sharers - {index})
    if len(delivery.sealed) != len(peers):
        raise Refused(f"shares of {len(delivery.sealed)} devices for {len(peers)} peers")
    seed_shares, key_shares = {index: state.own}, {}
    masked = vector.copy()
    for peer, sealed in zip(peers, delivery.sealed, strict=True):
        peer_join = session.joins[peer]
        key = crypto.share_key(state.sharing, peer_join.sharing_key, session.id, peer, index)
        try:
            plain = crypto.decrypt_shares(key, sealed, session.id, peer, index)
        except Refused as error:
            raise Refused(f"{session.name(peer)}: {error}") from None
        seed_shares[peer] = plain[: shamir.SHARE_BYTES]
        key_shares[peer] = plain[shamir.SHARE_BYTES :]
        pair = crypto.pair_seed(state.masking, peer_join.masking_key, session.id, index, peer)
        crypto.apply_mask(masked, pair, crypto.pair_sign(index, peer))
    crypto.apply_mask(masked, crypto.self_seed(state.seed, session.id, index), 1)
    crypto.reduce(masked, bits)
    following = Uploaded(session, index, state.identity, sharers, seed_shares, key_shares)
    return following, Masked(session.id, pack(masked, bits))


def on_survivors(state: Uploaded, message: Survivors) -> tuple[Agreed, Consent]:
    """Signs the list of survivors, and forgets at once the shares that this list must never ask for."""
    session = state.session
    session.require(message.session)
    survivors = from_bitmap(message.survivors, session.size)
    if not survivors <= state.sharers:
        raise Refused("the list of survivors names devices that have not shared")
    if state.index not in survivors:
        raise Refused("this device uploaded, but the server says that it did not")
    if len(survivors) < session.consents:
        raise TooFew(f"{len(survivors)} devices uploaded, {session.consents} are needed")
    dropped = state.sharers - survivors
    text = session.consent_text(state.sharers, survivors)
    following = Agreed(
        session,
        state.sharers,
        survivors,
        {owner: share for owner, share in state.seed_shares.items() if owner in survivors},
        {owner: share for owner, share in state.key_shares.items() if owner in dropped},
    )
    return following, Consent(session.id, sign_consent(state.identity.key, text))


def on_consents(state: Agreed, consents: Consents) -> tuple[Unmasked, Unmask]:
    """Gives the shares that open the sum, once enough survivors have signed the lists that this device signed."""
    session = state.session
    session.require(consents.session)
    signers = [entry.index for entry in consents.signatures]
    if any(one >= other for one, other in pairwise(signers)):
        raise Refused("the list of consents is not sorted, or names a device twice")
    if not set(signers) <= state.survivors:
        raise Refused("a consent by a device that is not among the survivors")
    if len(signers) < session.consents:
        raise TooFew(f"{len(signers)} survivors consented, {session.consents} are needed")
    text = session.consent_text(state.sharers, state.survivors)
    for entry in consents.signatures:
        try:
            session.verify_consent(entry.index, text, entry.signature)
        except SignatureInvalid:
            raise Refused(f"{session.name(entry.index)} consented to other lists than this device was shown") from None
    answer = Unmask(session.id, _indexed(state.seed_shares), _indexed(state.key_shares))
    return Unmasked(), answer


def _indexed(shares: dict[int, bytes]) -> tuple[IndexedShare, ...]:
    return tuple(IndexedShare(owner, shares[owner]) for owner in sorted(shares))


class DeviceSession:
    """Walks one device through one session: message in, answer out.

    `vector` is called once, when the sharers are known, and gives the encoded update. The caller charges the device's
    budget when `receive` answers with a Masked, before it sends that. `clock` gives unix seconds.
    """

    def __init__(
        self,
        plan: Plan,
        identity: Identity,
        vector: Callable[[], EncodedVector],
        *,
        min_cohort: int,
        clock: Callable[[], float],
        random_bytes: RandomBytes,
    ) -> None:
        self._vector, self._min_cohort = vector, min_cohort
        self._clock, self._random = clock, random_bytes
        self._answered: dict[type[Message], tuple[Message, Message]] = {}
        self.state: State
        self.state, self.join = join(plan, identity, random_bytes)

    def receive(self, message: Message) -> Message:
        """The answer to a server's message.

        Raises Equivocation for a second, different message of one kind, WrongState for one out of order, and what
        the step itself refuses.
        """
        known = self._answered.get(type(message))
        if known is not None:
            if known[0] != message:
                raise Equivocation(f"a second, different {type(message).__name__} for the same session")
            return known[1]
        following, answer = self._step(message)
        self._answered[type(message)] = (message, answer)
        self.state = following
        return answer

    def _step(self, message: Message) -> tuple[State, Message]:
        match self.state, message:
            case Joined() as state, Roster():
                return on_roster(state, message, self._clock(), self._min_cohort, self._random)
            case Shared() as state, Delivery():
                return on_delivery(state, message, self._vector())
            case Uploaded() as state, Survivors():
                return on_survivors(state, message)
            case Agreed() as state, Consents():
                return on_consents(state, message)
            case state, _:
                raise WrongState(f"{type(message).__name__} received in state {type(state).__name__}")
