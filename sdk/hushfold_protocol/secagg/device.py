"""The device's role. All its transitions live here.

    Joined --Roster--> Shared --Delivery + vector--> Uploaded --Survivors--> Agreed --Consents--> Unmasked

Each function takes a state and the server's message and returns the next state and the answer. It raises
RemoteError for a message that must not be answered, and the state stays as it was. `DeviceSession` walks the
states, repeats an answer byte for byte when the same message comes again, and refuses a different one.

What the masks protect, in short: an upload is hidden by the device's own mask and by one mask for each neighbour
among the sharers. A device gives away shares of either a peer's own seed (it survived) or its masking key (it dropped
out), never both, and only after enough others have signed the same lists (`Session.consent_text`). A seed's shares it
gives away only for a peer that has signed the same sharers: one that was shown others may not have masked towards it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
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
from ..packing import EncodedVector, pack, sum_width
from ..plan import Plan
from ..randomness import RandomBytes
from ..signing import sign_join
from ..wire import Message
from . import crypto, shamir
from .session import Session, open_session, sign_consent, sign_sharers


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
    holders: frozenset[int]  # of this device's secrets
    own: dict[int, bytes] = field(repr=False)  # its share of its own seed, by its index, if it is a holder itself
    agreed: dict[int, bytes] = field(repr=False)  # secrets agreed on for the exchange of shares, by peer


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
    index: int
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
    """Checks the roster, fixes the session, chooses holders, and encrypts shares of both secrets to them."""
    if len(roster.joins) < min_cohort:
        raise TooFew(f"{len(roster.joins)} devices joined, this device demands {min_cohort}")
    session = open_session(state.plan, roster, state.identity.authority_key, now)
    index = session.place_of(state.join)
    if index is None:
        raise Refused("the roster does not hold this device's own keys")
    holders = session.graph.choose(index, random_bytes)
    seeds = shamir.share(state.seed, session.threshold, holders, random_bytes)
    keys = shamir.share(state.masking.private_bytes_raw(), session.threshold, holders, random_bytes)
    receivers = sorted(holders - {index})
    agreed = {peer: crypto.agree(state.sharing, session.joins[peer].sharing_key) for peer in receivers}
    sealed = tuple(
        crypto.encrypt_shares(
            crypto.sealing_key(agreed[peer], session.id, index, peer), seeds[peer] + keys[peer], session.id, index, peer
        )
        for peer in receivers
    )
    own = {index: seeds[index]} if index in holders else {}
    following = Shared(session, index, state.identity, state.sharing, state.masking, state.seed, holders, own, agreed)
    return following, Shares(session.id, to_bitmap(receivers, session.size), sealed)


def on_delivery(state: Shared, delivery: Delivery, vector: EncodedVector) -> tuple[Uploaded, Masked]:
    """Masks `vector` (uint32, already encoded and noised) towards the sharers that hold its secrets or sent theirs.

    The caller charges the device's privacy budget before it sends the result. Raises Refused, with the sender's id, for
    shares that do not open: without them this device could not help to take that sender's masks off. Raises TooFew if
    so few of its holders have shared that its own seed could not be had: the sum would be lost.
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
    present = state.holders & sharers
    if len(present) < session.threshold:
        raise TooFew(f"{len(present)} holders of this device's secrets shared, {session.threshold} are needed")
    received = _open_shares(state, delivery, sharers)
    masked = vector.astype(f"u{sum_width(bits)}")
    crypto.apply_masks(masked, _masks(state, (present | received.keys()) - {index}), bits)
    seed_shares = state.own | {peer: plain[: shamir.SHARE_BYTES] for peer, plain in received.items()}
    key_shares = {peer: plain[shamir.SHARE_BYTES :] for peer, plain in received.items()}
    following = Uploaded(session, index, state.identity, sharers, seed_shares, key_shares)
    signature = sign_sharers(state.identity.key, session.sharers_text(sharers))
    return following, Masked(session.id, pack(masked, bits), signature)


def _masks(state: Shared, peers: Collection[int]) -> Iterator[tuple[bytes, int]]:
    """Seed and sign of the device's own mask, and of those that it has in common with `peers`."""
    session, index = state.session, state.index
    yield crypto.self_seed(state.seed, session.id, index), 1
    for peer in peers:
        pair = crypto.pair_seed(state.masking, session.joins[peer].masking_key, session.id, index, peer)
        yield pair, crypto.pair_sign(index, peer)


def _open_shares(state: Shared, delivery: Delivery, sharers: frozenset[int]) -> dict[int, bytes]:
    """What was sealed to this device, by sender: a share of the seed, and one of the masking key."""
    session, index = state.session, state.index
    senders = from_bitmap(delivery.senders, session.size)
    if not senders <= sharers - {index}:
        raise Refused("shares of devices that have not shared, or of this device")
    if session.graph.complete and senders != sharers - {index}:
        raise Refused(f"shares of {len(senders)} devices for {len(sharers) - 1} peers")
    if len(delivery.sealed) != len(senders):
        raise Refused(f"{len(delivery.sealed)} shares of {len(senders)} devices")
    received = {}
    for peer, sealed in zip(sorted(senders), delivery.sealed, strict=True):
        secret = state.agreed.get(peer) or crypto.agree(state.sharing, session.joins[peer].sharing_key)
        key = crypto.sealing_key(secret, session.id, peer, index)
        try:
            received[peer] = crypto.decrypt_shares(key, sealed, session.id, peer, index)
        except Refused as error:
            raise Refused(f"{session.name(peer)}: {error}") from None
    return received


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
        state.index,
        state.sharers,
        survivors,
        {owner: share for owner, share in state.seed_shares.items() if owner in survivors},
        {owner: share for owner, share in state.key_shares.items() if owner in dropped},
    )
    return following, Consent(session.id, sign_consent(state.identity.key, text))


def on_consents(state: Agreed, consents: Consents) -> tuple[Unmasked, Unmask]:
    """Gives the shares that open the sum, once enough survivors have signed the lists that this device signed, and the
    others whose seeds it would help to open have signed the same sharers."""
    session = state.session
    session.require(consents.session)
    signers = _listed(consents.signatures, state.survivors, "consents")
    if len(signers) < session.consents:
        raise TooFew(f"{len(signers)} survivors consented, {session.consents} are needed")
    text = session.consent_text(state.sharers, state.survivors)
    for index, signature in signers.items():
        try:
            session.verify_consent(index, text, signature)
        except SignatureInvalid:
            raise Refused(f"{session.name(index)} consented to other lists than this device was shown") from None
    uploads = _listed(consents.uploads, state.survivors, "uploads")
    text = session.sharers_text(state.sharers)
    for owner in sorted(state.seed_shares.keys() - signers.keys() - {state.index}):
        try:
            session.verify_sharers(owner, text, uploads.get(owner, b""))
        except SignatureInvalid:
            raise Refused(f"{session.name(owner)} has not signed the sharers that this device was shown") from None
    answer = Unmask(session.id, _indexed(state.seed_shares), _indexed(state.key_shares))
    return Unmasked(), answer


def _listed(entries: tuple[IndexedSignature, ...], survivors: frozenset[int], what: str) -> dict[int, bytes]:
    """The signatures of some survivors, by index."""
    indices = [entry.index for entry in entries]
    if any(one >= other for one, other in pairwise(indices)):
        raise Refused(f"the list of {what} is not sorted, or names a device twice")
    if not set(indices) <= survivors:
        raise Refused(f"the list of {what} names a device that is not among the survivors")
    return {entry.index: entry.signature for entry in entries}


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
