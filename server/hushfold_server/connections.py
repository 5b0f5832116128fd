"""One HTTP/1.1 connection, as uvicorn has it, with an end to every wait for the client.

uvicorn itself waits without end for the head of a request, and for a client that does not take its answer; it reads on
and on when the body of a refused request keeps coming. Here a timer runs whenever the next move is the client's:

    the client is to                  at the end of the time
    send the head of a request        408 if a part of it has come, and the connection ends
    send the body of a request        (`web` has the time: 408, and the connection ends)
    stop sending a refused request    the connection ends
    take its answer                   the connection is dropped
    send its next request             the connection ends (uvicorn's own: `timeout_keep_alive`)

What is no HTTP is answered with a problem document, as everything else; and so is a connection too many, before it has
asked for anything. Under TLS a connection counts from the end of its handshake, for which asyncio waits a minute.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from . import problems
from .patience import Patience
from .problems import Problem
from .web import PATIENCE, secure

MOST = 2_048
"""Connections of a process at a time, where the system allows as many: two for each device of the largest session."""
_RETRY_AFTER = 5.0  # seconds
_REFUSED_FOR = 1.0  # seconds in which what a connection too many still sends is thrown away, so that it sees why


class Connection(H11Protocol):
    """What `serving` gives uvicorn for each connection."""

    patience: ClassVar[Patience] = PATIENCE
    most: ClassVar[int] = MOST
    _timer: asyncio.TimerHandle | None = None
    _due: Callable[[], None] | None = None  # what the timer will call
    _taking: asyncio.TimerHandle | None = None  # while the client has its answer to take
    _too_many = False

    # -------------------------------------------------------------- what uvicorn calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=1, low=0)  # calls `pause_writing` while the client has bytes to take
        if len(self.connections) > self.most:
            self._turn_away()
        else:
            self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_for(None)
        self._stop_taking()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._too_many:
            return
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        left = self.transport.get_write_buffer_size()
        self._taking = self.loop.call_later(self.patience.stall, self._look_at_taking, left)

    def resume_writing(self) -> None:
        self._stop_taking()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls it for bytes that are no HTTP, while it handles h11's error, which knows the fitting status."""
        error = sys.exc_info()[1]
        status = error.error_status_hint if isinstance(error, h11.ProtocolError) else 400
        self._refuse(problems.of_status(status, str(error) if error else msg))

    # -------------------------------------------------------------- whose move it is

    def _look(self) -> None:
        """Lets the timer run that fits what the client is to do. One that runs for the same thing goes on."""
        they = self.conn.their_state
        if self.transport.is_closing():
            self._wait_for(None)
        elif they is h11.SEND_BODY and self.conn.our_state is h11.DONE:
            self._wait_for(self.transport.close, self.patience.rest)
        elif they is h11.IDLE and self.timeout_keep_alive_task is None:
            self._wait_for(self._no_head, self.patience.head)
        else:
            self._wait_for(None)

    def _wait_for(self, due: Callable[[], None] | None, seconds: float = 0.0) -> None:
        if due == self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self.loop.call_later(seconds, due) if due else None

    def _no_head(self) -> None:
        if self.conn.trailing_data[0]:
            text = f"The head of a request was not complete within {self.patience.head:g} seconds"
            self._refuse(problems.of_status(408, text))
        else:
            self.transport.close()

    def _look_at_taking(self, before: int) -> None:
        left = self.transport.get_write_buffer_size()
        if before - left < self.patience.stall * self.patience.rate:
            self.transport.abort()
        else:
            self._taking = self.loop.call_later(self.patience.stall, self._look_at_taking, left)

    def _stop_taking(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def _turn_away(self) -> None:
        """Answers a connection too many. It does not count any more, and asks for nothing."""
        self.connections.discard(self)
        self._too_many = True
        detail = f"There are {self.most} already"
        self._answer(Problem(problems.TOO_MANY_CONNECTIONS, detail, retry_after=_RETRY_AFTER))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._wait_for(self.transport.abort, _REFUSED_FOR)

    def _refuse(self, problem: Problem) -> None:
        """Answers what never became a request, and ends the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):  # or an answer is on its way, or was given
            self._answer(problem)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # what the application may still say would be a second answer
            self.cycle.message_event.set()
        self.transport.close()

    def _answer(self, problem: Problem) -> None:
        response = problem.response()
        secure(response.headers, self.scheme or "http")
        status = response.status_code
        headers = [*response.raw_headers, (b"connection", b"close")]
        for event in (
            h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase.encode()),
            h11.Data(data=bytes(response.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
