"""What can go wrong in the demo, as sentences for the person who runs it."""

from __future__ import annotations


class DemoError(Exception):
    """The demo cannot go on. `message` says what happened and why, `advice` what to do (may be empty)."""

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message, advice)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message}. {self.advice}" if self.advice else self.message


class UsageError(DemoError):
    """What was asked for makes no sense; nothing was started."""
