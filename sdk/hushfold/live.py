"""Suggestions while somebody types: off the thread of the UI, and for the newest text only.

    live = LiveSuggestions(device.keyboard, deliver)
    live.type("see y")   # on every key; returns at once

One worker answers. A text that is typed while it is busy replaces the one that waits, so that it is never more than
one answer behind, and an answer to a text that is no longer the newest is not delivered.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol, Self

from .suggestions import Suggestion

_log = logging.getLogger(__name__)


class Suggests(Protocol):
    """What answers: a `Keyboard`, or what a test has in its place."""

    def suggest(self, text_before_cursor: str, count: int = 3) -> list[Suggestion]: ...


class LiveSuggestions:
    """Answers what is typed, in a thread of its own. Close it, or use it as a context manager.

    Safe to share between threads. However keys and answers meet, the last text typed is answered, unless it fails or
    `close` comes first, and answers are delivered in the order of typing.

    Args:
        keyboard: what answers.
        deliver: called with a text and its suggestions, in the worker's thread: hand them to the UI's own queue. By the
            time that they are shown there may be a newer text: compare.
        failed: called with what `suggest` or `deliver` raised, in the same thread; by default it is logged. The worker
            goes on with the next text.
        count: suggestions at most.
    """

    def __init__(
        self,
        keyboard: Suggests,
        deliver: Callable[[str, list[Suggestion]], object],
        failed: Callable[[Exception], object] | None = None,
        *,
        count: int = 3,
    ) -> None:
        self._keyboard, self._deliver, self._count = keyboard, deliver, count
        self._failed = failed or _log_failure
        self._changed = threading.Condition()  # guards what follows
        self._waiting: str | None = None  # the newest text, until it is taken up
        self._closed = False
        # A daemon, so that an app that forgets to close it can end.
        self._worker = threading.Thread(target=self._work, name="hushfold-suggestions", daemon=True)
        self._worker.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def type(self, text_before_cursor: str) -> None:
        """Ask for suggestions for this text instead of any before. Raises RuntimeError once it is closed."""
        with self._changed:
            if self._closed:
                raise RuntimeError("these suggestions are closed: make new LiveSuggestions")
            self._waiting = text_before_cursor
            self._changed.notify()

    def close(self) -> None:
        """Answer nothing more, and wait until the worker has ended. Closing again does nothing."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if threading.current_thread() is not self._worker:  # which may close from `deliver`
            self._worker.join()

    def _work(self) -> None:
        while (text := self._next()) is not None:
            try:
                found = self._keyboard.suggest(text, self._count)
                if self._is_newest():
                    self._deliver(text, found)
            except Exception as error:
                self._report(error)

    def _next(self) -> str | None:
        """The newest text, once there is one; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting is not None)
            text, self._waiting = self._waiting, None
            return None if self._closed else text

    def _is_newest(self) -> bool:
        """Whether nothing was typed after the text that is being answered."""
        with self._changed:
            return self._waiting is None and not self._closed

    def _report(self, error: Exception) -> None:
        try:
            self._failed(error)
        except Exception:
            _log.exception("the callback for failed suggestions has itself failed, with %r", error)


def _log_failure(error: Exception) -> None:
    _log.error("no suggestions: %s", error, exc_info=error)
