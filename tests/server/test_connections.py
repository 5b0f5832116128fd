"""One connection without a network: what its application says when the connection has been given up already."""

import asyncio
import logging

import pytest
from fastapi import Request
from uvicorn.server import ServerState

from hushfold_server import serving, web
from hushfold_server.connections import Connection
from hushfold_server.settings import Settings


class Wire(asyncio.Transport):
    """A transport that keeps what is written, and whose end nobody has noticed yet."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closing = b"", False

    def set_write_buffer_limits(self, high=None, low=None) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def write(self, data) -> None:
        self.written += data

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing


@pytest.mark.parametrize("reads", [True, False])
def test_an_application_that_answers_after_nonsense_has_come_says_nothing_more(reads, caplog):
    """The rest of a body is no HTTP: the client has its 400, and the log no fault of the server."""
    caplog.set_level(logging.ERROR)

    async def play() -> bytes:
        app, at_work, go_on, done = web.create_app("test"), asyncio.Event(), asyncio.Event(), asyncio.Event()

        @app.post("/late")
        async def late(request: Request):
            at_work.set()
            try:
                await (request.body() if reads else go_on.wait())
                return {"late": True}
            finally:
                done.set()

        state, wire = ServerState(), Wire()
        connection = Connection(serving.configure(app, Settings()), state, {})
        connection.connection_made(wire)
        connection.data_received(b"POST /late HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        await at_work.wait()
        tasks = list(state.tasks)
        connection.data_received(b"zz\r\n")
        go_on.set()
        await asyncio.gather(*tasks)
        assert done.is_set()
        connection.connection_lost(None)
        return wire.written

    written = asyncio.run(play())
    assert written.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert written.count(b"HTTP/1.1") == 1
    assert b"late" not in written
    assert caplog.records == []
