"""What can go wrong, as sentences for the person who called a command."""

from __future__ import annotations


class CommandError(Exception):
    """A command cannot go on. `message` says what happened and why, `advice` what to do (may be empty)."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message, advice)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message}. {self.advice}" if self.advice else self.message


class UsageError(CommandError):
    """What was asked for makes no sense; nothing was done."""
