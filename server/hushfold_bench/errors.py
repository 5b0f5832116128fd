"""What can go wrong, as sentences for the person who measures."""

from __future__ import annotations

from hushfold_console.errors import CommandError, UsageError

__all__ = ["BenchError", "UsageError", "WrongSum"]


class BenchError(CommandError):
    """The benchmark cannot go on."""


class WrongSum(BenchError):
    """A round gave another sum than that of its vectors: its figures mean nothing."""
