"""TOML files whose mistakes are told in plain words: which field, what was given, what is allowed.

A file is described by nested pydantic models that derive from `TomlTable`. `read` returns the model, or every fault
of the file at once, one sentence each. A model's own checks raise ValueError with one argument per fault.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Sequence
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
        values = tomllib.loads(text.removeprefix("\ufeff"))  # the mark that some editors put before UTF-8
    except tomllib.TOMLDecodeError as error:
        raise Faults([f"it is not valid TOML: {error}"]) from None
    except RecursionError:  # the parser calls itself for every level
        raise Faults(["it is not a file of tables and values: its lists are nested too deeply"]) from None
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        raise Faults([sentence for fault in faults for sentence in _sentences(kind, fault)]) from None


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
}


def _sentences(kind: type[TomlTable], fault: Any) -> Iterator[str]:
    path, problem = [str(part) for part in fault["loc"]], fault["type"]
    where = _place(path)
    if problem == "default_factory_not_called":
        return  # the field that the default depends on is at fault, and has been told
    if problem == "value_error":
        where = where if _table_at(kind, path) is None else f"[{'.'.join(path)}]" if path else ""
        yield from (f"{where} {said}".lstrip() for said in fault["ctx"]["error"].args)
    elif problem == "missing":
        yield f"{where} is missing" if _table_at(kind, path) is None else f"the table [{path[-1]}] is missing"
    elif problem == "extra_forbidden":
        known = list((_table_at(kind, path[:-1]) or kind).model_fields)
        close = difflib.get_close_matches(path[-1], known, n=1)
        yield f"{where} is unknown; {f'did you mean {close[0]}?' if close else 'known are ' + ', '.join(known)}"
    elif problem == "model_type":
        yield f"{where} is {_shown(fault['input'])}; a table [{path[-1]}] is needed"
    else:
        limits = {k: f"{v:g}" if isinstance(v, float) else v for k, v in fault.get("ctx", {}).items()}
        said = _ALLOWED[problem].format(**limits) if problem in _ALLOWED else fault["msg"]
        yield f"{where} is {_shown(fault['input'])}; {said}"


def _shown(value: object) -> str:
    """What was given, as the file has it."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _place(path: Sequence[str]) -> str:
    """`[table] field`, or the field alone at the top of the file."""
    return f"[{'.'.join(path[:-1])}] {path[-1]}" if len(path) > 1 else "".join(path)


def _table_at(kind: type[TomlTable], path: Sequence[str]) -> type[TomlTable] | None:
    """The model of the table at `path`; None if a plain value or nothing is there."""
    for part in path:
        field = kind.model_fields.get(part)
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, TomlTable)):
            return None
        kind = annotation
    return kind
