"""Clients that are slow, endless or no HTTP at all, on real sockets against the services as `serving` serves them.

The waits are real, and short: the connection's patience is a fraction of a second, and longer than a busy machine takes
to go on with a test.
"""

import socket
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from cohort import make_plan, make_vectors
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from device_api import DeviceApi, state_of
from raw_http import RawConnection
from serving_in_thread import Serving
from starlette.staticfiles import StaticFiles

from hushfold_protocol.messages import MAX_VECTOR_BYTES, Wait
from hushfold_server import authority, serving, web
from hushfold_server.connections import Connection
from hushfold_server.patience import Patience
from hushfold_server.problems import PROBLEM_TYPE
from hushfold_server.settings import Settings

HASTY = Patience(head=0.8, body=0.8, rate=1000.0, rest=0.8, stall=0.8)
MESSAGE = b"content-type: " + web.MEDIA_TYPE.encode() + b"\r\n"
WAIT = threading.Event()  # never set: `WAIT.wait(t)` is a pause
LARGE_FILE = 16 << 20  # bytes; more than the buffers of both ends hold


class Hasty(Connection):
    patience = HASTY


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    """Both services of a home, each on a port; where no patience is asked for, they have as much as always."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "PATIENCE", HASTY)
        plan = make_plan(floor=4, maximum=6, dimension=40)
        api = DeviceApi(tmp_path_factory.mktemp("hasty"), plan, make_vectors(6, plan))
        (api.home.release_targets / "large").write_bytes(bytes(LARGE_FILE))
        (api.home.release_targets / "small").write_bytes(b"0123456789")
        apps = {"api": api.app, "authority": authority.create_app(api.home, now=lambda: api.now)}
    listeners = {name: serving.listen("127.0.0.1", 0, name) for name in apps}
    ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
    running = [Serving(app, listeners[name], Hasty) for name, app in apps.items()]
    yield api, ports
    for one in running:
        one.stop()


@pytest.fixture
def port(services):
    """Of the device API. Whatever a test did to it, nothing was changed and it still answers."""
    api, ports = services
    before = state_of(api.home, api.database, api.app)
    yield ports["api"]
    assert state_of(api.home, api.database, api.app) == before
    with RawConnection(ports["api"]) as connection:
        assert connection.ask(get("/health")).status == 200


def get(target, *headers, method="GET"):
    lines = [f"{method} {target} HTTP/1.1".encode(), b"host: 127.0.0.1", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def post(target, *headers):
    return get(target, MESSAGE.strip(), *headers, method="POST")


def problem(answer, status, name):
    assert (answer.status, answer.headers["content-type"]) == (status, PROBLEM_TYPE), answer
    document = answer.document
    assert document["type"] == f"urn:hushfold:problem:{name}"
    assert document["status"] == status
    assert all(document[member] for member in ("title", "detail", "advice"))
    assert answer.headers["x-content-type-options"] == "nosniff"
    return document["detail"]


# ------------------------------------------------------------------ slow


@pytest.mark.parametrize("path", ["/v1/check-in", "{}/join", "{}/messages?device=" + "0" * 32, "/v1/enrol"])
@pytest.mark.parametrize("framing", [b"content-length: 300", b"transfer-encoding: chunked"])
def test_a_body_that_stops_coming(services, path, framing):
    api, ports = services
    with RawConnection(ports["authority" if "enrol" in path else "api"]) as connection:
        connection.send(post(path.format(api.address), framing))
        connection.send(b"4\r\nHF\1\2\r\n" if b"chunked" in framing else b"HF\1\2")
        assert "4 bytes have come in " in problem(connection.answer(), 408, "request-timeout")
        assert connection.ended


def trickle(connection, piece):
    """Send a piece again and again, each soon after the last one, until there is an answer."""
    connection.socket.settimeout(0.02)
    for _ in range(1000):
        connection.send(piece)
        with suppress(TimeoutError):
            if connection.socket.recv(1, socket.MSG_PEEK):
                break
    else:
        pytest.fail("nothing ends it")
    connection.socket.settimeout(20)


def test_a_body_that_trickles_without_end(port):
    """Each byte comes before the last one is forgotten; a timeout between two of them would never be reached."""
    with RawConnection(port) as connection:
        connection.send(post("/v1/check-in", b"transfer-encoding: chunked"))
        trickle(connection, b"1\r\nx\r\n")
        problem(connection.answer(), 408, "request-timeout")
        assert connection.ended


@pytest.mark.parametrize("part", [b"G", b"GET /health HTTP/1.1\r\n", b"GET /health HTTP/1.1\r\nhost: x\r\nx: y"])
def test_a_head_that_stops_coming(port, part):
    with RawConnection(port) as connection:
        assert f"within {HASTY.head:g} seconds" in problem(connection.ask(part), 408, "request-timeout")
        assert connection.ended


def test_a_head_that_trickles_without_end(port):
    with RawConnection(port) as connection:
        connection.send(b"GET /health HTTP/1.1\r\nhost: x\r\n")
        trickle(connection, b"x: y\r\n")
        problem(connection.answer(), 408, "request-timeout")


def test_a_connection_on_which_nothing_comes_ends_without_a_word(port):
    with RawConnection(port) as connection:
        assert connection.ended


def test_the_second_head_on_a_connection_has_the_same_time(port):
    with RawConnection(port) as connection:
        assert connection.ask(get("/health")).status == 200
        problem(connection.ask(b"GET /he"), 408, "request-timeout")
        assert connection.ended


def test_a_connection_lives_on_between_requests(port):
    """An idle one is the business of keep-alive, which has more patience."""
    with RawConnection(port) as connection:
        assert connection.ask(get("/health")).status == 200
        connection.socket.settimeout(3 * HASTY.head)
        with pytest.raises(TimeoutError):
            connection.socket.recv(1)
        connection.socket.settimeout(20)
        connection.send(get("/health"))
        assert connection.socket.recv(12) == b"HTTP/1.1 200"


def test_an_answer_that_nobody_takes(port, services):
    """The connection is dropped, and the file with it: what had not fitted into the buffers never comes."""
    with RawConnection(port, receive_buffer=4096) as connection:
        connection.send(get("/releases/targets/large"))
        assert connection.socket.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 200"
        with RawConnection(port) as other:  # nobody else waits meanwhile
            assert other.ask(get("/health")).status == 200
        WAIT.wait(4 * HASTY.stall)
        taken = 0
        with suppress(ConnectionResetError):
            while chunk := connection.socket.recv(1 << 20):
                taken += len(chunk)
        assert taken < LARGE_FILE


@pytest.mark.parametrize("header", [b"x: y", b"content-length: 5", b"transfer-encoding: chunked"])
def test_an_answer_that_is_taken_slowly_but_steadily_comes_whole(port, header):
    """Also if it was asked for with a body that never comes."""
    with RawConnection(port) as connection:
        connection.send(get("/releases/targets/large", b"connection: close", header))
        connection.socket.settimeout(20)
        taken = 0
        while chunk := connection.socket.recv(1 << 17):
            taken += len(chunk)
            WAIT.wait(0.01)
        assert taken > LARGE_FILE


# ------------------------------------------------------------------ over TLS, where bytes wait in other places


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """The port of a small application behind TLS, and how to speak to it."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = make_certificate(folder)
    (folder / "files").mkdir()
    (folder / "files" / "large").write_bytes(bytes(LARGE_FILE))
    app = web.create_app("test")
    app.mount("/releases", StaticFiles(directory=folder / "files"))
    listener = serving.listen("127.0.0.1", 0, "test")
    settings = Settings(tls_certificate=str(certificate), tls_key=str(key))
    running = Serving(app, listener, Hasty, settings)
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    yield listener.getsockname()[1], context
    running.stop()


def make_certificate(folder):
    """A certificate that signs itself, and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    built = built.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    encoding, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(built.sign(key, hashes.SHA256()).public_bytes(encoding))
    files[1].write_bytes(key.private_bytes(encoding, pkcs8, serialization.NoEncryption()))
    return files


def test_over_tls_answers_come_whole(tls):
    port, context = tls
    with RawConnection(port, context=context) as connection:
        assert connection.ask(get("/health")).status == 200
        assert len(connection.ask(get("/releases/large")).body) == LARGE_FILE
        assert connection.ask(get("/health")).status == 200


def test_over_tls_a_head_that_stops_coming(tls):
    port, context = tls
    with RawConnection(port, context=context) as connection:
        problem(connection.ask(b"GET /health HTTP/1.1\r\n"), 408, "request-timeout")
        assert connection.ended


def test_over_tls_an_answer_that_nobody_takes(tls):
    port, context = tls
    with RawConnection(port, receive_buffer=4096, context=context) as connection:
        connection.send(get("/releases/large"))
        assert connection.socket.recv(8) == b"HTTP/1.1"
        WAIT.wait(4 * HASTY.stall)
        taken = 0
        with suppress(OSError):  # ssl.SSLError is one
            while chunk := connection.socket.recv(1 << 20):
                taken += len(chunk)
        assert taken < LARGE_FILE


# ------------------------------------------------------------------ oversized


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/v1/check-in", 4096),
        ("{}/join", 4096),
        ("{}/messages?device=" + "0" * 32, 6 * 128 + 4096),  # what a device of this round needs, and no more
        ("/health", MAX_VECTOR_BYTES + 4096),  # whatever the address
    ],
)
def test_a_body_that_is_announced_as_too_large_is_not_waited_for(services, port, path, limit):
    api, _ = services
    with RawConnection(port) as connection:
        answer = connection.ask(post(path.format(api.address), b"content-length: %d" % (limit + 1)))
        assert f"larger than {limit} bytes" in problem(answer, 413, "content-too-large")
        assert connection.ended  # it would have to send what nobody wants


def send_for_ever(connection, piece):
    """For as long as a refused request is read on, however fast the machine."""
    while True:
        connection.send(piece)


@pytest.mark.parametrize("path", ["/v1/check-in", "{}/join", "{}/messages?device=" + "0" * 32])
def test_a_body_without_end_is_refused_at_the_limit(services, port, path):
    api, _ = services
    with RawConnection(port) as connection:
        connection.send(post(path.format(api.address), b"transfer-encoding: chunked"))
        piece = b"400\r\n" + b"x" * 1024 + b"\r\n"
        for _ in range(7):
            connection.send(piece)
        problem(connection.answer(), 413, "content-too-large")
        with pytest.raises(OSError, match=r"reset|pipe"):
            send_for_ever(connection, piece * 10_000)


def test_who_sends_the_rest_of_a_refused_body_may_go_on_with_the_connection(port):
    with RawConnection(port) as connection:
        connection.send(post("/v1/check-in", b"content-length: 5000") + b"x" * 4000)
        problem(connection.answer(), 413, "content-too-large")
        connection.send(b"x" * 1000)
        assert connection.ask(get("/health")).status == 200


# ------------------------------------------------------------------ no HTTP, or odd HTTP


@pytest.mark.parametrize(
    ("sent", "status", "name"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "bad-request"),  # TLS
        (b"nonsense\r\n\r\n", 400, "bad-request"),
        (b"GET /health\r\n\r\n", 400, "bad-request"),  # HTTP/0.9
        (b"GET /health HTTP/1.1\r\n\r\n", 400, "bad-request"),  # no host
        (get("/health", b"host: other"), 400, "bad-request"),
        (get("/v1/?").replace(b"?", b"\xff"), 400, "bad-request"),
        (get("/v1/a b"), 400, "bad-request"),
        (get("/health", b"x : y"), 400, "bad-request"),
        (get("/health", b"x: \0"), 400, "bad-request"),
        (get("/health", b"bad header"), 400, "bad-request"),
        (post("/v1/check-in", b"content-length: 4", b"content-length: 5"), 400, "bad-request"),
        (post("/v1/check-in", b"content-length: -4"), 400, "bad-request"),
        (post("/v1/check-in", b"content-length: " + b"9" * 5000), 400, "bad-request"),
        (post("/v1/check-in", b"transfer-encoding: chunked") + b"zz\r\n", 400, "bad-request"),
        (post("/v1/check-in", b"transfer-encoding: gzip, chunked"), 501, "not-implemented"),
        (get("/health", b"x: " + b"y" * 70_000)[:-4], 431, "header-too-large"),  # and no end of it
        (get("/health", *(b"x-%d: y" % number for number in range(10_000)))[:-4], 431, "header-too-large"),
        (get("/" + "x" * 70_000)[:-4], 431, "header-too-large"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404, "not-found"),
        (get("*", method="OPTIONS"), 404, "not-found"),
        (get("http://elsewhere/health"), 404, "not-found"),
        (get("elsewhere:443", method="CONNECT"), 404, "not-found"),
        (get("/health", method="TRACE"), 405, "method-not-allowed"),
        (get("/health", method="BREW"), 405, "method-not-allowed"),
        (get("/v1/check-in", b"connection: upgrade", b"upgrade: websocket"), 405, "method-not-allowed"),
        (post("/v1/check-in/", b"content-length: 0"), 404, "not-found"),  # no redirection to the host that was named
        (get("/releases"), 404, "not-found"),
        (get("/releases/%ff%fe%00"), 404, "not-found"),
        (get("/releases/" + "x" * 5000), 404, "not-found"),
        (get("/releases/../keys/plan/private.pem"), 404, "not-found"),
        (get("/releases/%2e%2e/keys/plan/private.pem"), 404, "not-found"),
        (get("/releases/..%2f..%2f..%2f..%2f..%2fetc%2fpasswd"), 404, "not-found"),
        (get("/releases//etc/passwd"), 404, "not-found"),
        (get("/releases/%2fetc%2fpasswd"), 404, "not-found"),
        (get("/releases/targets/small", b"range: bytes=100-200"), 416, "range-not-satisfiable"),
        (get("/releases/targets/small", b"range: bytes=9-0"), 400, "bad-request"),
        (get("/releases/targets/small", b"range: lines=0-1"), 400, "bad-request"),
        (post("/v1/check-in", b"content-encoding: gzip", b"content-length: 0"), 415, "unsupported-media-type"),
    ],
    ids=lambda value: ascii(value[:50]) if isinstance(value, bytes) else None,
)
def test_what_is_no_request_that_anybody_makes(port, sent, status, name):
    with RawConnection(port) as connection:
        problem(connection.ask(sent), status, name)


def test_a_refusal_says_what_else_there_is(port):
    with RawConnection(port) as connection:
        unsatisfied = connection.ask(get("/releases/targets/small", b"range: bytes=100-200"))
        assert unsatisfied.headers["content-range"] == "bytes */10"
        assert connection.ask(get("/v1/check-in")).headers["allow"] == "POST"
        assert connection.ask(get("/releases/targets/small", method="PUT")).headers["allow"] == "GET, HEAD"


def test_a_file_is_not_sent_many_times_over_for_one_request(port):
    with RawConnection(port) as connection:
        many = b"range: bytes=" + b",".join(b"%d-%d" % (i % 5, 5 + i % 5) for i in range(5000))
        assert len(connection.ask(get("/releases/targets/small", many)).body) < 100


def test_parts_and_heads_of_release_files(port):
    with RawConnection(port) as connection:
        part = connection.ask(get("/releases/targets/small", b"range: bytes=2-4"))
        assert (part.status, part.body) == (206, b"234")
        head = connection.ask(get("/releases/targets/small", method="HEAD"))
        assert (head.status, head.headers["content-length"], head.body) == (200, "10", b"")
        problem(connection.ask(get("/releases/targets/small", method="DELETE")), 405, "method-not-allowed")


def test_a_head_of_what_is_not_there_has_no_body(port):
    with RawConnection(port) as connection:
        answer = connection.ask(get("/nothing", method="HEAD"))
        assert (answer.status, answer.headers["content-type"], answer.body) == (404, PROBLEM_TYPE, b"")
        assert connection.ask(get("/health")).status == 200


def test_pipelined_requests_are_answered_in_their_order(port):
    wrong = post("/v1/check-in", b"content-length: %d" % len(Wait(1).encode())) + Wait(1).encode()
    with RawConnection(port) as connection:
        connection.send(get("/health") + wrong + get("/nothing") + get("/health"))
        assert connection.answer().status == 200
        assert "Wait received" in problem(connection.answer(), 400, "malformed-message")
        problem(connection.answer(), 404, "not-found")
        assert connection.answer().status == 200


def test_a_body_with_a_length_and_in_chunks_is_one_request(port):
    """Chunks count (RFC 9112, section 6.3); what is left over is no second request that a proxy would not have seen."""
    smuggled = get("/nothing")
    with RawConnection(port) as connection:
        connection.send(post("/v1/check-in", b"content-length: %d" % len(smuggled), b"transfer-encoding: chunked"))
        connection.send(b"0\r\n\r\n")
        problem(connection.answer(), 400, "malformed-message")
        assert connection.ask(get("/health")).status == 200


def test_who_asks_first_whether_to_send_a_large_body_is_told(port):
    with RawConnection(port) as connection:
        answer = connection.ask(post("/v1/check-in", b"expect: 100-continue", b"content-length: 100000"))
        problem(answer, 413, "content-too-large")


def test_nonsense_after_an_answer_ends_the_connection_and_is_no_fault_of_the_server(port, caplog):
    with RawConnection(port) as connection:
        connection.send(post("/v1/check-in", b"transfer-encoding: chunked") + b"1388\r\n" + b"x" * 5000 + b"\r\n")
        problem(connection.answer(), 413, "content-too-large")
        connection.send(b"zz\r\n")
        assert connection.ended
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_many_that_hold_a_connection_each_hold_up_nobody(port):
    """Twice as many as the server has threads for what it computes."""
    with RawConnection(port) as honest:
        slow = [RawConnection(port) for _ in range(80)]
        try:
            for connection in slow:
                connection.send(post("/v1/check-in", b"content-length: 300") + b"HF")
            assert honest.ask(get("/health")).status == 200
            for connection in slow:
                problem(connection.answer(), 408, "request-timeout")
        finally:
            for connection in slow:
                connection.__exit__()
