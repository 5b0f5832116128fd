"""Reads and writes messages by the tables of docs/protocol.md, section 1 and on; see `independent_device`.

A record is a `SimpleNamespace` with the fields of its table; text stays bytes.
"""

from __future__ import annotations

import math
import struct
from types import SimpleNamespace
from typing import Any

from protocol_document import described

NUMBERS = {"u8": ">B", "u16": ">H", "u32": ">I", "u64": ">Q", "i64": ">q", "f64": ">d"}


class ProtocolError(Exception): ...


class WireError(ProtocolError): ...


class SignatureInvalid(ProtocolError): ...


class WrongState(ProtocolError): ...


class Refused(ProtocolError): ...


class TooFew(Refused): ...


class Equivocation(Refused): ...


def demand(holds: bool, why: str, error: type[ProtocolError] = Refused) -> None:
    if not holds:
        raise error(why)


def encode(kind: str, **fields: Any) -> bytes:
    """A message."""
    return _header(kind) + _write(kind, SimpleNamespace(**fields))


def decode(kind: str, message: bytes) -> Any:
    demand(message[:4] == _header(kind), f"this is no {kind}", WireError)
    record, end = _read(kind, memoryview(message), 4)
    demand(end == len(message), "bytes are left over", WireError)
    return record


def _header(kind: str) -> bytes:
    code = described()[kind].code
    assert code is not None
    return b"HF\x01" + bytes([code])


def _write(what: str, value: Any) -> bytes:
    name, _, inner = what.removesuffix("]").partition("[")
    if what in NUMBERS:
        return struct.pack(NUMBERS[what], value)
    if what in described():
        return b"".join(_write(field.type, getattr(value, field.name)) for field in described()[what].fields)
    if name == "bytes":
        assert len(value) == int(inner)
        return bytes(value)
    length = struct.pack(">I", len(value))
    if name == "list":
        return length + b"".join(_write(inner.split(";")[0], item) for item in value)
    return length + bytes(value)


def _read(what: str, data: memoryview, at: int) -> tuple[Any, int]:
    """What begins at a place, and where it ends."""

    def take(count: int) -> bytes:
        demand(at + count <= len(data), "it ends too early", WireError)
        return bytes(data[at : at + count])

    name, _, inner = what.removesuffix("]").partition("[")
    if what in NUMBERS:
        raw = take(struct.calcsize(NUMBERS[what]))
        (number,) = struct.unpack(NUMBERS[what], raw)
        demand(math.isfinite(number), "not a finite number", WireError)
        return number, at + len(raw)
    if what in described():
        record = SimpleNamespace()
        for field in described()[what].fields:
            value, at = _read(field.type, data, at)
            setattr(record, field.name, value)
        return record, at
    if name == "bytes":
        return take(int(inner)), at + int(inner)
    (length,) = struct.unpack(">I", take(4))
    at += 4
    demand(length <= int(inner.split(";")[-1]), "longer than it may be", WireError)
    if name == "list":
        items = []
        for _ in range(length):
            item, at = _read(inner.split(";")[0], data, at)
            items.append(item)
        return items, at
    content = take(length)
    if name == "text":
        try:
            content.decode()
        except UnicodeDecodeError:
            raise WireError("not UTF-8") from None
    return content, at + length


def to_bitmap(members: set[int], size: int) -> bytes:
    return sum(1 << member for member in members).to_bytes((size + 7) // 8, "little")


def from_bitmap(bitmap: bytes, size: int) -> set[int]:
    number = int.from_bytes(bitmap, "little")
    demand(len(bitmap) == (size + 7) // 8 and number < 1 << size, "a bitmap of another size", WireError)
    return {member for member in range(size) if number >> member & 1}
