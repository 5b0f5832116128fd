"""HTTP that was damaged on its way, on real sockets: each answer is whole and below 500, and the server goes on."""

import logging
from contextlib import suppress
from http.client import IncompleteRead, RemoteDisconnected

import pytest
from cohort import make_plan, make_vectors
from device_api import DeviceApi, state_of
from fuzzing import few, fuzzed
from hypothesis import given
from hypothesis import strategies as st
from message_strategies import mutations
from raw_http import RawConnection
from serving_in_thread import Serving

from hushfold_server import serving, web
from hushfold_server.connections import Connection
from hushfold_server.patience import Patience
from hushfold_server.problems import PROBLEM_TYPE

NOT_IMPLEMENTED = 501  # of a transfer encoding; HTTP has no other status for it (RFC 9112, section 6.1)
HASTY = Patience(head=0.05, body=0.05, rest=0.05, stall=5.0)
LAST = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
LINES = (
    b"content-length: 4", b"content-length: 70000", b"transfer-encoding: chunked", b"transfer-encoding: gzip",
    b"expect: 100-continue", b"connection: close", b"connection: keep-alive", b"connection: upgrade", b"upgrade: h2c",
    b"range: bytes=1-2", b"range: bytes=-", b"content-encoding: br", b"host: y", b"te: trailers", b" folded",
    b"x" * 300 + b": y", b":", b"",
)  # fmt: skip


class Hasty(Connection):
    patience = HASTY


class Errors(logging.Handler):
    """What the server itself, its libraries or its event loop find wrong with the server."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The device API on a port, with requests that it would take, and what went wrong with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "PATIENCE", HASTY)
        plan = make_plan(floor=4, maximum=6, dimension=40)
        api = DeviceApi(tmp_path_factory.mktemp("http"), plan, make_vectors(6, plan))
    (api.home.release_targets / "file").write_bytes(b"0123456789")
    listener = serving.listen("127.0.0.1", 0, "test")
    running, errors = Serving(api.app, listener, Hasty), Errors()
    logging.getLogger().addHandler(errors)
    yield api, listener.getsockname()[1], errors
    logging.getLogger().removeHandler(errors)
    running.stop()


def requests(api) -> list[bytes]:
    body = api.cohort.devices[0].join.encode()
    head = f"POST {api.address}/join HTTP/1.1\r\nhost: x\r\ncontent-type: {web.MEDIA_TYPE}\r\n".encode()
    return [
        LAST.replace(b"connection: close\r\n", b""),
        b"GET /releases/targets/file HTTP/1.1\r\nhost: x\r\nrange: bytes=2-4\r\n\r\n",
        f"GET {api.address}/next?device={api.ids[0]} HTTP/1.1\r\nhost: x\r\n\r\n".encode(),
        head.replace(b"/join", b"/messages?device=" + api.ids[0].encode())
        + b"content-length: %d\r\n\r\n" % len(body) + body,
        head.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"/join", b"/elsewhere") + b"content-length: 4\r\n\r\n1234",
        head.replace(api.address.encode(), b"/v1/rounds/" + b"0" * 32)
        + b"transfer-encoding: chunked\r\n\r\n4\r\n1234\r\n3;x=y\r\n123\r\n0\r\nx: y\r\n\r\n",
    ]  # fmt: skip


@fuzzed(share=2)
@few(60)
@given(data=st.data())
def test_damaged_http(served, data):
    api, port, errors = served
    sent = b""
    for _ in range(data.draw(st.integers(1, 3))):
        request = data.draw(st.sampled_from(requests(api)))
        if data.draw(st.booleans()):
            line = data.draw(st.sampled_from(LINES) | st.binary(max_size=30))
            request = request.replace(b"\r\n", b"\r\n" + line + b"\r\n", 1)
        sent += data.draw(mutations(request, [])) if data.draw(st.booleans()) else request
    errors.records.clear()
    before = state_of(api.home, api.database, api.app)
    with RawConnection(port) as connection, suppress(ConnectionError):  # it may have ended before all was sent
        connection.send(sent + LAST)
        while True:
            try:
                answer = connection.answer()
            except (RemoteDisconnected, IncompleteRead):
                break
            assert answer.status < 500 or answer.status == NOT_IMPLEMENTED, (sent, answer)
            if answer.status >= 400 and answer.body:  # of a HEAD there is none
                assert answer.headers["content-type"] == PROBLEM_TYPE, (sent, answer)
    assert errors.records == [], sent
    assert state_of(api.home, api.database, api.app) == before, sent
    with RawConnection(port) as connection:
        assert connection.ask(LAST).status == 200
