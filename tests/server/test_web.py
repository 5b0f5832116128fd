"""What every answer of the web services has in common: problem documents, limits, headers, a log without payloads."""

import asyncio
import json
import logging

import pytest
import structlog
from fastapi import Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from hushfold_protocol import errors as protocol
from hushfold_protocol.messages import ComeBack, Wait
from hushfold_server import errors, problems, process, web
from hushfold_server.settings import Home

HEADERS = {"content-type": web.MEDIA_TYPE}
SECRET = "the words of a user"


@pytest.fixture
def app():
    app = web.create_app("test", body_limit=1000)

    @app.post("/echo")
    async def echo(request: Request):
        return web.answer(await web.read_message(request, Wait, limit=100))

    @app.get("/number/{number}")
    async def number(number: int):
        return {"number": number}

    return app


@pytest.fixture
def client(app):
    return TestClient(app)


def problem(response, status):
    assert response.status_code == status
    assert response.headers["content-type"] == web.PROBLEM_TYPE
    document = response.json()
    assert set(document) == {"type", "title", "status", "detail", "advice"}
    assert document["status"] == status
    assert all(document.values())
    return document


def test_a_message_goes_in_and_out(client):
    response = client.post("/echo", content=Wait(7).encode(), headers=HEADERS)
    assert response.headers["content-type"] == web.MEDIA_TYPE
    assert Wait.decode(response.content) == Wait(7)


def test_health(client):
    assert client.get("/health").json() == {"status": "ok"}


def test_every_answer_has_the_security_headers(client):
    for response in (client.get("/health"), client.get("/nothing"), client.post("/echo", content=b"x" * 2000)):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["content-security-policy"].startswith("default-src 'none'")
        assert "strict-transport-security" not in response.headers
    assert "max-age" in TestClient(client.app, base_url="https://x").get("/health").headers["strict-transport-security"]


def test_a_route_may_choose_its_own_policy(app, client):
    @app.get("/file")
    async def file():
        return JSONResponse({}, headers={"Cache-Control": "max-age=60"})

    assert client.get("/file").headers["cache-control"] == "max-age=60"


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (protocol.WireError("3 bytes left over"), 400, "malformed-message"),
        (protocol.SignatureInvalid("it does not verify"), 403, "signature"),
        (protocol.Equivocation("another answer"), 409, "second-answer"),
        (protocol.TooFew("only 3"), 409, "refused"),
        (protocol.PlanRefused("no noise"), 400, "protocol"),
        (errors.NotFound("no round 12", "Check in again"), 404, "not-found"),
        (errors.StateError("it is sharing"), 409, "wrong-state"),
        (errors.EvidenceRefused("the token is unknown"), 403, "evidence-refused"),
        (errors.EnrolmentClosed("all have enrolled"), 403, "enrolment-closed"),
        (errors.EnrolmentBusy("20 in an hour", retry_after=7.2), 429, "enrolment-busy"),
    ],
)
def test_a_domain_error_is_a_problem_with_its_own_words(app, client, error, status, name):
    @app.get("/raise")
    async def fail():
        raise error

    response = client.get("/raise")
    document = problem(response, status)
    assert response.headers.get("retry-after") == ("8" if status == 429 else None)
    assert document["type"] == f"urn:hushfold:problem:{name}"
    assert document["detail"] == getattr(error, "message", str(error))
    if getattr(error, "advice", ""):
        assert document["advice"] == error.advice


def test_every_remote_error_is_the_clients():
    kinds = [protocol.RemoteError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        assert problems.of_error(kind("a fault of the peer")).kind.status < 500
    assert len(kinds) >= 7


def test_unknown_address_and_method(client):
    problem(client.get("/nothing"), 404)
    response = client.get("/echo")
    problem(response, 405)
    assert response.headers["allow"] == "POST"


def test_invalid_parameters(client):
    assert "number" in problem(client.get("/number/x"), 422)["detail"]


def test_another_content_type(client):
    for headers in ({}, {"content-type": "application/json"}):
        assert web.MEDIA_TYPE in problem(client.post("/echo", content=b"{}", headers=headers), 415)["advice"]


@pytest.mark.parametrize("body", [b"", b"HF", b"HF\x01\x28", Wait(7).encode() + b"x", ComeBack(1, "no").encode()])
def test_a_body_that_is_no_such_message(client, body):
    problem(client.post("/echo", content=body, headers=HEADERS), 400)


@pytest.mark.parametrize("size", [101, 1001])  # above the route's limit, above the application's
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit(client, size, chunked):
    content = iter([b"x" * 50] * (size // 50 + 1)) if chunked else b"x" * size
    problem(client.post("/echo", content=content, headers=HEADERS), 413)


def test_reading_stops_at_the_limit(app):
    """A body without end: only a server that stops reading answers at all."""
    taken = []

    async def receive():
        taken.append(1)
        return {"type": "http.request", "body": b"x" * 50, "more_body": True}

    answers = call(app, "/echo", receive)
    assert answers[0]["status"] == 413
    assert len(taken) == 3  # 150 bytes, of a limit of 100


def test_the_limit_of_the_application_holds_for_routes_that_read_by_themselves(app):
    @app.post("/raw")
    async def raw(request: Request):
        return {"size": len(await request.body())}

    taken = []

    async def receive():
        taken.append(1)
        return {"type": "http.request", "body": b"x" * 100, "more_body": True}

    assert call(app, "/raw", receive)[0]["status"] == 413
    assert len(taken) == 11


def test_a_client_that_goes_away_is_no_failure_of_the_server(app, home_log):
    async def receive():
        return {"type": "http.disconnect"}

    assert call(app, "/echo", receive)[0]["status"] == 400
    assert home_log() == []


def test_a_defect_is_a_problem_and_leaves_its_place_but_no_payload_in_the_log(app, home_log):
    @app.get("/defect")
    async def defect():
        try:
            raise ValueError(SECRET)
        except ValueError as error:
            raise KeyError(SECRET) from error

    document = problem(TestClient(app).get("/defect"), 500)
    assert SECRET not in json.dumps(document)
    (entry,) = home_log()
    assert (entry["event"], entry["path"], entry["level"]) == ("request_failed", "/defect", "error")
    assert entry["exception"][0] == "builtins.KeyError"
    assert "builtins.ValueError" in entry["exception"]
    assert any(line.endswith(" in defect") for line in entry["exception"])
    assert SECRET not in json.dumps(entry)


def test_a_server_error_that_no_client_can_mend_is_a_500(app, home_log):
    @app.get("/corrupt")
    async def corrupt():
        raise errors.Corrupt("the file of object ab has other content")

    assert "object" not in problem(TestClient(app).get("/corrupt"), 500)["detail"]
    assert home_log()[0]["exception"][0].endswith("Corrupt: the file of object ab has other content")


def call(app, path, receive):
    """One POST straight through ASGI; the messages that the application sent."""
    sent = []

    async def send(event):
        sent.append(event)

    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "scheme": "http", "headers": [(b"content-type", web.MEDIA_TYPE.encode())], "http_version": "1.1",
        "asgi": {"version": "3.0"}, "root_path": "",
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return sent


@pytest.fixture
def home_log(tmp_path, monkeypatch):
    """Logs as a process does; gives the entries that were written."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    home = Home.create(tmp_path / "home")
    process.start_logging(home, "api", "warning")
    file = home.logs / "api.jsonl"
    yield lambda: [json.loads(line) for line in file.read_text().splitlines()]
    root.handlers[:], _ = before
    root.setLevel(before[1])
    structlog.reset_defaults()


def test_records_of_libraries_are_logged_without_their_messages_payload(home_log):
    try:
        raise RuntimeError(SECRET)
    except RuntimeError:
        logging.getLogger("some.library").exception("it failed")
    (entry,) = home_log()
    assert (entry["event"], entry["logger"]) == ("it failed", "some.library")
    assert entry["exception"][0] == "builtins.RuntimeError"
    assert SECRET not in json.dumps(entry)
