"""TOML files whose mistakes are told in plain words: which field, what was given, what is allowed.

A file is described by nested pydantic models that derive from `TomlTable`. `read` returns the model, or every fault
of the file at once, one sentence each.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

T = TypeVar("T", bound="TomlTable")


class TomlTable(BaseModel):
    """A table of a TOML file: frozen, of these fields only, and "5" is not a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Faults(Exception):
    """What is wrong with a file. `sentences` has one entry per fault."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = tuple(sentences)


def read(kind: type[T], text: str) -> T:
    """The file `text` as a `kind`. Raises Faults."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Faults([f"it is not valid TOML: {error}"]) from None
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise Faults([_sentence(kind, fault) for fault in error.errors(include_url=False)]) from None


# By pydantic's error type: what is allowed, formatted with the error's context.
_ALLOWED = {
    "int_type": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "float_type": "a number is needed",
    "finite_number": "a finite number is needed",
    "string_type": "a text is needed",
    "bool_type": "true or false is needed",
    "greater_than": "it must be more than {gt}",
    "greater_than_equal": "it must be at least {ge}",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be at most {le}",
    "literal_error": "allowed are {expected}",
    "string_pattern_mismatch": "it must match {pattern}",
    "string_too_short": "it must have at least {min_length} characters",
    "string_too_long": "it must have at most {max_length} characters",
}


def _sentence(kind: type[TomlTable], fault: Any) -> str:
    path, problem = [str(part) for part in fault["loc"]], fault["type"]
    where = " ".join([f"[{'.'.join(path[:-1])}]" if path[:-1] else "", path[-1] if path else ""]).strip()
    if problem == "value_error":  # raised by a model's own check, in our words
        said = str(fault["ctx"]["error"])
        return f"[{'.'.join(path)}] {said}" if path else said
    if problem == "missing":
        is_table = _table_at(kind, path) is not None
        return f"the table [{path[-1]}] is missing" if is_table else f"{where} is missing"
    if problem == "extra_forbidden":
        known = list((_table_at(kind, path[:-1]) or kind).model_fields)
        close = difflib.get_close_matches(path[-1], known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        return f"{where} is unknown; {hint}"
    given = fault["input"]
    if problem == "model_type":
        return f"{path[-1]} is {given!r}; a table [{path[-1]}] is needed"
    allowed = _ALLOWED.get(problem)
    return f"{where} is {given!r}; {allowed.format(**fault.get('ctx', {})) if allowed else fault['msg']}"


def _table_at(kind: type[TomlTable], path: Sequence[str]) -> type[TomlTable] | None:
    """The model of the table at `path`; None if a plain value or nothing is there."""
    for part in path:
        field = kind.model_fields.get(part)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, TomlTable)):
            return None
        kind = annotation
    return kind
