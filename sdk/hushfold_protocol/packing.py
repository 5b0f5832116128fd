"""Vectors of b-bit integers as bytes: the lowest bits first, without padding between values.

Where b is a multiple of four, two values fill whole bytes and are handled together, as one number in a 64-bit word: as
quick as numpy can be. All other widths go byte by byte.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

EncodedVector = npt.NDArray[np.uint32]
"""One-dimensional; each value below 2^bits, and sums taken modulo 2^bits."""

MIN_BITS, MAX_BITS = 8, 32

_CHUNK = 1 << 16  # values at a time, an even number: they stay in the cache
_WORD = 8  # bytes that are read for a pair of values, which may need fewer

_Pairs = npt.NDArray[np.uint64]


def _check_bits(bits: int) -> None:
    if not MIN_BITS <= bits <= MAX_BITS:
        raise ValueError(f"{MIN_BITS} to {MAX_BITS} bits a value, not {bits}")


def packed_size(count: int, bits: int) -> int:
    """Bytes that `count` values of `bits` bits take."""
    _check_bits(bits)
    return (count * bits + 7) // 8


@cache
def _pieces(bits: int) -> tuple[int, int, list[tuple[int, int, int]]]:
    """How a group of values lies in bytes: (values a group, bytes a group, [(value, byte, shift)]).

    A positive shift moves the value right before its low eight bits are the byte's, a negative one left.
    """
    values = 8 // math.gcd(bits, 8)
    size = values * bits // 8
    pieces = [
        (value, byte, 8 * byte - bits * value)
        for byte in range(size)
        for value in range(values)
        if bits * value < 8 * (byte + 1) and bits * (value + 1) > 8 * byte
    ]
    return values, size, pieces


def pack(vector: EncodedVector, bits: int) -> bytes:
    """The values of a uint32 vector, each below 2^bits, in ceil(n * bits / 8) bytes. Raises ValueError."""
    _check_bits(bits)
    if bits < 32 and vector.size and int(vector.max()) >> bits:
        raise ValueError(f"a value does not fit {bits} bits")
    if bits == 32:
        return vector.astype("<u4", copy=False).tobytes()
    packed = np.empty(packed_size(vector.size, bits), np.uint8)
    pack_part = _pack_pairs if bits % 4 == 0 else _pack_pieces
    for start in range(0, vector.size, _CHUNK):
        part = vector[start : start + _CHUNK]
        begin = start * bits // 8
        target = packed[begin : begin + packed_size(part.size, bits)]
        target[...] = pack_part(part, bits)[: target.size]
    return packed.tobytes()


def unpack(data: bytes, count: int, bits: int) -> EncodedVector:
    """The inverse of `pack`. Raises ValueError unless `data` is exactly `count` values, unused bits being zero."""
    values = np.zeros(count, np.uint32)
    add_packed(values, data, bits)
    return values


def add_packed(total: EncodedVector, data: bytes, bits: int) -> None:
    """Adds the vector that was packed into `data` to `total`, in place and modulo 2^32.

    Raises ValueError, and leaves `total` as it is, unless `data` is exactly as many values, unused bits being zero.
    """
    if len(data) != packed_size(total.size, bits):
        raise ValueError(
            f"{len(data)} bytes for {total.size} values of {bits} bits, {packed_size(total.size, bits)} needed"
        )
    unused = 8 * len(data) - total.size * bits
    if unused and data[-1] >> (8 - unused):
        raise ValueError("the unused bits of the last byte are not zero")
    if bits == 32:
        total += np.frombuffer(data, "<u4")
        return
    unpack_part = _unpack_pairs if bits % 4 == 0 else _unpack_pieces
    source = memoryview(data)
    for start in range(0, total.size, _CHUNK):
        part = total[start : start + _CHUNK]
        begin = start * bits // 8
        part += unpack_part(source[begin : begin + packed_size(part.size, bits)], part.size, bits)[: part.size]


def _pack_pairs(vector: EncodedVector, bits: int) -> npt.NDArray[np.uint8]:
    """The bytes of a part of a vector, and none or a few zeros after them."""
    pairs: _Pairs = np.zeros((vector.size + 1) // 2, "<u8")
    pairs.view("<u4")[: vector.size] = vector
    mask = (1 << bits) - 1
    high = pairs >> np.uint64(32 - bits)
    high &= np.uint64(mask << bits)
    pairs &= np.uint64(mask)
    pairs |= high
    return np.ndarray(pairs.size, f"V{bits // 4}", pairs, strides=(_WORD,)).copy().view(np.uint8)


def _unpack_pairs(data: memoryview, count: int, bits: int) -> EncodedVector:
    """The values in a part of a packed vector, and none or one more after them."""
    size, groups = bits // 4, (count + 1) // 2
    source = np.zeros(groups * size + _WORD, np.uint8)
    source[: len(data)] = np.frombuffer(data, np.uint8)
    pairs: _Pairs = np.ndarray(groups, "<u8", source, strides=(size,)).copy()
    mask = (1 << bits) - 1
    high = pairs << np.uint64(32 - bits)
    high &= np.uint64(mask << 32)
    pairs &= np.uint64(mask)
    pairs |= high
    return pairs.view("<u4")


def _pack_pieces(vector: EncodedVector, bits: int) -> npt.NDArray[np.uint8]:
    """As `_pack_pairs`, of any width."""
    values, size, pieces = _pieces(bits)
    groups = -(-vector.size // values)
    padded = np.zeros(groups * values, np.uint32)
    padded[: vector.size] = vector
    columns = padded.reshape(groups, values)
    packed = np.zeros((groups, size), np.uint8)
    for value, byte, shift in pieces:
        column = columns[:, value]
        piece = column >> np.uint32(shift) if shift >= 0 else column << np.uint32(-shift)
        packed[:, byte] |= piece.astype(np.uint8)
    return packed.reshape(-1)


def _unpack_pieces(data: memoryview, count: int, bits: int) -> EncodedVector:
    """As `_unpack_pairs`, of any width."""
    values, size, pieces = _pieces(bits)
    groups = -(-count // values)
    raw = np.zeros(groups * size, np.uint8)
    raw[: len(data)] = np.frombuffer(data, np.uint8)
    packed = raw.reshape(groups, size)
    columns = np.zeros((groups, values), np.uint32)
    for value, byte, shift in pieces:
        column = packed[:, byte].astype(np.uint32)
        columns[:, value] |= column << np.uint32(shift) if shift >= 0 else column >> np.uint32(-shift)
    columns &= np.uint32((1 << bits) - 1)
    return columns.reshape(-1)
