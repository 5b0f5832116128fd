"""The byte format: one encoding of a value, every length checked, nothing left over."""

from dataclasses import dataclass, fields
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushfold_protocol import messages, plan, wire
from hushfold_protocol.errors import LocalError, WireError


@dataclass(frozen=True, slots=True)
class Inner(wire.Struct):
    number: Annotated[int, wire.UInt(2)]


@dataclass(frozen=True, slots=True)
class Sample(wire.Message, type_code=250):
    small: Annotated[int, wire.UInt(1)]
    signed: Annotated[int, wire.Int64()]
    real: Annotated[float, wire.Float64()]
    fixed: Annotated[bytes, wire.Fixed(3)]
    opaque: Annotated[bytes, wire.Opaque(5)]
    text: Annotated[str, wire.Text(20)]
    inner: Annotated[tuple[Inner, ...], wire.Items(wire.Record(Inner), 4)]


SAMPLE = Sample(7, -2, 0.5, b"abc", b"xy", "né", (Inner(1), Inner(65535)))

samples = st.builds(
    Sample,
    small=st.integers(0, 255),
    signed=st.integers(-(2**63), 2**63 - 1),
    real=st.floats(allow_nan=False, allow_infinity=False),
    fixed=st.binary(min_size=3, max_size=3),
    opaque=st.binary(max_size=5),
    text=st.text(max_size=5),
    inner=st.lists(st.builds(Inner, number=st.integers(0, 65535)), max_size=4).map(tuple),
)


def test_known_bytes():
    assert SAMPLE.encode() == bytes.fromhex(
        "4846 01 fa  07  fffffffffffffffe  3fe0000000000000  616263  00000002 7879  00000003 6ec3a9  00000002 0001 ffff"
    )


@given(samples)
def test_round_trip(sample):
    assert Sample.decode(sample.encode()) == sample


@dataclass(frozen=True, slots=True)
class Large(wire.Message, type_code=251):
    content: Annotated[bytes | memoryview, wire.Bulk(5)]


def test_bulk_is_written_like_opaque_bytes_and_read_where_it_lies():
    received = bytearray(Large(b"abc").encode())
    assert received == bytes.fromhex("4846 01 fb  00000003 616263")
    content = Large.decode(received).content
    assert content == b"abc"
    received[-1] = ord("d")
    assert content == b"abd"
    assert Large(content).encode() == bytes(received)
    for encoded, reason in ((received[:-1], "3 bytes expected, 2 left"), (received + b"e", "1 bytes left over")):
        with pytest.raises(WireError, match=reason):
            Large.decode(encoded)
    with pytest.raises(WireError, match="6 bytes announced, at most 5 allowed"):
        Large.decode(bytes.fromhex("484601fb 00000006") + b"abcdef")


@dataclass(frozen=True, slots=True)
class Listed(wire.Message, type_code=252):
    pairs: Annotated[tuple[Inner, ...], wire.Items(wire.Record(Inner), 3)]
    keys: Annotated[tuple[bytes, ...], wire.Items(wire.Fixed(2), 3)]
    texts: Annotated[tuple[str, ...], wire.Items(wire.Text(4), 3)]


def test_lists_of_what_is_always_as_long_are_read_at_once_and_as_strictly():
    listed = Listed((Inner(1), Inner(65535)), (b"ab", b"cd", b"ef"), ("x", "né"))
    encoded = listed.encode()
    assert Listed.decode(encoded) == listed
    assert Listed.decode(Listed((), (), ()).encode()) == Listed((), (), ())
    for end in range(len(encoded)):
        with pytest.raises(WireError):
            Listed.decode(encoded[:end])
    with pytest.raises(WireError, match=r"Listed\.pairs: 6 bytes expected, 5 left"):
        Listed.decode(bytes.fromhex("484601fc 00000003 0001 ffff 00"))
    with pytest.raises(WireError, match=r"Listed\.pairs: 4294967295 items announced, at most 3 allowed"):
        Listed.decode(bytes.fromhex("484601fc ffffffff"))


@given(samples, st.data())
def test_any_missing_byte_is_an_error(sample, data):
    encoded = sample.encode()
    cut = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(WireError):
        Sample.decode(encoded[:cut])


@given(samples, st.binary(min_size=1, max_size=8))
def test_left_over_bytes_are_an_error(sample, extra):
    with pytest.raises(WireError, match="left over"):
        Sample.decode(sample.encode() + extra)


@given(st.binary(max_size=80))
def test_noise_never_does_anything_but_raise_a_wire_error(noise):
    for kind in (Sample, plan.Plan, messages.Roster, messages.Unmask):
        header = wire.MAGIC + bytes((wire.VERSION, kind.type_code))
        for data in (noise, header + noise):
            try:
                decoded = kind.decode(data)
            except WireError:
                continue
            assert decoded.encode() == data


@pytest.mark.parametrize(
    ("at", "value", "fault"),
    [
        (0, ord("X"), "not a Hushfold message"),
        (2, 2, "protocol version 2"),
        (3, messages.Wait.type_code, "Sample expected, Wait received"),
    ],
)
def test_wrong_header(at, value, fault):
    encoded = bytearray(SAMPLE.encode())
    encoded[at] = value
    with pytest.raises(WireError, match=fault):
        Sample.decode(bytes(encoded))


def test_announced_lengths_are_checked_before_they_are_read():
    encoded = bytearray(SAMPLE.encode())
    encoded[24:28] = (2**31).to_bytes(4, "big")  # the length of `opaque`
    with pytest.raises(WireError, match=r"opaque: 2147483648 bytes announced, at most 5"):
        Sample.decode(bytes(encoded))


def test_not_a_number_is_refused():
    encoded = bytearray(SAMPLE.encode())
    encoded[13:21] = bytes.fromhex("7ff8000000000000")
    with pytest.raises(WireError, match="not a finite number"):
        Sample.decode(bytes(encoded))


@pytest.mark.parametrize(
    "change",
    [
        {"small": 256},
        {"small": -1},
        {"fixed": b"ab"},
        {"opaque": b"123456"},
        {"text": "x" * 21},
        {"real": float("inf")},
    ],
)
def test_values_that_do_not_fit_are_this_sides_fault(change):
    values = {f.name: getattr(SAMPLE, f.name) for f in fields(SAMPLE)}
    with pytest.raises(LocalError):
        Sample(**{**values, **change}).encode()


def test_type_codes_are_distinct():
    with pytest.raises(TypeError, match="taken by Wait"):

        @dataclass(frozen=True, slots=True)
        class Clash(wire.Message, type_code=messages.Wait.type_code):
            pass


@given(st.integers(1, 300), st.data())
def test_bitmap_round_trip(size, data):
    members = data.draw(st.frozensets(st.integers(0, size - 1)))
    bitmap = messages.to_bitmap(members, size)
    assert messages.from_bitmap(bitmap, size) == members
    with pytest.raises(WireError):
        messages.from_bitmap(bitmap + b"\0", size)


def test_bitmap_beyond_the_roster():
    with pytest.raises(WireError, match="beyond the roster"):
        messages.from_bitmap(b"\x20", 5)
