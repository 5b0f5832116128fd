"""The people that come with the demo. They are invented, and each writes in a way of their own."""

from __future__ import annotations

import tomllib
from importlib.resources import files

from .texts import Person


def personas() -> list[Person]:
    """Everyone in `personas/`, by name. Each file has `about`, and `messages` with one message a line."""
    people = []
    for entry in sorted(files(__package__).joinpath("personas").iterdir(), key=lambda entry: entry.name):
        name, suffix = entry.name.rsplit(".", 1)
        if suffix == "toml":
            persona = tomllib.loads(entry.read_text("utf-8"))
            people.append(Person(name, tuple(persona["messages"].splitlines()), persona["about"]))
    return people
