"""Vectors of b-bit integers as bytes: the lowest bits first, without padding between values."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

EncodedVector = npt.NDArray[np.uint32]
"""One-dimensional; each value below 2^bits, and sums taken modulo 2^bits."""

MIN_BITS, MAX_BITS = 8, 32


def _check_bits(bits: int) -> None:
    if not MIN_BITS <= bits <= MAX_BITS:
        raise ValueError(f"{MIN_BITS} to {MAX_BITS} bits a value, not {bits}")


def packed_size(count: int, bits: int) -> int:
    """Bytes that `count` values of `bits` bits take."""
    _check_bits(bits)
    return (count * bits + 7) // 8


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
    return packed.tobytes()[: packed_size(vector.size, bits)]


def unpack(data: bytes, count: int, bits: int) -> EncodedVector:
    """The inverse of `pack`. Raises ValueError unless `data` is exactly `count` values, unused bits being zero."""
    if len(data) != packed_size(count, bits):
        raise ValueError(f"{len(data)} bytes for {count} values of {bits} bits, {packed_size(count, bits)} needed")
    if bits == 32:
        return np.frombuffer(data, "<u4").astype(np.uint32)
    unused = 8 * len(data) - count * bits
    if unused and data[-1] >> (8 - unused):
        raise ValueError("the unused bits of the last byte are not zero")
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
    return columns.reshape(-1)[:count]
