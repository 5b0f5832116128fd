"""docs/protocol.md as data: its records, and its other tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TEXT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()

_HEADING = re.compile(r"^(?:Record )?\*\*`(\w+)`\*\*(?:, code (\d+))?.*\n(?:.+\n)*\n((?:\|.*\n)+)", re.MULTILINE)


@dataclass(frozen=True)
class Field:
    name: str
    type: str
    bytes: str  # as it is written


@dataclass(frozen=True)
class Described:
    """A message, or a record within others."""

    code: int | None  # of a message
    fields: tuple[Field, ...]


@cache
def described() -> dict[str, Described]:
    """Everything that has a table of fields, by name."""
    found = {}
    for name, code, table in _HEADING.findall(TEXT):
        header, *rows = _cells(table)
        if header[:3] == ["field", "type", "bytes"]:
            fields = tuple(Field(row[0].strip("`"), row[1].strip("`"), row[2]) for row in rows)
            found[name] = Described(int(code) if code else None, fields)
    return found


def table(*header: str) -> list[list[str]]:
    """The rows of the one table whose first columns have these headings."""
    tables = [_cells(block) for block in re.findall(r"(?:^\|.*\n)+", TEXT, re.MULTILINE)]
    (found,) = [rows for rows in tables if tuple(rows[0][: len(header)]) == header]
    return found[1:]


def _cells(block: str) -> list[list[str]]:
    """Cells by row, without the rule below the heading."""
    lines = [line for line in block.splitlines() if not set(line) <= set("|- ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
