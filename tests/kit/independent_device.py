"""A device written from docs/protocol.md alone: nothing of `hushfold_protocol` is imported, and nothing is fast.

It is what somebody would write who builds a phone in another language. If it plays the vectors byte for byte, the
document says all that it takes. Section numbers are those of the document, whose tables `independent_messages` reads.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from independent_messages import (
    Equivocation,
    Refused,
    SignatureInvalid,
    TooFew,
    WrongState,
    decode,
    demand,
    encode,
    from_bitmap,
    to_bitmap,
)
from independent_neighbours import neighbours

# ------------------------------------------------------------------ keys and signatures (section 2)

SECAGG = b"hushfold/v1/secagg/"


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def sign(key: Ed25519PrivateKey, purpose: bytes, content: bytes) -> bytes:
    return key.sign(b"hushfold/v1/" + purpose + b"\0" + content)


def verify(key: bytes, purpose: bytes, content: bytes, signature: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, b"hushfold/v1/" + purpose + b"\0" + content)
    except (InvalidSignature, ValueError):
        raise SignatureInvalid(f"{purpose!r} does not verify") from None


def device_id(certificate: Any) -> bytes:
    return sha256(b"hushfold/v1/device\0", certificate.public_key)[:16]


def agree(private: X25519PrivateKey, public: bytes) -> bytes:
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise Refused("a key of small order") from None


def merkle_root(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return sha256(b"\0", leaves[0])
    left = 1
    while 2 * left < len(leaves):
        left *= 2
    return sha256(b"\1", merkle_root(leaves[:left]), merkle_root(leaves[left:]))


# ------------------------------------------------------------------ the session (sections 7 and 8)


class IndexedShare(NamedTuple):
    index: int
    share: bytes


@dataclass
class IndependentDevice:
    """`told` takes a server's message and gives the answer, both as bytes; `join` is sent first."""

    plan_message: bytes
    certificate: bytes
    authority_key: bytes
    identity_key: bytes
    min_cohort: int
    now: float
    vector: bytes  # packed
    random_bytes: Callable[[int], bytes]

    def __post_init__(self) -> None:
        self.plan = decode("Plan", self.plan_message)
        self.identity = Ed25519PrivateKey.from_private_bytes(self.identity_key)
        self.sharing = X25519PrivateKey.from_private_bytes(self.random_bytes(32))
        self.masking_bytes = self.random_bytes(32)
        self.masking = X25519PrivateKey.from_private_bytes(self.masking_bytes)
        self.seed = self.random_bytes(32)
        mine = {
            "round_id": self.plan.round_id,
            "plan_hash": sha256(self.plan_message),
            "certificate": decode("Certificate", self.certificate),
            "sharing_key": self.sharing.public_key().public_bytes_raw(),
            "masking_key": self.masking.public_key().public_bytes_raw(),
            "seed_commitment": sha256(SECAGG, b"commit\0", self.plan.round_id, self.seed),
            "signature": bytes(64),
        }
        mine["signature"] = sign(self.identity, b"join", encode("Join", **mine)[:-64])
        self.join = encode("Join", **mine)
        self.state = "Joined"
        self.answered: dict[str, tuple[bytes, bytes]] = {}

    def told(self, kind: str, message: bytes) -> bytes:
        if kind in self.answered:
            before, answer = self.answered[kind]
            demand(before == message, f"another {kind}", Equivocation)
            return answer
        steps = {"Joined": "Roster", "Shared": "Delivery", "Uploaded": "Survivors", "Agreed": "Consents"}
        demand(steps.get(self.state) == kind, f"{kind} in state {self.state}", WrongState)
        received = decode(kind, message)
        demand(kind == "Roster" or received.session == getattr(self, "id", None), "another session")
        self.state, answer = getattr(self, f"on_{kind.lower()}")(received)
        self.answered[kind] = message, answer
        return answer

    def on_roster(self, roster: Any) -> tuple[str, bytes]:
        plan, joins = self.plan, roster.joins
        n = len(joins)
        demand(n >= self.min_cohort and n >= plan.cohort.floor, f"{n} devices", TooFew)
        demand(n <= plan.cohort.maximum, "too many")
        ids = [device_id(join.certificate) for join in joins]
        demand(all(one < other for one, other in pairwise(ids)), "not sorted")
        taken: set[bytes] = set()
        for join in joins:
            self.check_join(join, taken)
            taken |= {join.sharing_key, join.masking_key}
        leaves = [encode("Join", **vars(join)) for join in joins]
        demand(self.join in leaves, "this device's own join is missing")
        self.index, self.joins, self.size = leaves.index(self.join), joins, n
        self.id = sha256(SECAGG, b"session\0", sha256(self.plan_message), merkle_root(leaves))
        colluders = int(plan.cohort.gamma * plan.cohort.maximum + 1e-9)
        self.k, self.t, self.q = neighbours(n, colluders, plan.cohort.floor)
        self.holders = self.choose_holders()
        seeds, keys = self.share(self.seed), self.share(self.masking_bytes)
        receivers = self.holders - {self.index}
        sealed = [
            AESGCM(self.sealing_key(peer, self.index, peer)).encrypt(
                bytes(12), seeds[peer] + keys[peer], self.ends(self.index, peer)
            )
            for peer in sorted(receivers)
        ]
        self.seed_shares = {self.index: seeds[self.index]} if self.index in self.holders else {}
        self.key_shares: dict[int, bytes] = {}
        return "Shared", encode("Shares", session=self.id, receivers=to_bitmap(receivers, n), sealed=sealed)

    def check_join(self, join: Any, taken: set[bytes]) -> None:
        certificate, expires = join.certificate, self.plan.expires
        demand(join.plan_hash == sha256(self.plan_message), "another plan", SignatureInvalid)
        demand(join.round_id == self.plan.round_id, "another round", SignatureInvalid)
        verify(
            self.authority_key, b"certificate", encode("Certificate", **vars(certificate))[:-64], certificate.signature
        )
        valid = certificate.not_before <= min(self.now, expires) <= certificate.not_after
        demand(valid and expires <= certificate.not_after, "a certificate out of its time", SignatureInvalid)
        verify(certificate.public_key, b"join", encode("Join", **vars(join))[:-64], join.signature)
        keys = {join.sharing_key, join.masking_key}
        demand(len(keys) == 2 and not keys & taken, "a key twice")
        for key in keys:
            demand(int.from_bytes(key, "little") < 2**255 - 19, "not canonical")
            agree(self.sharing, key)

    def choose_holders(self) -> set[int]:
        if self.k == self.size:
            return set(range(self.size))
        others = [other for other in range(self.size) if other != self.index]
        for place in range(self.k):  # which draws these are is each device's own affair, as long as they are uniform
            left = len(others) - place
            while (number := int.from_bytes(self.random_bytes(4), "big")) >= 2**32 // left * left:
                pass
            pick = place + number % left
            others[place], others[pick] = others[pick], others[place]
        return set(others[: self.k])

    def share(self, secret: bytes) -> dict[int, bytes]:
        prime = 2**256 + 297
        random = [int.from_bytes(self.random_bytes(40), "big") % prime for _ in range(self.t - 1)]
        coefficients = [*random, int.from_bytes(secret, "big")]  # the highest degree first
        powers = range(self.t - 1, -1, -1)

        def value(x: int) -> int:
            return sum(c * pow(x, power, prime) for c, power in zip(coefficients, powers, strict=True)) % prime

        return {holder: value(holder + 1).to_bytes(33, "big") for holder in self.holders}

    def ends(self, first: int, second: int) -> bytes:
        return SECAGG + self.id + struct.pack(">HH", first, second)

    def derive(self, secret: bytes, purpose: bytes, first: int, second: int) -> bytes:
        info = SECAGG + purpose + b"\0" + self.id + struct.pack(">HH", first, second)
        return HKDF(SHA256(), 32, None, info).derive(secret)

    def sealing_key(self, peer: int, sender: int, receiver: int) -> bytes:
        return self.derive(agree(self.sharing, self.joins[peer].sharing_key), b"share", sender, receiver)

    def on_delivery(self, delivery: Any) -> tuple[str, bytes]:
        sharers = from_bitmap(delivery.sharers, self.size)
        demand(self.index in sharers, "this device has shared")
        demand(len(sharers) >= self.q and len(sharers & self.holders) >= self.t, f"{len(sharers)} sharers", TooFew)
        senders, peers = from_bitmap(delivery.senders, self.size), sharers - {self.index}
        demand(senders <= peers and (self.k < self.size or senders == peers), "other senders")
        demand(len(delivery.sealed) == len(senders), "another number of shares")
        plain = {}
        for peer, sealed in zip(sorted(senders), delivery.sealed, strict=True):
            key = self.sealing_key(peer, peer, self.index)
            try:
                plain[peer] = AESGCM(key).decrypt(bytes(12), sealed, self.ends(peer, self.index))
            except InvalidTag:
                raise Refused(f"the shares of {peer} do not open") from None
        self.seed_shares.update({peer: shares[:33] for peer, shares in plain.items()})
        self.key_shares.update({peer: shares[33:] for peer, shares in plain.items()})
        self.sharers = sharers
        signature = sign(self.identity, b"sharers", self.lists())
        vector = self.masked(((self.holders & sharers) | senders) - {self.index})
        del self.sharing, self.masking, self.masking_bytes, self.seed
        return "Uploaded", encode("Masked", session=self.id, vector=vector, signature=signature)

    def masked(self, peers: set[int]) -> bytes:
        bits, size = self.plan.update.bits, self.plan.update.dimension
        packed = int.from_bytes(self.vector, "little")
        values = [packed >> bits * i & (1 << bits) - 1 for i in range(size)]
        total = np.array(values, np.int64)
        for seed, sign in self.masks(peers):
            width = 2 if bits <= 16 else 4
            stream = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor().update(bytes(width * size))
            total += sign * np.frombuffer(stream, f"<u{width}").astype(np.int64)
        number = sum((int(value) % (1 << bits)) << bits * i for i, value in enumerate(total))
        return number.to_bytes((size * bits + 7) // 8, "little")

    def masks(self, peers: set[int]) -> Iterator[tuple[bytes, int]]:
        yield self.derive(self.seed, b"self", self.index, self.index), 1
        for peer in peers:
            ends = sorted((self.index, peer))
            agreed = agree(self.masking, self.joins[peer].masking_key)
            yield self.derive(agreed, b"pair", *ends), 1 if self.index < peer else -1

    def lists(self, *more: set[int]) -> bytes:
        return self.id + b"".join(to_bitmap(members, self.size) for members in (self.sharers, *more))

    def on_survivors(self, message: Any) -> tuple[str, bytes]:
        survivors = from_bitmap(message.survivors, self.size)
        demand(survivors <= self.sharers, "survivors who have not shared")
        demand(self.index in survivors, "this device has uploaded")
        demand(len(survivors) >= self.q, f"{len(survivors)} survivors", TooFew)
        self.survivors = survivors
        self.seed_shares = {owner: share for owner, share in self.seed_shares.items() if owner in survivors}
        self.key_shares = {
            owner: share for owner, share in self.key_shares.items() if owner in self.sharers - survivors
        }
        signature = sign(self.identity, b"consent", self.lists(survivors))
        return "Agreed", encode("Consent", session=self.id, signature=signature)

    def on_consents(self, consents: Any) -> tuple[str, bytes]:
        signed, uploads = self.listed(consents.signatures), self.listed(consents.uploads)
        demand(len(signed) >= self.q, f"{len(signed)} consents", TooFew)
        for index, signature in signed.items():
            self.require_signature(index, b"consent", self.lists(self.survivors), signature)
        for owner in self.seed_shares.keys() - signed.keys() - {self.index}:
            self.require_signature(owner, b"sharers", self.lists(), uploads.get(owner, bytes(64)))
        seeds, keys = (
            [IndexedShare(owner, shares[owner]) for owner in sorted(shares)]
            for shares in (self.seed_shares, self.key_shares)
        )
        self.seed_shares, self.key_shares = {}, {}
        return "Unmasked", encode("Unmask", session=self.id, seeds=seeds, keys=keys)

    def listed(self, entries: list[Any]) -> dict[int, bytes]:
        indices = [entry.index for entry in entries]
        demand(all(one < other for one, other in pairwise(indices)), "not sorted")
        demand(set(indices) <= self.survivors, "not a survivor")
        return {entry.index: entry.signature for entry in entries}

    def require_signature(self, index: int, purpose: bytes, content: bytes, signature: bytes) -> None:
        try:
            verify(self.joins[index].certificate.public_key, purpose, content, signature)
        except SignatureInvalid:
            raise Refused(f"{index} has signed other lists") from None
