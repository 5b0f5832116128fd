"""What can go wrong, as sentences for the person who evaluates."""

from __future__ import annotations

from hushfold_console.errors import CommandError, UsageError

__all__ = ["EvaluationError", "UsageError"]


class EvaluationError(CommandError):
    """The evaluation cannot go on."""
