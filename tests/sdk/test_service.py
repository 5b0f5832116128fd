"""The server as the SDK reaches it: what an app embeds, and messages over HTTP with everything that can come back."""

import gzip
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from live_server import free_port

from hushfold.errors import RemoteProtocolError, RemoteRefused, ServiceError, Unreachable
from hushfold.service import MAX_ANSWER, MEDIA_TYPE, Client, Service
from hushfold_protocol.messages import ComeBack, Wait

APP = {
    "service_url": "https://api.example/base/",
    "authority_url": "https://authority.example",
    "authority_key": "01" * 32,
    "root": {"signed": {"version": 1}},
}


def test_what_an_app_embeds():
    service = Service.from_json(json.dumps(APP).encode())
    assert service.service_url == "https://api.example/base"
    assert service.metadata_url == "https://api.example/base/releases/metadata/"
    assert service.targets_url == "https://api.example/base/releases/targets/"
    assert service.authority_key == bytes([1]) * 32
    assert json.loads(service.root) == APP["root"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:1", "https://api.example"])
def test_addresses_that_may_be_used(url):
    assert Service.from_json(json.dumps({**APP, "service_url": url})).service_url == url


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"service_url": "http://api.example"}, "would send messages in the open"),
        ({"authority_url": "http://10.0.0.1:8000"}, "would send messages in the open"),
        ({"service_url": "http://127.0.0.1.example"}, "would send messages in the open"),
        ({"service_url": "ftp://api.example"}, "is not the address of a server"),
        ({"service_url": "api.example"}, "is not the address of a server"),
        ({"authority_key": "01" * 31}, "31 bytes, 32 are needed"),
        ({"authority_key": "zz"}, "non-hexadecimal"),
    ],
)
def test_what_no_app_should_embed(change, said):
    with pytest.raises(ServiceError, match=said):
        Service.from_json(json.dumps({**APP, **change}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        ("<html>", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        (b"{}", "it has no 'service_url'"),
        ("[]", "not an object"),
        ("null", "not an object"),
        (json.dumps({**APP, "authority_key": None}), "not an object with the fields"),
    ],
)
def test_what_is_no_app_json(content, said):
    with pytest.raises(ServiceError, match=f"not the app.json of a Hushfold server: .*{said}.*hushfold-server up"):
        Service.from_json(content)


def test_a_service_made_by_hand_is_checked_too():
    with pytest.raises(ValueError, match="in the open"):
        Service("http://api.example", "https://authority.example", bytes(32), b"{}")
    with pytest.raises(ValueError, match="31 bytes"):
        Service("https://api.example", "https://authority.example", bytes(31), b"{}")


# ------------------------------------------------------------------ messages


@dataclass
class Answer:
    status: int = 200
    body: bytes = Wait(7).encode()
    headers: tuple = ()
    length: int | None = None  # as stated, if not the body's


class Server(ThreadingHTTPServer):
    """Gives the same answer to everything, and keeps what was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.asked = Answer(), []
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply()

    def do_POST(self):
        self.reply()

    def reply(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, self.headers.get("Content-Type"), body))
        answer = self.server.answer
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
        for header in answer.headers:
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def one_server():
    with Server() as server:
        yield server
        server.shutdown()


@pytest.fixture
def server(one_server):
    one_server.answer = Answer()
    one_server.asked.clear()
    return one_server


@pytest.fixture
def client(server):
    client = Client(f"http://127.0.0.1:{server.server_port}/")
    yield client
    client.close()


def test_messages_go_there_and_back_and_their_bytes_are_counted(server, client):
    sent = ComeBack(1000, "later")
    assert client.post("/v1/a", sent, ComeBack, Wait) == Wait(7)
    assert client.get("/v1/b?device=1", Wait) == Wait(7)
    server.answer = Answer(body=b"12345")
    assert client.get_bytes("/part", 5) == b"12345"
    assert server.asked == [
        ("POST", "/v1/a", MEDIA_TYPE, sent.encode()),
        ("GET", "/v1/b?device=1", None, b""),
        ("GET", "/part", None, b""),
    ]
    assert (client.bytes_sent, client.bytes_received) == (len(sent.encode()), 2 * len(Wait(7).encode()) + 5)


def problem(**document):
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (Answer(500, b"<html>"), Unreachable, "the server cannot answer now: status 500. Try again later"),
        (Answer(500, b"[" * 100_000), Unreachable, "status 500"),
        (Answer(length=100), Unreachable, "it broke off"),
        (Answer(503, problem(detail="full")), Unreachable, "the server cannot answer now: full. Try again later"),
        (Answer(408, problem(detail="slow")), Unreachable, "the server cannot answer now: slow. Try again later"),
        (Answer(429, problem(detail="busy", advice="Wait")), Unreachable, "the server cannot answer now: busy. Wait"),
        (Answer(403, problem(detail="who?", advice="Enrol")), RemoteRefused, "who?. Enrol"),
        (Answer(404, b""), RemoteRefused, "status 404"),
        (Answer(404, b"[]"), RemoteRefused, "status 404"),
        (Answer(404, problem(advice="no detail")), RemoteRefused, "status 404"),
        (Answer(403, problem(detail="x" * 9000)), RemoteRefused, "x" * 500),
        (Answer(302, b"", (("Location", "/elsewhere"),)), RemoteRefused, "status 302"),
        (Answer(201), RemoteRefused, "status 201"),
        (Answer(body=b""), RemoteProtocolError, "something else than a message"),
        (Answer(body=b"<html>"), RemoteProtocolError, "something else than a message"),
        (Answer(body=ComeBack(1, "").encode()), RemoteProtocolError, "something else than a message"),
        (Answer(body=Wait(7).encode() + b"x"), RemoteProtocolError, "something else than a message"),
        (Answer(body=bytes(MAX_ANSWER + 1)), RemoteProtocolError, f"more than {MAX_ANSWER} bytes"),
        # It is not unpacked: a small answer could be a large one in disguise.
        (
            Answer(body=gzip.compress(Wait(7).encode(), mtime=0), headers=(("Content-Encoding", "gzip"),)),
            RemoteProtocolError,
            "something else than a message",
        ),
    ],
)
def test_bad_answers(server, client, answer, error, said):
    server.answer = answer
    with pytest.raises(error) as caught:
        client.post("/v1/check-in", Wait(1), Wait)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 700
    assert len(server.asked) == 1  # not followed, and not asked again


def test_more_bytes_than_were_asked_for(server, client):
    server.answer = Answer(body=bytes(6))
    with pytest.raises(RemoteProtocolError, match="more than 5 bytes"):
        client.get_bytes("/part", 5)


def test_a_server_that_is_not_there():
    client = Client(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unreachable, match="no answer from"):
        client.post("/v1/check-in", Wait(1), Wait)
    assert (client.bytes_sent, client.bytes_received) == (0, 0)
