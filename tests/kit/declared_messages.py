"""What the declarations of the messages say: every message, its fields, and where its lengths stand.

A message that is added to the protocol is in all of this by itself; a codec that is added is an error until it is told
what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any, get_args, get_type_hints

from hushfold_protocol import messages, plan, wire

assert messages
assert plan  # both are loaded, so that their messages are known

MESSAGES = sorted(
    (kind for kind in wire.Message._known.values() if kind.__module__.startswith("hushfold_protocol.")),
    key=lambda kind: kind.type_code,
)


def codecs_of(kind: type[wire.Struct]) -> dict[str, wire.Codec]:
    """The codec of each field."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: get_args(hints[field.name])[1] for field in fields(kind)}


def smallest(kind: type[wire.Struct]) -> Any:
    """The message of zeros and of as little as there can be."""
    return _filled(kind, 0)


def longest(kind: type[wire.Struct], much: int = 1 << 20) -> Any:
    """The message of zeros with as many bytes and items in each field as it takes, or `much`."""
    return _filled(kind, much)


def _filled(kind: type[wire.Struct], much: int) -> Any:
    def value(codec: wire.Codec) -> Any:
        match codec:
            case wire.Record():
                return _filled(codec.kind, much)
            case wire.Fixed():
                return bytes(codec.size)
            case wire.UInt() | wire.Int64():
                return 0
            case wire.Float64():
                return 0.0
            case wire.Text():
                return "\0" * min(codec.limit, much)
            case wire.Opaque():
                return bytes(min(codec.limit, much))
            case wire.Items():
                return (value(codec.item),) * min(codec.limit, much)
        raise TypeError(f"{codec} is not known here")

    return kind(**{name: value(codec) for name, codec in codecs_of(kind).items()})


def misshapen(message: wire.Message) -> list[wire.Message]:
    """For each field with parts, the message with a part too few and with one too many, and with records that name
    what they are about in another order.
    """
    found = []
    for name, codec in codecs_of(type(message)).items():
        if isinstance(codec, wire.Opaque | wire.Items) and not isinstance(codec, wire.Text):
            value = getattr(message, name)
            value = value.tobytes() if isinstance(value, memoryview) else value
            others = [value[1:], value + value[:1]]
            if isinstance(codec, wire.Items) and isinstance(codec.item, wire.Record):
                others.append(value[::-1])
            found += [replace(message, **{name: other}) for other in others if other != value]
    return found


def length_fields(message: wire.Message) -> list[int]:
    """Where, in the encoding, the four bytes of each length and of each number of items begin."""
    return list(_lengths(message, wire.HEADER))


def _lengths(struct: wire.Struct, at: int) -> Iterator[int]:
    for name, codec in codecs_of(type(struct)).items():
        value = getattr(struct, name)
        yield from _lengths_of(codec, value, at)
        at += len(codec.write(value, name))


def _lengths_of(codec: wire.Codec, value: Any, at: int) -> Iterator[int]:
    match codec:
        case wire.Record():
            yield from _lengths(value, at)
        case wire.Opaque():
            yield at
        case wire.Items():
            yield at
            at += 4
            for item in value:
                yield from _lengths_of(codec.item, item, at)
                at += len(codec.item.write(item, ""))
