"""What can go wrong, as sentences for the person who audits."""

from __future__ import annotations

from hushfold_console.errors import CommandError, UsageError

__all__ = ["AuditError", "UsageError"]


class AuditError(CommandError):
    """The audit cannot go on."""
