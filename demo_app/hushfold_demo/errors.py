"""What can go wrong in the demo, as sentences for the person who runs it."""

from __future__ import annotations

from hushfold_console.errors import CommandError, UsageError

__all__ = ["DemoError", "UsageError"]


class DemoError(CommandError):
    """The demo cannot go on."""
