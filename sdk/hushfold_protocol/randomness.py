"""Where the encoder's random bytes come from."""

from __future__ import annotations

import os
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


class RandomBytes(Protocol):
    """Anything that returns `count` bytes, new ones at each call: uniform, independent and unpredictable."""

    def __call__(self, count: int, /) -> bytes: ...


class AesCtrStream:
    """The AES-256-CTR key stream of a 32-byte key that is used for nothing else: several gigabytes a second.

    Two streams of one key are equal, which is what a reproducible test wants and nobody else.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise ValueError(f"an AES-256 key has 32 bytes, not {len(key)}")
        self._encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def __call__(self, count: int, /) -> bytes:
        return self._encryptor.update(bytes(count))


def system_randomness() -> AesCtrStream:
    """A stream under a fresh key from the operating system."""
    return AesCtrStream(os.urandom(32))
