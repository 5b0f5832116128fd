"""Time, as something that is passed in: whatever waits or dates takes a `Clock`.

`ManualClock` is for tests, of the SDK and of the apps that use it: hours pass at once.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> float:
        """Unix time, seconds. The user can set it, back too: date things with it, but measure with `monotonic`."""
        ...

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; never goes back within one process."""
        ...

    def wait(self, seconds: float) -> None:
        """Return after `seconds`, at least 0."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


class ManualClock:
    """A clock that moves when it is told to, and never backwards. Waiting advances it. Safe to use from threads."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._start = self._now = float(now)
        self._lock = threading.Lock()

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now - self._start

    def wait(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass. Raises ValueError for a negative or undefined number."""
        if not seconds >= 0:
            raise ValueError(f"time does not go backwards: cannot advance by {seconds} seconds")
        with self._lock:
            self._now += seconds
