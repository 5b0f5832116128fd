"""The messages between device, server and enrolment authority.

    enrol        device -> authority  EnrolRequest          authority -> device  Certificate
    check in     device -> server     Signed(CheckIn)       server -> device     Invitation | ComeBack
    join         device -> server     Join                  server -> device     Roster
    share        device -> server     Signed(Shares)        server -> device     Delivery
    upload       device -> server     Signed(Masked)        server -> device     Survivors
    agree        device -> server     Signed(Consent)       server -> device     Consents
    unmask       device -> server     Signed(Unmask)        server -> device     Closed

The server answers Wait while the next message is not there yet, and Closed when the round has ended.
Device indices are positions in the roster, which is sorted by device id; a set of devices travels as a bitmap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from .errors import WireError
from .plan import MAX_COHORT
from .wire import Broadcast, Bulk, Fixed, Items, Message, Opaque, Record, Struct, Text, UInt

MAX_VECTOR_BYTES = 64 << 20  # one masked vector
_BITMAP_BYTES = (MAX_COHORT + 7) // 8
SEALED_BYTES = 2 * 33 + 16  # two shares of 33 bytes and the AES-GCM tag
DEVICE_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Certificate(Message, type_code=10):
    """The authority's word that a device key belongs to one enrolled device."""

    public_key: Annotated[bytes, Fixed(32)]  # Ed25519
    not_before: Annotated[int, UInt(8)]  # unix seconds
    not_after: Annotated[int, UInt(8)]  # unix seconds
    signature: Annotated[bytes, Fixed(64)]  # of the authority


@dataclass(frozen=True, slots=True)
class EnrolRequest(Message, type_code=11):
    """A device asks for a certificate. `evidence` is what the platform attests; the local authority takes none."""

    public_key: Annotated[bytes, Fixed(32)]
    evidence: Annotated[bytes, Opaque(8192)]
    signature: Annotated[bytes, Fixed(64)]  # by that key, over the key and the evidence


@dataclass(frozen=True, slots=True)
class Signed(Message, type_code=12):
    """Another message with its sender's signature. Who the sender is, the context says."""

    payload: Annotated[bytes, Opaque(MAX_VECTOR_BYTES + 1024)]
    signature: Annotated[bytes, Fixed(64)]


@dataclass(frozen=True, slots=True)
class CheckIn(Message, type_code=20):
    """A device whose conditions hold offers to train. What it runs and what it holds, it does not say."""

    population: Annotated[str, Text(64)]
    certificate: Annotated[Certificate, Record(Certificate)]
    time: Annotated[int, UInt(8)]  # unix seconds; old check-ins are refused


@dataclass(frozen=True, slots=True)
class Invitation(Message, type_code=21):
    """A plan and the server's signature over it."""

    plan: Annotated[bytes, Opaque(4096)]
    signature: Annotated[bytes, Fixed(64)]


@dataclass(frozen=True, slots=True)
class ComeBack(Message, type_code=22):
    """Nothing to do now (pace steering): check in again after this long."""

    after_ms: Annotated[int, UInt(4)]
    reason: Annotated[str, Text(200)]


@dataclass(frozen=True, slots=True)
class Join(Message, type_code=30):
    """A device that holds a finished update enters the session with fresh keys."""

    round_id: Annotated[bytes, Fixed(16)]
    plan_hash: Annotated[bytes, Fixed(32)]
    certificate: Annotated[Certificate, Record(Certificate)]
    sharing_key: Annotated[bytes, Fixed(32)]  # X25519: encrypts shares between devices
    masking_key: Annotated[bytes, Fixed(32)]  # X25519: pairwise masks
    seed_commitment: Annotated[bytes, Fixed(32)]  # SHA-256 commitment to the self-mask seed
    signature: Annotated[bytes, Fixed(64)]  # by the enrolled device key, over all of the above


@dataclass(frozen=True)
class Roster(Broadcast, type_code=31):
    """Everyone in the session, sorted by device id."""

    joins: Annotated[tuple[Join, ...], Items(Record(Join), MAX_COHORT)]


@dataclass(frozen=True, slots=True)
class Shares(Message, type_code=32):
    """One device's shares, encrypted to the other devices that hold its secrets, in the roster's order."""

    session: Annotated[bytes, Fixed(32)]
    receivers: Annotated[bytes, Opaque(_BITMAP_BYTES)]  # bitmap over the roster
    sealed: Annotated[tuple[bytes, ...], Items(Fixed(SEALED_BYTES), MAX_COHORT)]


@dataclass(frozen=True, slots=True)
class Delivery(Message, type_code=33):
    """Who has shared, who among them has chosen the receiver, and what these encrypted to it, in the roster's order."""

    session: Annotated[bytes, Fixed(32)]
    sharers: Annotated[bytes, Opaque(_BITMAP_BYTES)]  # bitmap over the roster
    senders: Annotated[bytes, Opaque(_BITMAP_BYTES)]  # bitmap over the roster
    sealed: Annotated[tuple[bytes, ...], Items(Fixed(SEALED_BYTES), MAX_COHORT)]


@dataclass(frozen=True, slots=True)
class Masked(Message, type_code=34):
    """The encoded update under all its masks, packed to the plan's bits."""

    session: Annotated[bytes, Fixed(32)]
    vector: Annotated[bytes | memoryview, Bulk(MAX_VECTOR_BYTES)]
    signature: Annotated[bytes, Fixed(64)]  # over the session and the sharers that the device was shown


@dataclass(frozen=True, slots=True)
class Survivors(Message, type_code=35):
    """Whose vectors are in the sum."""

    session: Annotated[bytes, Fixed(32)]
    survivors: Annotated[bytes, Opaque(_BITMAP_BYTES)]  # bitmap over the roster


@dataclass(frozen=True, slots=True)
class Consent(Message, type_code=36):
    """A survivor's signature over the session, its sharers and its survivors."""

    session: Annotated[bytes, Fixed(32)]
    signature: Annotated[bytes, Fixed(64)]


@dataclass(frozen=True, slots=True)
class IndexedSignature(Struct):
    index: Annotated[int, UInt(2)]
    signature: Annotated[bytes, Fixed(64)]


@dataclass(frozen=True)
class Consents(Broadcast, type_code=37):
    """The signatures that show a device that enough others saw the same survivors, and the rest the same sharers."""

    session: Annotated[bytes, Fixed(32)]
    signatures: Annotated[tuple[IndexedSignature, ...], Items(Record(IndexedSignature), MAX_COHORT)]
    uploads: Annotated[tuple[IndexedSignature, ...], Items(Record(IndexedSignature), MAX_COHORT)] = ()
    """`Masked.signature` of the survivors that have not consented."""


@dataclass(frozen=True, slots=True)
class IndexedShare(Struct):
    index: Annotated[int, UInt(2)]  # whose secret it is a share of
    share: Annotated[bytes, Fixed(33)]


@dataclass(frozen=True, slots=True)
class Unmask(Message, type_code=38):
    """Shares of the survivors' self-mask seeds and of the drop-outs' masking keys; never both of one device."""

    session: Annotated[bytes, Fixed(32)]
    seeds: Annotated[tuple[IndexedShare, ...], Items(Record(IndexedShare), MAX_COHORT)]
    keys: Annotated[tuple[IndexedShare, ...], Items(Record(IndexedShare), MAX_COHORT)]


@dataclass(frozen=True, slots=True)
class Wait(Message, type_code=40):
    """The next message of this step is not there yet."""

    after_ms: Annotated[int, UInt(4)]


@dataclass(frozen=True, slots=True)
class Closed(Message, type_code=41):
    """The round has ended for this device."""

    ending: Annotated[int, UInt(1)]  # an Ending
    reason: Annotated[str, Text(500)]  # for a person; empty where the sum was formed


class Ending(IntEnum):
    """How a round ended for one device."""

    SUMMED = 1  # its update is in the sum
    LEFT_OUT = 2  # the round goes on, or ended, without it
    ABORTED = 3  # there is no sum


def to_bitmap(members: Iterable[int], size: int) -> bytes:
    """The set of indices `members`, all below `size`, as ceil(size / 8) bytes, lowest bit first."""
    bits = 0
    for index in members:
        if not 0 <= index < size:
            raise ValueError(f"index {index} outside a roster of {size}")
        bits |= 1 << index
    return bits.to_bytes((size + 7) // 8, "little")


def from_bitmap(bitmap: bytes, size: int) -> frozenset[int]:
    """The inverse of `to_bitmap`. Raises WireError for a wrong length or bits beyond `size`."""
    if len(bitmap) != (size + 7) // 8:
        raise WireError(f"bitmap of {len(bitmap)} bytes for a roster of {size}")
    bits = int.from_bytes(bitmap, "little")
    if bits >> size:
        raise WireError(f"bitmap names devices beyond the roster of {size}")
    return frozenset(index for index, bit in enumerate(reversed(f"{bits:b}")) if bit == "1")
