"""The byte format of every message: fixed-width big-endian integers and length-prefixed bytes.

A message is a frozen dataclass whose fields are annotated with a codec of this module:

    @dataclass(frozen=True, slots=True)
    class ComeBack(Message, type_code=3):
        after_ms: Annotated[int, UInt(4)]
        reason: Annotated[str, Text(200)]

On the wire it is `48 46 | version | type | fields...`. There is exactly one encoding of a value (no optional
fields, no alternative lengths), so bytes can be signed and hashed. Decoding checks every length against its
bound before it allocates, and fails on a byte too few or too many.
"""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from dataclasses import fields
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self, get_args, get_origin, get_type_hints

from .errors import LocalError, WireError

MAGIC = b"HF"
VERSION = 1
HEADER = len(MAGIC) + 2  # bytes


class Reader:
    """A cursor over received bytes that never reads past their end."""

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._at, self._end = 0, len(self._data)

    def take(self, count: int, what: str) -> bytes:
        """The next bytes."""
        return self.view(count, what).tobytes()

    def view(self, count: int, what: str) -> memoryview:
        """The next bytes where they are, without a copy."""
        start = self._at
        end = start + count
        if end > self._end:
            raise WireError(f"{what}: {count} bytes expected, {self._end - start} left")
        self._at = end
        return self._data[start:end]

    def finish(self) -> None:
        left = self._end - self._at
        if left:
            raise WireError(f"{left} bytes left over after the last field")


class Codec(ABC):
    """How one field is written and read. `what` names the field in errors."""

    layout: str | None = None
    """In the terms of `struct`, of a field that is always as long and whose bytes are all valid."""

    @abstractmethod
    def write(self, value: Any, what: str) -> bytes:
        """Bytes of `value`; LocalError if it does not fit the field."""

    @abstractmethod
    def read(self, reader: Reader, what: str) -> Any:
        """The next value; WireError if the bytes are not one."""


class UInt(Codec):
    """Unsigned big-endian integer of `width` bytes."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.layout = {1: "B", 2: "H", 4: "I", 8: "Q"}.get(width)

    def write(self, value: Any, what: str) -> bytes:
        try:
            return int(value).to_bytes(self.width, "big")
        except OverflowError:
            raise LocalError(f"{what}: {value} does not fit {self.width} unsigned bytes") from None

    def read(self, reader: Reader, what: str) -> int:
        return int.from_bytes(reader.take(self.width, what), "big")


class Int64(Codec):
    """Signed big-endian integer of eight bytes."""

    layout = "q"

    def write(self, value: Any, what: str) -> bytes:
        try:
            return int(value).to_bytes(8, "big", signed=True)
        except OverflowError:
            raise LocalError(f"{what}: {value} does not fit eight signed bytes") from None

    def read(self, reader: Reader, what: str) -> int:
        return int.from_bytes(reader.take(8, what), "big", signed=True)


class Float64(Codec):
    """Finite IEEE 754 double, big-endian. NaN and infinities are refused on both sides."""

    def write(self, value: Any, what: str) -> bytes:
        if not math.isfinite(value):
            raise LocalError(f"{what}: {value} is not a finite number")
        return struct.pack(">d", value)

    def read(self, reader: Reader, what: str) -> float:
        value: float = struct.unpack(">d", reader.take(8, what))[0]
        if not math.isfinite(value):
            raise WireError(f"{what}: {value} is not a finite number")
        return value


class Fixed(Codec):
    """Exactly `size` bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.layout = f"{size}s"

    def write(self, value: Any, what: str) -> bytes:
        if len(value) != self.size:
            raise LocalError(f"{what}: {len(value)} bytes given, {self.size} needed")
        return bytes(value)

    def read(self, reader: Reader, what: str) -> bytes:
        return reader.take(self.size, what)


class Opaque(Codec):
    """At most `limit` bytes, preceded by their number."""

    _length = UInt(4)

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def write(self, value: Any, what: str) -> bytes:
        if len(value) > self.limit:
            raise LocalError(f"{what}: {len(value)} bytes given, at most {self.limit} allowed")
        return self._length.write(len(value), what) + bytes(value)

    def read(self, reader: Reader, what: str) -> bytes:
        return bytes(self._view(reader, what))

    def _view(self, reader: Reader, what: str) -> memoryview:
        length = self._length.read(reader, what)
        if length > self.limit:
            raise WireError(f"{what}: {length} bytes announced, at most {self.limit} allowed")
        return reader.view(length, what)


class Bulk(Opaque):
    """As `Opaque`, but what is read stays where it was received: a memoryview, for megabytes that are used once.

    It changes with the buffer that it was read from, and cannot be pickled.
    """

    def read(self, reader: Reader, what: str) -> Any:
        return self._view(reader, what)


class Text(Opaque):
    """UTF-8 text of at most `limit` bytes."""

    def write(self, value: Any, what: str) -> bytes:
        return super().write(str(value).encode(), what)

    def read(self, reader: Reader, what: str) -> Any:
        raw = super().read(reader, what)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise WireError(f"{what}: not valid UTF-8") from None


class Items(Codec):
    """At most `limit` values of one codec, preceded by their number; a tuple in Python."""

    _length = UInt(4)

    def __init__(self, item: Codec, limit: int) -> None:
        self.item, self.limit = item, limit

    def write(self, value: Any, what: str) -> bytes:
        if len(value) > self.limit:
            raise LocalError(f"{what}: {len(value)} items given, at most {self.limit} allowed")
        parts = [self.item.write(item, what) for item in value]
        return self._length.write(len(value), what) + b"".join(parts)

    def read(self, reader: Reader, what: str) -> tuple[Any, ...]:
        count = self._length.read(reader, what)
        if count > self.limit:
            raise WireError(f"{what}: {count} items announced, at most {self.limit} allowed")
        layout = self._struct
        if layout is None:
            return tuple([self.item.read(reader, what) for _ in range(count)])
        values = layout.iter_unpack(reader.view(count * layout.size, what))  # thousands at once
        if isinstance(self.item, Record):
            kind = self.item.kind
            return tuple([kind(*fields) for fields in values])
        return tuple([value for (value,) in values])

    @cached_property
    def _struct(self) -> struct.Struct | None:
        """How an item lies in memory, if all are as long."""
        item = self.item
        layouts = [codec.layout for _, codec, _ in _codecs(item.kind)] if isinstance(item, Record) else [item.layout]
        return struct.Struct(">" + "".join(map(str, layouts))) if None not in layouts else None


class Record(Codec):
    """Another record's fields, in line and without a header."""

    def __init__(self, kind: type[Struct]) -> None:
        self.kind = kind

    def write(self, value: Any, what: str) -> bytes:
        if type(value) is not self.kind:
            raise LocalError(f"{what}: {self.kind.__name__} needed, {type(value).__name__} given")
        fields_of: Struct = value
        return fields_of.write_fields()

    def read(self, reader: Reader, what: str) -> Any:
        return self.kind.read_fields(reader)


_CODECS: dict[type, tuple[tuple[str, Codec, str], ...]] = {}


def _codecs(kind: type[Struct]) -> tuple[tuple[str, Codec, str], ...]:
    """The fields of a record, their codecs, and how errors name them, looked up once for each class."""
    known = _CODECS.get(kind)
    if known is None:
        known = _CODECS[kind] = _read_annotations(kind)
    return known


def _read_annotations(kind: type[Struct]) -> tuple[tuple[str, Codec, str], ...]:
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for field in fields(kind):  # type: ignore[arg-type]  # every Struct is declared as a dataclass
        hint = hints[field.name]
        if get_origin(hint) is not Annotated:
            raise TypeError(f"{kind.__name__}.{field.name} has no wire codec")
        found.append((field.name, get_args(hint)[1], f"{kind.__name__}.{field.name}"))
    return tuple(found)


class Struct:
    """A record of annotated fields. Subclasses are frozen dataclasses."""

    __slots__ = ()

    def write_fields(self, header: bytes = b"") -> bytes:
        """The fields, behind a header."""
        return b"".join(
            (header, *[codec.write(getattr(self, name), what) for name, codec, what in _codecs(type(self))])
        )

    @classmethod
    def read_fields(cls, reader: Reader) -> Self:
        return cls(*[codec.read(reader, what) for _, codec, what in _codecs(cls)])


class Message(Struct):
    """A record that travels by itself, behind magic, version and type."""

    __slots__ = ()
    type_code: ClassVar[int]
    _known: ClassVar[dict[int, type[Message]]] = {}

    def __init_subclass__(cls, type_code: int | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if type_code is None:  # @dataclass(slots=True) makes the class a second time
            return
        known = Message._known.get(type_code)
        if known is not None and known.__qualname__ != cls.__qualname__:
            raise TypeError(f"type code {type_code} is taken by {known.__name__}")
        cls.type_code = type_code
        Message._known[type_code] = cls

    def encode(self) -> bytes:
        return self.write_fields(MAGIC + bytes((VERSION, self.type_code)))

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Self:
        """The message in `data`, which must be of this class and use every byte. Raises WireError."""
        kind, reader = _open(data)
        if kind != cls.type_code:
            known = Message._known.get(kind)
            raise WireError(f"{cls.__name__} expected, {known.__name__ if known else f'type {kind}'} received")
        message = cls.read_fields(reader)
        reader.finish()
        return message


class Broadcast(Message):
    """A message that many receive: it is encoded once. Subclasses are frozen dataclasses without slots."""

    @cached_property
    def _encoded(self) -> bytes:
        return super().encode()

    def encode(self) -> bytes:
        return self._encoded


def decode_any(data: bytes | memoryview, *expected: type[Message]) -> Message:
    """The message in `data`, which must be one of `expected`. Raises WireError."""
    kind, _ = _open(data)
    for cls in expected:
        if cls.type_code == kind:
            return cls.decode(data)
    names = " or ".join(cls.__name__ for cls in expected)
    raise WireError(f"{names} expected, message type {kind} received")


def _open(data: bytes | memoryview) -> tuple[int, Reader]:
    reader = Reader(data)
    header = reader.take(HEADER, "message header")
    if header[:2] != MAGIC:
        raise WireError("not a Hushfold message (wrong first bytes)")
    if header[2] != VERSION:
        raise WireError(f"protocol version {header[2]} received, this side speaks version {VERSION}")
    return header[3], reader
