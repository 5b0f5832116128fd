"""How long a web service waits for a client that sends, or takes, slowly.

A connection costs its client next to nothing, so each wait has an end: for the head of a request, for its body, for the
rest of a body that was refused, and for an answer to be taken. `connections` and `web` hold to it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """The default is that of Apache's mod_reqtimeout, with twice its rate."""

    head: float = 20.0  # seconds for the head of a request
    body: float = 20.0  # seconds for a body, and one more for each `rate` bytes of it that have come
    rate: float = 1000.0  # bytes per second
    rest: float = 5.0  # seconds in which what still comes of a refused request is read, so that the client sees why
    stall: float = 20.0  # seconds; as long as an answer is not taken whole, in each of them at `rate` at least

    def for_body(self, received: int) -> float:
        """Seconds that all the waiting for a body may take when `received` bytes of it have come."""
        return self.body + received / self.rate
