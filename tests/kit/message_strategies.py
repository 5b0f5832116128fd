"""Hypothesis strategies for every message, from the declarations of its fields."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from declared_messages import MESSAGES, codecs_of, length_fields
from hypothesis import strategies as st

from hushfold_protocol import wire

SHORT = 40  # bytes or items of what may be long; and now and then as many as the field takes, if that is not too much
MUCH = 10_000  # bytes
ACCIDENTS = ("flip", "cut", "extend", "remove", "repeat", "length", "content", "overwrite")


@cache
def structs(kind: type[wire.Struct]) -> st.SearchStrategy[Any]:
    """Any value of a message, or of a record in one."""
    return st.builds(kind, **{name: _values(codec) for name, codec in codecs_of(kind).items()})


def _values(codec: wire.Codec) -> st.SearchStrategy[Any]:
    match codec:
        case wire.Record():
            return structs(codec.kind)
        case wire.Fixed():
            return st.binary(min_size=codec.size, max_size=codec.size)
        case wire.UInt():
            return st.integers(0, 256**codec.width - 1)
        case wire.Int64():
            return st.integers(-(2**63), 2**63 - 1)
        case wire.Float64():
            return st.floats(allow_nan=False, allow_infinity=False)
        case wire.Text():
            return st.text(max_size=codec.limit).filter(lambda text: len(text.encode()) <= codec.limit)
        case wire.Opaque():
            some = st.binary(max_size=min(SHORT, codec.limit))
            return some | st.just(bytes(codec.limit)) if codec.limit <= MUCH else some
        case wire.Items():
            return st.lists(_values(codec.item), max_size=min(4, codec.limit)).map(tuple)
    raise TypeError(f"{codec} is not known here")


any_message: st.SearchStrategy[wire.Message] = st.sampled_from(MESSAGES).flatmap(structs)


@st.composite
def mutations(draw: st.DrawFn, encoded: bytes, lengths: list[int]) -> bytes:
    """The bytes of a message after one to three accidents; some may undo others. `lengths` are its `length_fields`."""
    content = bytearray(encoded)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        accident = draw(st.sampled_from(ACCIDENTS))
        if accident == "flip" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif accident == "cut":
            del content[at:]
        elif accident == "extend":
            content += draw(st.binary(min_size=1, max_size=SHORT))
        elif accident == "remove":
            del content[at : at + draw(st.integers(1, 8))]
        elif accident == "repeat":
            content[at:at] = content[at : at + draw(st.integers(1, 80))]
        elif accident == "length" and lengths:
            place = draw(st.sampled_from(lengths))
            content[place : place + 4] = draw(st.integers(0, 2**32 - 1) | st.integers(0, 2000)).to_bytes(4, "big")
        elif accident == "content" and lengths:
            place = draw(st.sampled_from(lengths)) + 4
            content[place : place + 8] = draw(st.binary(min_size=8, max_size=8))[: len(content[place : place + 8])]
        else:
            content[at : at + 4] = draw(st.binary(min_size=4, max_size=4))
    return bytes(content)


@st.composite
def with_another_field(draw: st.DrawFn, message: wire.Message) -> wire.Message:
    """The message with one field, drawn anew."""
    name, codec = draw(st.sampled_from(list(codecs_of(type(message)).items())))
    return replace(message, **{name: draw(_values(codec))})


@st.composite
def mutated_messages(draw: st.DrawFn) -> tuple[type[wire.Message], bytes]:
    """A message's class, and its bytes after an accident."""
    message = draw(any_message)
    return type(message), draw(mutations(message.encode(), length_fields(message)))
