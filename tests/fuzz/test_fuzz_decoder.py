"""The decoder against any bytes: a message or a WireError, one encoding of a value, and work as the input is long."""

import sys
import tracemalloc
from contextlib import suppress

import pytest
from declared_messages import MESSAGES, length_fields, longest, smallest
from fuzzing import few, fuzzed
from hypothesis import given
from hypothesis import strategies as st
from message_strategies import any_message, mutated_messages, structs

from hushfold_protocol.errors import WireError
from hushfold_protocol.wire import HEADER, MAGIC, VERSION, Message, decode_any

CALLS, CALLS_PER_BYTE = 200, 20  # function calls of one decoding; a field of one byte takes about ten
MEMORY, MEMORY_PER_BYTE = 20_000, 40  # bytes; a list of small records has several Python objects for each


def decoded(data: bytes, kind: type[Message]) -> Message | None:
    """The message, which has this encoding and no other; None for bytes that are none."""
    try:
        message = kind.decode(data)
    except WireError:
        return None
    assert type(message) is kind
    assert message.encode() == data
    return message


@fuzzed()
@few(100)
@given(any_message)
def test_every_message_comes_back_as_it_was(message):
    encoded = message.encode()
    assert decoded(encoded, type(message)) == message
    assert decode_any(memoryview(encoded), *MESSAGES) == message


@fuzzed()
@few(150)
@given(st.sampled_from(MESSAGES), st.binary(max_size=400))
def test_any_bytes_are_a_message_or_a_wire_error(kind, noise):
    decoded(noise, kind)
    decoded(MAGIC + bytes((VERSION, kind.type_code)) + noise, kind)


@fuzzed()
@few(200)
@given(mutated_messages())
def test_what_became_of_a_message_is_a_message_or_a_wire_error(mutated):
    kind, data = mutated
    message = decoded(data, kind)
    try:
        other = decode_any(data, *MESSAGES)
    except WireError:
        assert message is None
    else:
        assert other.encode() == data


def within_means(data: bytes, kind: type[Message]) -> None:
    """Decodes, with as much work and memory as the input is long. Work is in calls: the same on every machine."""
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    tracemalloc.start()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        with suppress(WireError):
            kind.decode(data)
    finally:
        sys.setprofile(before)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert calls <= CALLS + CALLS_PER_BYTE * len(data)
    assert peak <= MEMORY + MEMORY_PER_BYTE * len(data)


@fuzzed()
@few(100)
@given(mutated_messages())
def test_work_and_memory_are_proportional_to_what_came(mutated):
    """Announced lengths are not believed."""
    kind, data = mutated
    within_means(data, kind)


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("cut", [0, 1])
def test_work_and_memory_for_the_longest_messages(kind, cut):
    """A thousand records, with the last byte of the last one or without it."""
    encoded = longest(kind).encode()
    within_means(encoded[: len(encoded) - cut], kind)


@fuzzed()
@few(100)
@given(st.sampled_from(MESSAGES).flatmap(structs), st.data())
def test_a_length_that_was_blown_up_is_refused(message, data):
    lengths = length_fields(message)
    if not lengths:
        return
    encoded = bytearray(message.encode())
    at = data.draw(st.sampled_from(lengths))
    length = int.from_bytes(encoded[at : at + 4], "big")
    encoded[at : at + 4] = data.draw(st.integers(length + 1, 2**32 - 1)).to_bytes(4, "big")
    assert decoded(bytes(encoded), type(message)) != message


@pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)
def test_each_message_has_a_smallest_one_whose_lengths_are_where_they_are_said_to_be(kind):
    """What the accidents are aimed at."""
    message = smallest(kind)
    encoded = message.encode()
    assert decoded(encoded, kind) == message
    for at in length_fields(message):
        assert HEADER <= at <= len(encoded) - 4
        assert encoded[at : at + 4] == bytes(4)
        wrong = bytearray(encoded)
        wrong[at : at + 4] = b"\xff" * 4
        with pytest.raises(WireError, match="announced"):
            kind.decode(bytes(wrong))


def test_these_are_all_messages_of_the_protocol():
    assert {"Plan", "Certificate", "Signed", "Join", "Shares", "Masked", "Closed"} <= {
        kind.__name__ for kind in MESSAGES
    }
    assert len(MESSAGES) == len({kind.type_code for kind in MESSAGES}) >= 18
