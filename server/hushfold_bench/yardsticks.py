"""The building blocks alone, beside a copy in memory and plain AES.

A machine's speed changes with what else it does. So all of them take turns, and what is compared is what was measured
in the same turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hushfold_protocol.encoding import encode
from hushfold_protocol.packing import add_packed, pack, running_sum, sum_width
from hushfold_protocol.randomness import system_randomness
from hushfold_protocol.rotation import rotate
from hushfold_protocol.secagg.crypto import apply_masks
from hushfold_protocol.skellam import sample_skellam

from .setting import Setting

COPY, AES = "copy", "aes"

_MASKS = 64  # at once
_PIECE = 1 << 19  # bytes that are encrypted at once: plain AES is at its best


@dataclass(frozen=True, slots=True)
class Yardstick:
    """One building block: medians over the turns."""

    name: str
    title: str
    handled: int  # bytes that one run reads or makes
    seconds: float  # of processor time for one run
    aes: float  # seconds that plain AES takes for as many bytes, over those of this: 1 is as fast

    @property
    def rate(self) -> float:
        """GB/s."""
        return self.handled / self.seconds / 1e9


def measure_yardsticks(setting: Setting, turns: int, advance: Callable[[], None] = lambda: None) -> list[Yardstick]:
    """All of them, at the setting's sizes. `advance` is called after each turn."""
    blocks = _blocks(setting)
    for _, _, run in blocks.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in blocks}
    for _ in range(turns):
        for name, (_, _, run) in blocks.items():
            began = time.process_time()
            run()
            taken[name].append(time.process_time() - began)
        advance()
    aes_bytes = blocks[AES][1]
    return [
        Yardstick(
            name,
            title,
            handled,
            statistics.median(taken[name]),
            statistics.median(
                aes * handled / aes_bytes / own for own, aes in zip(taken[name], taken[AES], strict=True)
            ),
        )
        for name, (title, handled, _) in blocks.items()
    ]


def _blocks(setting: Setting) -> dict[str, tuple[str, int, Callable[[], object]]]:
    """By name: what it is, how many bytes it handles, and one run of it."""
    encoding = setting.plan().update.encoding()
    update, randomness = setting.update(0), system_randomness()
    vector = running_sum(encoding.dimension, encoding.bits)
    values = setting.encoded(0)
    packed = pack(values, encoding.bits)
    source, target = np.ones(1 << 23, np.uint32), np.empty(1 << 23, np.uint32)
    zeros, stream = bytes(_PIECE), bytearray(_PIECE + 16)
    pieces = -(-vector.nbytes // _PIECE)

    def aes() -> None:
        encryptor = Cipher(algorithms.AES(bytes(32)), modes.CTR(bytes(16))).encryptor()
        for _ in range(8 * pieces):
            encryptor.update_into(zeros, stream)

    seeds = [number.to_bytes(32, "big") for number in range(_MASKS)]
    variance = encoding.local_stddev**2
    size = 4 * encoding.dimension
    return {
        COPY: ("a copy in memory", target.nbytes, lambda: np.copyto(target, source)),
        AES: ("AES-256-CTR, nothing else", 8 * pieces * _PIECE, aes),
        "masks": (
            f"{_MASKS} masks added",
            _MASKS * sum_width(encoding.bits) * encoding.dimension,
            lambda: apply_masks(vector, ((seed, 1) for seed in seeds), encoding.bits),
        ),
        "noise": (
            f"noise for {encoding.dimension:,} values, stddev {encoding.local_stddev:,.0f}",
            4 * encoding.dimension,
            lambda: sample_skellam(encoding.dimension, variance, randomness),
        ),
        "rotation": ("rotation", size, lambda: rotate(update, encoding.rotation_seed)),
        "encoding": ("encoding, all of it", size, lambda: encode(update, encoding, randomness)),
        "packing": ("packing", size, lambda: pack(values, encoding.bits)),
        "adding": ("adding a packed vector", size, lambda: add_packed(vector, packed, encoding.bits)),
    }
