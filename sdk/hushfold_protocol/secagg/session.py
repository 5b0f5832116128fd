"""What both roles derive from a roster: the session id, the order of devices, and the texts that are signed.

    session = SHA-256("session" | plan hash | Merkle root of the joins)

It goes into every key derivation, associated datum and signature: devices that were shown different plans or
rosters have nothing in common, and a sum over both cannot be opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..errors import Refused, TooFew
from ..graph import Graph
from ..messages import Join, Roster, to_bitmap
from ..plan import Plan
from ..signing import device_id, sign, verify, verify_join
from .crypto import LABEL, verify_public_key

_CONSENT, _SHARERS = "consent", "sharers"


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root of RFC 6962, section 2.1: leaves and nodes are hashed in domains of their own."""
    if not leaves:
        raise ValueError("a tree needs a leaf")
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    middle = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + merkle_root(leaves[:middle]) + merkle_root(leaves[middle:])).digest()


@dataclass(frozen=True)
class Session:
    """One roster under one plan. Index = position in the roster."""

    plan: Plan
    joins: tuple[Join, ...]
    id: bytes

    @property
    def size(self) -> int:
        return len(self.joins)

    @cached_property
    def roster(self) -> Roster:
        """What every device is sent of it."""
        return Roster(self.joins)

    @cached_property
    def graph(self) -> Graph:
        """Who holds shares of whose secrets: it follows from the roster's size and the plan."""
        return self.plan.cohort.graph(self.size)

    @property
    def threshold(self) -> int:
        """Shares that open a secret."""
        return self.graph.threshold

    @property
    def consents(self) -> int:
        """Signatures on one list of survivors before anything is unmasked: as many must share and upload, too."""
        return self.plan.cohort.consents(self.size)

    def require(self, received: bytes) -> None:
        """Raises Refused unless a message that names session `received` is of this one."""
        if received != self.id:
            raise Refused("a message of another session")

    @cached_property
    def _places(self) -> dict[bytes, int]:
        return {device_id(join.certificate.public_key): index for index, join in enumerate(self.joins)}

    def index_of(self, device: bytes) -> int:
        """The index of a device id. Raises KeyError."""
        return self._places[device]

    def place_of(self, join: Join) -> int | None:
        """The index of exactly this join."""
        index = self._places.get(device_id(join.certificate.public_key))
        return index if index is not None and self.joins[index] == join else None

    def name(self, index: int) -> str:
        """How an error names a device: an index says nothing once the roster is gone."""
        return f"device {device_id(self.joins[index].certificate.public_key).hex()}"

    def consent_text(self, sharers: frozenset[int], survivors: frozenset[int]) -> bytes:
        """What a survivor signs: the session, who shared, and who is in the sum.

        The sharers are in it too. With survivors alone, a server could show two halves of the cohort different
        sharers, so that each half masks within itself, and open two sums where the devices agreed to one.
        """
        return self.sharers_text(sharers) + to_bitmap(survivors, self.size)

    def sharers_text(self, sharers: frozenset[int]) -> bytes:
        """What a device signs when it uploads: the session, and the sharers that it was shown."""
        return self.id + to_bitmap(sharers, self.size)

    def verify_consent(self, index: int, text: bytes, signature: bytes) -> None:
        """Raises SignatureInvalid unless device `index` signed `text` as `sign_consent` does."""
        verify(self.joins[index].certificate.public_key, _CONSENT, text, signature)

    def verify_sharers(self, index: int, text: bytes, signature: bytes) -> None:
        """Raises SignatureInvalid unless device `index` signed `text` as `sign_sharers` does."""
        verify(self.joins[index].certificate.public_key, _SHARERS, text, signature)


def sign_consent(key: Ed25519PrivateKey, text: bytes) -> bytes:
    """A survivor's signature (64 bytes) over a session's `consent_text`."""
    return sign(key, _CONSENT, text)


def sign_sharers(key: Ed25519PrivateKey, text: bytes) -> bytes:
    """An uploading device's signature (64 bytes) over a session's `sharers_text`."""
    return sign(key, _SHARERS, text)


def admit(join: Join, taken: Set[bytes], plan: Plan, authority_key: bytes, now: float) -> None:
    """Every check that a join must pass to be in a roster whose other public keys are `taken`.

    The server makes it when a device joins, and each device for the whole roster: what passed at the first cannot fail
    at the second, so a device that is refused is refused alone. Raises SignatureInvalid for a join that no enrolled
    device signed for this plan or whose certificate ends too early, Refused for a key that is used twice or is not
    as it should be.
    """
    verify_join(join, plan, authority_key, now)
    keys = {join.sharing_key, join.masking_key}
    if len(keys) < 2 or keys & taken:
        raise Refused("a public key is used twice: each device needs two fresh ones")
    for key in keys:
        verify_public_key(key)


def open_session(plan: Plan, roster: Roster, authority_key: bytes, now: float) -> Session:
    """The session of a roster that is not trusted, after every check.

    `now` is unix seconds. Raises TooFew below the floor, Refused for a roster that is too large, unsorted or names
    a device twice, and for each join what `admit` raises.
    """
    joins = roster.joins
    _require_size(plan, len(joins))  # before anything is computed of it
    ids = [device_id(join.certificate.public_key) for join in joins]
    if any(one >= other for one, other in pairwise(ids)):
        raise Refused("the roster is not sorted by device id, or names a device twice")
    taken: set[bytes] = set()
    for join in joins:
        admit(join, taken, plan, authority_key, now)
        taken.update((join.sharing_key, join.masking_key))
    return session_of(plan, joins)


def session_of(plan: Plan, joins: tuple[Join, ...]) -> Session:
    """The session of joins that were admitted, in the order of their device ids. Raises TooFew or Refused for a number
    of them that the plan does not admit."""
    _require_size(plan, len(joins))
    root = merkle_root([join.encode() for join in joins])
    return Session(plan, joins, hashlib.sha256(LABEL + b"session\0" + plan.hash + root).digest())


def _require_size(plan: Plan, joined: int) -> None:
    if joined < plan.cohort.floor:
        raise TooFew(f"{joined} devices joined, the floor is {plan.cohort.floor}")
    if joined > plan.cohort.maximum:
        raise Refused(f"a roster of {joined} devices, the plan admits {plan.cohort.maximum}")
