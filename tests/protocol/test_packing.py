"""Packed integers: one exact encoding for each vector, at every width."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushfold_protocol import packing
from hushfold_protocol.packing import add_packed, pack, packed_size, running_sum, sum_width, unpack


@st.composite
def _vectors(draw: st.DrawFn) -> tuple[list[int], int]:
    bits = draw(st.integers(8, 32))
    return draw(st.lists(st.integers(0, (1 << bits) - 1), max_size=100)), bits


@given(_vectors())
def test_bytes_are_the_bits_in_little_endian_order(vector: tuple[list[int], int]) -> None:
    values, bits = vector
    data = pack(np.array(values, np.uint32), bits)
    number = sum(value << (bits * index) for index, value in enumerate(values))  # the definition, in one integer
    assert data == number.to_bytes((len(values) * bits + 7) // 8, "little")
    assert len(data) == packed_size(len(values), bits)
    back = unpack(data, len(values), bits)
    assert back.dtype == np.uint32
    assert back.tolist() == values


@pytest.mark.parametrize("bits", range(8, 33))
def test_every_width_survives_extremes_across_group_borders(bits: int) -> None:
    values = np.tile(np.array([0, (1 << bits) - 1, 1, 1 << (bits - 1)], np.uint32), 300)[:1117]
    np.testing.assert_array_equal(unpack(pack(values, bits), values.size, bits), values)


@pytest.mark.parametrize("bits", range(8, 33))
def test_long_vectors_are_cut_without_a_seam(bits: int) -> None:
    """They are handled in parts: the bytes are those of the parts, one after the other."""
    size = packing._CHUNK
    values = np.random.default_rng(bits).integers(0, 1 << bits, size + 13, np.uint64).astype(np.uint32)
    data = pack(values, bits)
    assert data == pack(values[:size], bits) + pack(values[size:], bits)
    np.testing.assert_array_equal(unpack(data, values.size, bits), values)


@pytest.mark.parametrize("bits", [8, 19, 20, 31, 32])
def test_adding_a_packed_vector_is_adding_it_modulo_the_word(bits: int) -> None:
    one, other = np.random.default_rng(bits).integers(0, 1 << bits, (2, 77), np.uint64).astype(np.uint32)
    total = one + np.uint32((1 << 32) - 5)
    expected = total + other
    add_packed(total, pack(other, bits), bits)
    np.testing.assert_array_equal(total, expected)


@pytest.mark.parametrize("bits", range(8, 33))
def test_a_running_sum_is_the_sum_modulo_the_modulus_whatever_overflows(bits: int) -> None:
    vectors = np.random.default_rng(bits).integers(0, 1 << bits, (9, 77), np.uint64)
    total = running_sum(77, bits)
    assert total.itemsize == sum_width(bits) == (2 if bits <= 16 else 4)
    for vector in vectors:
        add_packed(total, memoryview(pack(vector.astype(np.uint32), bits)), bits)
    modulus = 1 << bits
    assert (total.astype(np.uint64) % modulus).tolist() == (vectors.sum(axis=0) % modulus).tolist()


@pytest.mark.parametrize("bits", [8, 11, 12, 16])
def test_a_narrow_vector_is_packed_like_a_wide_one(bits: int) -> None:
    values = np.random.default_rng(bits).integers(0, 1 << bits, 101).astype(np.uint16)
    assert pack(values, bits) == pack(values.astype(np.uint32), bits)
    if bits < 16:
        with pytest.raises(ValueError, match=f"does not fit {bits} bits"):
            pack(values | np.uint16(1 << bits), bits)


def test_what_cannot_be_unpacked_is_not_added() -> None:
    total = np.arange(5, dtype=np.uint32)
    for data in (b"", bytes(12) + b"\x10"):
        with pytest.raises(ValueError):
            add_packed(total, data, 20)
    assert total.tolist() == [0, 1, 2, 3, 4]


def test_unpacked_values_are_writable_and_apart_from_the_data() -> None:
    values = unpack(bytes(8), 2, 32)
    values += np.uint32(1)
    assert values.tolist() == [1, 1]


@pytest.mark.parametrize("length", [0, 12, 14])
def test_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        unpack(bytes(length), 5, 20)


def test_unused_bits_must_be_zero() -> None:
    data = bytearray(pack(np.arange(5, dtype=np.uint32), 20))  # 100 bits in 13 bytes
    data[-1] |= 0x10
    with pytest.raises(ValueError, match="unused bits"):
        unpack(bytes(data), 5, 20)


def test_value_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        pack(np.array([0, 1 << 20], np.uint32), 20)


@pytest.mark.parametrize("bits", [0, 7, 33])
def test_width_out_of_range_is_refused(bits: int) -> None:
    with pytest.raises(ValueError):
        pack(np.zeros(1, np.uint32), bits)
    with pytest.raises(ValueError):
        unpack(b"\0", 1, bits)
