"""Connections without a network: what is said on one that was given up already, and on one too many."""

import asyncio
import json
import logging
import resource

import pytest
import structlog
from fastapi import Request
from uvicorn.server import ServerState

from hushfold_server import serving, web
from hushfold_server.connections import Connection
from hushfold_server.settings import Settings


class Wire(asyncio.Transport):
    """A transport that keeps what is written, and whose end nobody has noticed yet."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closing, self.ended = b"", False, False

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

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def abort(self) -> None:
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


def test_a_connection_too_many_is_told_so_and_ended_and_the_next_has_its_place():
    class Few(Connection):
        most = 2

    async def play() -> list[Wire]:
        app, state = web.create_app("test"), ServerState()

        @app.get("/here")
        async def here():
            return {"here": True}

        config, wires = serving.configure(app, Settings(), Few), [Wire() for _ in range(4)]
        connections = [Few(config, state, {}) for _ in wires]
        for connection, wire in zip(connections[:3], wires, strict=False):
            connection.connection_made(wire)
        told = wires[2].written
        connections[2].data_received(b"GET /here HTTP/1.1\r\nhost: x\r\n\r\n")  # it was on its way, and is not answered
        assert not state.tasks
        assert wires[2].written == told
        assert len(state.connections) == 2  # it is not in the way of others
        connections[0].connection_lost(None)
        connections[3].connection_made(wires[3])
        for connection in connections[1:4:2]:
            connection.data_received(b"GET /here HTTP/1.1\r\nhost: x\r\n\r\n")
            await asyncio.gather(*state.tasks)
            connection.connection_lost(None)
        return wires

    first, second, refused, later = asyncio.run(play())
    head, _, document = refused.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"retry-after: 5" in head.lower()
    assert json.loads(document)["type"] == "urn:hushfold:problem:too-many-connections"
    assert refused.ended
    assert first.written == b""
    for wire in (second, later):
        assert wire.written.startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("soft", "hard", "then"),
    [(256, 4_096, 1_000), (2_000, 4_096, 2_000), (256, 600, 600), (256, resource.RLIM_INFINITY, 1_000)],
)
def test_a_process_has_files_for_all_of_its_connections(soft, hard, then, monkeypatch):
    """As far as the system allows; where that is not far enough, the log says so."""
    limits = {resource.RLIMIT_NOFILE: (soft, hard)}
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    monkeypatch.setattr(resource, "setrlimit", limits.__setitem__)
    with structlog.testing.capture_logs() as logs:
        allowed = serving._allow_files(1_000)
    assert allowed == min(then, 1_000)
    assert limits[resource.RLIMIT_NOFILE] == (then, hard)
    assert [each["allowed"] for each in logs] == ([600] if hard == 600 else [])
