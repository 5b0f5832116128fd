"""Keys, derivations, share encryption and masks. Every derivation names its purpose, its session and its ends."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import Refused
from ..packing import RunningSum, sum_width

LABEL = b"hushfold/v1/secagg/"  # of every hash and derivation in a session
_PIECE = (
    1 << 18
)  # bytes of a mask at a time: with less, threads wait for one another; three times as many fit into a cache
_BLOCK = 16  # bytes of a block of AES; parts of a vector begin at multiples of as many values, so at whole blocks
_STREAMS = 64  # mask streams that are open at a time
_THREADS = min(os.cpu_count() or 1, 8)  # that masks are made by
_ZEROS = memoryview(bytes(_PIECE))
# A key encrypts one message and no other (it depends on session, sender and receiver), so the nonce may be fixed.
_NONCE = bytes(12)
_KNOWN_TO_ALL = "an X25519 public key is of small order: a secret agreed on with it is known to all"
_FIELD = 2**255 - 19  # of Curve25519
_SMALL_ORDER = frozenset(
    {
        0,
        1,
        _FIELD - 1,
        0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
    }
)
"""The points of order 1, 2, 4 and 8 on the curve and its twist (https://cr.yp.to/ecdh.html)."""


def derive(secret: bytes, purpose: str, session: bytes, first: int, second: int) -> bytes:
    """32 bytes by HKDF-SHA256 (RFC 5869) for one purpose between two roster indices of one session."""
    info = LABEL + purpose.encode() + b"\0" + session + first.to_bytes(2, "big") + second.to_bytes(2, "big")
    return HKDF(SHA256(), 32, salt=None, info=info).derive(secret)


def agree(private: X25519PrivateKey, public: bytes) -> bytes:
    """The X25519 shared secret. Raises Refused for a public key of small order."""
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise Refused(_KNOWN_TO_ALL) from None


def verify_public_key(public: bytes) -> None:
    """Raises Refused unless `public` is an X25519 key as an honest device makes them.

    Every key has a second encoding with the unused top bit set (RFC 7748, section 5). A masking key in such an
    encoding can never be reconstructed to what the roster says.
    """
    point = int.from_bytes(public, "little")
    if point >= _FIELD:
        raise Refused("an X25519 public key is not in its canonical encoding")
    if point in _SMALL_ORDER:
        raise Refused(_KNOWN_TO_ALL)


def share_key(private: X25519PrivateKey, public: bytes, session: bytes, sender: int, receiver: int) -> bytes:
    """The key under which `sender` encrypts shares to `receiver`."""
    return sealing_key(agree(private, public), session, sender, receiver)


def sealing_key(agreed: bytes, session: bytes, sender: int, receiver: int) -> bytes:
    """`share_key` from what the two have agreed on, which is the same in both directions."""
    return derive(agreed, "share", session, sender, receiver)


def pair_seed(private: X25519PrivateKey, public: bytes, session: bytes, one: int, other: int) -> bytes:
    """The mask seed that two devices have in common; the order of the indices does not matter."""
    return derive(agree(private, public), "pair", session, min(one, other), max(one, other))


def self_seed(secret: bytes, session: bytes, index: int) -> bytes:
    """The seed of a device's own mask."""
    return derive(secret, "self", session, index, index)


def commit(seed: bytes, round_id: bytes) -> bytes:
    """Commitment to a self-mask secret: it has 256 bits of entropy, so a hash hides it."""
    return hashlib.sha256(LABEL + b"commit\0" + round_id + seed).digest()


def encrypt_shares(key: bytes, plain: bytes, session: bytes, sender: int, receiver: int) -> bytes:
    return AESGCM(key).encrypt(_NONCE, plain, _ends(session, sender, receiver))


def decrypt_shares(key: bytes, sealed: bytes, session: bytes, sender: int, receiver: int) -> bytes:
    """Raises Refused if they were not encrypted by `sender` to `receiver` in this session."""
    try:
        return AESGCM(key).decrypt(_NONCE, sealed, _ends(session, sender, receiver))
    except InvalidTag:
        raise Refused("the shares were not encrypted by their sender for this session and device") from None


def _ends(session: bytes, sender: int, receiver: int) -> bytes:
    return LABEL + session + sender.to_bytes(2, "big") + receiver.to_bytes(2, "big")


def pair_sign(one: int, other: int) -> int:
    """Whether device `one` adds (1) or subtracts (-1) the mask that it has in common with `other`; they cancel."""
    return 1 if one < other else -1


def apply_masks(vector: RunningSum, masks: Iterable[tuple[bytes, int]], bits: int, threads: int = _THREADS) -> None:
    """Adds (sign 1) or subtracts (sign -1) the AES-256-CTR stream of each seed, in place, modulo 2^bits.

    Value i of a mask is the little-endian number in bytes w i to w (i + 1) - 1 of the stream, w = `sum_width(bits)`. A
    seed is used for one vector of one session only, so the counter starts at zero. `masks` may be an iterator.

    A piece of the vector stays in the cache while many masks are applied to it: to fetch and store the vector for each
    of them would take as long as to make the masks. Each of `threads` has a part of the vector to itself; meanwhile the
    iterator makes the next seeds.
    """
    width = sum_width(bits)
    step = max(-(-vector.size // (_BLOCK * threads)) * _BLOCK, _PIECE // width)
    parts = [(vector[start : start + step], start * width // _BLOCK) for start in range(0, vector.size, step)]
    remaining = iter(masks)
    under_way: list[Future[None]] = []
    with ThreadPoolExecutor(threads) as pool:
        while some := list(islice(remaining, _STREAMS)):
            _finish(under_way)
            if len(parts) == 1:  # not worth a thread
                _apply(*parts[0], some, width)
            else:
                under_way = [pool.submit(_apply, part, block, some, width) for part, block in parts]
        _finish(under_way)
    if bits < 8 * vector.itemsize:
        vector &= vector.dtype.type((1 << bits) - 1)


def _finish(under_way: Iterable[Future[None]]) -> None:
    for part in under_way:
        part.result()


def _apply(part: RunningSum, block: int, masks: Sequence[tuple[bytes, int]], width: int) -> None:
    """Applies masks to the part of a vector that begins with AES block number `block` of each stream."""
    count = _PIECE // width
    buffer = bytearray(_PIECE + _BLOCK)
    words = np.frombuffer(buffer, f"<u{width}", count=count)
    counter = modes.CTR(block.to_bytes(16, "big"))
    streams = [
        (Cipher(algorithms.AES(seed), counter).encryptor(), np.add if sign > 0 else np.subtract) for seed, sign in masks
    ]
    for start in range(0, part.size, count):
        values = part[start : start + count]
        piece = values.astype(words.dtype, copy=False)
        zeros, mask = _ZEROS[: piece.nbytes], words[: piece.size]
        for stream, operation in streams:
            stream.update_into(zeros, buffer)
            operation(piece, mask, out=piece)
        if piece is not values:
            values[...] = piece
