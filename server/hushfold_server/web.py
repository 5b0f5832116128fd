"""What both web services share: messages in and out, and an answer to everything that goes wrong.

Errors are problem documents (RFC 9457): `type`, `title`, `status`, `detail`, and `advice`, which says what to do.
What a client does wrong is never answered with a 500, and a 500 tells a client nothing about the inside.

    app = web.create_app("device API")

    @app.post("/v1/check-in")
    async def check_in(request: Request) -> Response:
        signed = await web.read_message(request, Signed, limit=4096)
        ...
        return web.answer(ComeBack(60_000, "no round is open"))
"""

from __future__ import annotations

import http
import math
from dataclasses import dataclass
from typing import TypeVar

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as Event

from hushfold_protocol.errors import Equivocation, Refused, RemoteError, SignatureInvalid, WireError
from hushfold_protocol.wire import Message

from .errors import EnrolmentBusy, EnrolmentClosed, EvidenceRefused, NotFound, ServerError, StateError
from .process import describe

MEDIA_TYPE = "application/vnd.hushfold.v1"
PROBLEM_TYPE = "application/problem+json"
BODY_LIMIT = 1 << 20  # bytes of a request, unless the service says otherwise

log = structlog.get_logger()
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, for a person and for a program: `name` identifies the kind and never changes its meaning."""

    status: int
    name: str
    title: str
    detail: str
    advice: str
    retry_after: float | None = None  # seconds
    headers: tuple[tuple[str, str], ...] = ()

    def response(self) -> JSONResponse:
        document = {
            "type": f"urn:hushfold:problem:{self.name}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "advice": self.advice,
        }
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        return JSONResponse(document, self.status, headers, media_type=PROBLEM_TYPE)


@dataclass(frozen=True, slots=True)
class _Kind:
    status: int
    name: str
    title: str
    advice: str


# The most derived class of an error decides. A ServerError that is not listed is the server's own trouble: a 500.
_KINDS: dict[type[Exception], _Kind] = {
    WireError: _Kind(400, "malformed-message", "The message is malformed", "Update the app's SDK"),
    SignatureInvalid: _Kind(403, "signature", "A signature or certificate does not hold", "Enrol the device again"),
    Equivocation: _Kind(409, "second-answer", "This step was answered already", "Leave the round and check in again"),
    Refused: _Kind(409, "refused", "The message cannot be accepted", "Leave the round and check in again"),
    RemoteError: _Kind(400, "protocol", "The message breaks the protocol", "Update the app's SDK"),
    NotFound: _Kind(404, "not-found", "There is no such thing", "Check the address"),
    StateError: _Kind(409, "wrong-state", "The present state does not allow it", "Read the state and try again"),
    EvidenceRefused: _Kind(403, "evidence-refused", "The device may not enrol", "Send what the platform attests"),
    EnrolmentClosed: _Kind(403, "enrolment-closed", "No more devices may enrol", "Ask the operator for a higher limit"),
    EnrolmentBusy: _Kind(429, "enrolment-busy", "Too many devices enrol at once", "Try again later"),
}

_HTTP_ADVICE = {
    404: "Check the address",
    405: "Use a method that the Allow header lists",
    413: "Send less",
    415: f"Send the content type {MEDIA_TYPE}",
}


def create_app(title: str, body_limit: int = BODY_LIMIT) -> FastAPI:
    """An application with `/health` and everything of this module. `body_limit`: bytes of a request's body."""
    app = FastAPI(title=f"Hushfold {title}", docs_url=None, redoc_url=None, openapi_url=None)
    for kind in _KINDS:
        app.add_exception_handler(kind, _on_domain_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_middleware(_Guard, body_limit=body_limit)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


async def read_message(request: Request, kind: type[M], limit: int = BODY_LIMIT) -> M:
    """The message of `kind` in a request's body, of at most `limit` bytes.

    Reading stops at the limit. Raises HTTPException for another content type or a longer body, WireError for bytes
    that are no such message.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != MEDIA_TYPE:
        raise HTTPException(415, f"The content type is {given[:80]!r}")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return kind.decode(memoryview(body))


def answer(message: Message) -> Response:
    """A response with `message` in its body."""
    return Response(message.encode(), media_type=MEDIA_TYPE)


class _Guard:
    """Around the whole application: limits bodies as they arrive, adds security headers, answers what is left."""

    def __init__(self, app: ASGIApp, body_limit: int) -> None:
        self._app, self._limit = app, body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, received = False, 0

        async def limited_receive() -> Event:
            nonlocal received
            event = await receive()
            received += len(event.get("body", b""))
            if received > self._limit:
                raise _too_large(self._limit)
            return event

        async def secure_send(event: Event) -> None:
            nonlocal started
            if event["type"] == "http.response.start":
                started = True
                _secure(MutableHeaders(scope=event), scope["scheme"])
            await send(event)

        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > self._limit:
            await _http_problem(_too_large(self._limit)).response()(scope, receive, secure_send)
            return
        try:
            await self._app(scope, limited_receive, secure_send)
        except Exception as error:  # every other way out would be a traceback in the server's output
            problem = _http_problem(error) if isinstance(error, HTTPException) else _unexpected(error, scope)
            if not started:
                await problem.response()(scope, receive, secure_send)


def _secure(headers: MutableHeaders, scheme: str) -> None:
    """Adds what a route has not set itself: a file may be cached."""
    headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    headers.setdefault("Cache-Control", "no-store")
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "no-referrer")
    if scheme == "https":
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")


def _unexpected(error: Exception, scope: Scope) -> Problem:
    log.error("request_failed", method=scope["method"], path=scope["path"], exception=describe(error))
    return Problem(
        500,
        "server-error",
        "The server failed",
        "The server could not finish this request; it was not the request's fault",
        "Try again later; the operator finds the reason in the server's log",
    )


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"The body is larger than {limit} bytes")


def _http_problem(error: HTTPException) -> Problem:
    status, headers = error.status_code, tuple((error.headers or {}).items())
    title = http.HTTPStatus(status).phrase
    name = title.lower().replace(" ", "-")
    advice = _HTTP_ADVICE.get(status, "Check the request")
    return Problem(status, name, title, str(error.detail), advice, headers=headers)


async def _on_domain_error(_request: Request, error: Exception) -> Response:
    kind = next(_KINDS[base] for base in type(error).__mro__ if base in _KINDS)
    if not isinstance(error, ServerError):
        return Problem(kind.status, kind.name, kind.title, str(error), kind.advice).response()
    advice = error.advice or kind.advice
    return Problem(kind.status, kind.name, kind.title, error.message, advice, error.retry_after).response()


async def _on_http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # it is registered for nothing else
    return _http_problem(error).response()


async def _on_invalid_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:10])
    return Problem(
        422, "invalid-request", "The request is invalid", faults, "Correct what is named and send it again"
    ).response()


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read more
