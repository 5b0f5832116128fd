"""Vectors of b-bit integers as bytes: the lowest bits first, without padding between values.

Where numpy has integers of b bits, it does the work. Where b is another multiple of four, two values fill whole bytes
and are handled together, as one number in a 64-bit word. All other widths go byte by byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache

import numpy as np
import numpy.typing as npt

Buffer = bytes | memoryview
EncodedVector = npt.NDArray[np.uint32]
"""One-dimensional; each value below 2^bits, and sums taken modulo 2^bits."""
RunningSum = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
"""A sum on its way, in numbers of `sum_width` bytes or wider ones: what is above the lowest bits means nothing yet."""

MIN_BITS, MAX_BITS = 8, 32

_WHOLE = {8: "u1", 16: "<u2", 32: "<u4"}  # widths of numpy's own integers
_CHUNK = 1 << 14  # values at a time, an even number: they stay in the cache
_WORD = 8  # bytes that are read for a pair of values, which may need fewer

_Pairs = npt.NDArray[np.uint64]


def _check_bits(bits: int) -> None:
    if not MIN_BITS <= bits <= MAX_BITS:
        raise ValueError(f"{MIN_BITS} to {MAX_BITS} bits a value, not {bits}")


def packed_size(count: int, bits: int) -> int:
    """Bytes that `count` values of `bits` bits take."""
    _check_bits(bits)
    return (count * bits + 7) // 8


def sum_width(bits: int) -> int:
    """Bytes of the numbers in which sums modulo 2^bits are taken: two where that is enough, else four."""
    return 2 if bits <= 16 else 4


def running_sum(count: int, bits: int) -> RunningSum:
    """A sum of no vectors yet, to be added to by `add_packed`."""
    return np.zeros(count, f"u{sum_width(bits)}")


def pack(vector: RunningSum, bits: int) -> bytes:
    """The values of a vector, each below 2^bits, in ceil(n * bits / 8) bytes. Raises ValueError."""
    _check_bits(bits)
    if bits < 8 * vector.itemsize and vector.size and int(vector.max()) >> bits:
        raise ValueError(f"a value does not fit {bits} bits")
    if bits in _WHOLE:
        return vector.astype(_WHOLE[bits], copy=False).tobytes()
    packed = np.empty(packed_size(vector.size, bits), np.uint8)
    pack_part = _pack_pairs if bits % 4 == 0 else _pack_pieces
    for part, target in _parts(vector, packed, bits):
        target[...] = pack_part(part, bits)[: target.size]
    return packed.tobytes()


def unpack(data: Buffer, count: int, bits: int) -> EncodedVector:
    """The inverse of `pack`. Raises ValueError unless `data` is exactly `count` values, unused bits being zero."""
    values = np.zeros(count, np.uint32)
    add_packed(values, data, bits)
    return values


def add_packed(total: RunningSum, data: Buffer, bits: int) -> None:
    """Adds the vector that was packed into `data` to `total`, in place and modulo what its numbers hold.

    Raises ValueError, and leaves `total` as it is, unless `data` is exactly as many values, unused bits being zero.
    """
    if len(data) != packed_size(total.size, bits):
        raise ValueError(
            f"{len(data)} bytes for {total.size} values of {bits} bits, {packed_size(total.size, bits)} needed"
        )
    unused = 8 * len(data) - total.size * bits
    if unused and data[-1] >> (8 - unused):
        raise ValueError("the unused bits of the last byte are not zero")
    if bits in _WHOLE:
        total += np.frombuffer(data, _WHOLE[bits])
        return
    if bits % 4 == 0:
        _add_pairs(total, data, bits)
    else:
        _add_pieces(total, data, bits)


def _parts(
    vector: RunningSum, packed: npt.NDArray[np.uint8] | Buffer, bits: int
) -> Iterator[tuple[RunningSum, npt.NDArray[np.uint8]]]:
    """Consecutive parts of a vector, each with its bytes."""
    whole = np.frombuffer(packed, np.uint8)
    for start in range(0, vector.size, _CHUNK):
        part, begin = vector[start : start + _CHUNK], start * bits // 8
        yield part, whole[begin : begin + packed_size(part.size, bits)]


def _pack_pairs(vector: RunningSum, bits: int) -> npt.NDArray[np.uint8]:
    """The bytes of a part of a vector, and none or a few zeros after them."""
    pairs: _Pairs = np.zeros((vector.size + 1) // 2, "<u8")
    pairs.view("<u4")[: vector.size] = vector
    mask = (1 << bits) - 1
    high = pairs >> np.uint64(32 - bits)
    high &= np.uint64(mask << bits)
    pairs &= np.uint64(mask)
    pairs |= high
    return np.ndarray(pairs.size, f"V{bits // 4}", pairs, strides=(_WORD,)).copy().view(np.uint8)


def _add_pairs(total: RunningSum, data: Buffer, bits: int) -> None:
    """Adds two values at a time; memory that is used again and again stays in the cache."""
    size, mask = bits // 4, np.uint64((1 << bits) - 1)
    high_mask, shift = mask << np.uint64(32), np.uint64(32 - bits)
    source = np.zeros(_CHUNK // 2 * size + _WORD, np.uint8)
    words: _Pairs = np.ndarray(_CHUNK // 2, "<u8", source, strides=(size,))
    lows: _Pairs = np.empty(_CHUNK // 2, "<u8")
    highs: _Pairs = np.empty(_CHUNK // 2, "<u8")
    for part, packed in _parts(total, data, bits):
        source[: packed.size] = packed
        groups = (part.size + 1) // 2
        pairs, high = lows[:groups], highs[:groups]
        pairs[...] = words[:groups]
        np.left_shift(pairs, shift, out=high)
        high &= high_mask
        pairs &= mask
        pairs |= high
        part += pairs.view("<u4")[: part.size]


def _pack_pieces(vector: RunningSum, bits: int) -> npt.NDArray[np.uint8]:
    """As `_pack_pairs`, for any width."""
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


def _add_pieces(total: RunningSum, data: Buffer, bits: int) -> None:
    """Adds values of any width."""
    values, size, pieces = _pieces(bits)
    for part, packed in _parts(total, data, bits):
        groups = -(-part.size // values)
        raw = np.zeros(groups * size, np.uint8)
        raw[: packed.size] = packed
        rows = raw.reshape(groups, size)
        columns = np.zeros((groups, values), np.uint32)
        for value, byte, shift in pieces:
            column = rows[:, byte].astype(np.uint32)
            columns[:, value] |= column << np.uint32(shift) if shift >= 0 else column >> np.uint32(-shift)
        columns &= np.uint32((1 << bits) - 1)
        part += columns.reshape(-1)[: part.size]


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
