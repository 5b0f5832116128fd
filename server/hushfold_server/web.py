"""What both web services share: messages in and out, and an answer to everything that goes wrong.

Errors are problem documents (`problems`), whoever found them: what a client does wrong is never answered with a 500.

    app = web.create_app("device API")

    @app.post("/v1/check-in")
    async def check_in(request: Request) -> Response:
        signed = await web.read_message(request, Signed, limit=4096)
        ...
        return web.answer(ComeBack(60_000, "no round is open"))
"""

from __future__ import annotations

import asyncio
import sys
from typing import TypeVar

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.types import Message as Event

from hushfold_protocol.wire import Message

from . import problems
from .patience import Patience
from .problems import MEDIA_TYPE, PROBLEM_TYPE, Problem
from .process import describe

BODY_LIMIT = 1 << 20  # bytes of a request, unless the service says otherwise
PATIENCE = Patience()

log = structlog.get_logger()
M = TypeVar("M", bound=Message)


def create_app(title: str, body_limit: int = BODY_LIMIT) -> FastAPI:
    """An application with `/health` and everything of this module. `body_limit`: bytes of a request's body."""
    app = FastAPI(
        title=f"Hushfold {title}",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # the address to go to would have the host that the request names
    )
    for kind in problems.OF_ERRORS:
        app.add_exception_handler(kind, _on_domain_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_middleware(_Guard, body_limit=body_limit, patience=PATIENCE)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


async def read_message(request: Request, kind: type[M], limit: int = BODY_LIMIT) -> M:
    """The message of `kind` in a request's body, of at most `limit` bytes.

    Reading stops at the limit. Raises HTTPException for another content type, an encoded body or a longer one,
    WireError for bytes that are no such message.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != MEDIA_TYPE:
        raise HTTPException(415, f"The content type is {given[:80]!r}")
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding != "identity":
        raise HTTPException(415, f"The content encoding is {coding[:80]!r}", {"Accept-Encoding": "identity"})
    if _announced(request.headers) > limit:
        raise _too_large(limit)
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

    def __init__(self, app: ASGIApp, body_limit: int, patience: Patience) -> None:
        self._app, self._limit, self._patience = app, body_limit, patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answering = _Answering(scope["scheme"], send)
        body = _Body(receive, self._limit, self._patience, answering)
        if _announced(Headers(scope=scope)) > self._limit:
            await problems.of_http(_too_large(self._limit)).response()(scope, receive, answering.send)
            return
        try:
            await self._app(scope, body.receive, answering.send)
        except Exception as error:  # every other way out would be a traceback in the server's output
            problem = problems.of_http(error) if isinstance(error, HTTPException) else _unexpected(error, scope)
            if not answering.started:
                await problem.response()(scope, receive, answering.send)


class _Body:
    """A request's body as it comes: no larger than the limit, and no slower than patience allows.

    Once the answer has begun, it is too late to refuse anything: what still comes is for `connections` to end.
    """

    def __init__(self, receive: Receive, limit: int, patience: Patience, answering: _Answering) -> None:
        self._receive, self._limit, self._patience, self._answering = receive, limit, patience, answering
        self._received, self._waited, self._complete = 0, 0.0, False

    async def receive(self) -> Event:
        """Raises HTTPException."""
        if self._complete or self._answering.started:  # a file's answer waits for its client to leave
            return await self._receive()
        now = asyncio.get_running_loop().time
        begin = now()
        try:
            async with asyncio.timeout(self._patience.for_body(self._received) - self._waited):
                event = await self._receive()
        except TimeoutError:
            if self._answering.started:
                return await self._receive()
            raise HTTPException(
                408,
                f"Of the body, {self._received} bytes have come in {self._waited + now() - begin:.0f} seconds",
                {"Connection": "close"},
            ) from None
        self._waited += now() - begin
        self._received += len(event.get("body", b""))
        self._complete = not event.get("more_body", False)
        if self._received > self._limit and not self._answering.started:
            raise _too_large(self._limit)
        return event


class _Answering:
    """An answer on its way: with security headers, and as a problem document if it says that something is wrong."""

    def __init__(self, scheme: str, send: Send) -> None:
        self._scheme, self._send = scheme, send
        self.started = False
        self._plain: tuple[int, list[tuple[str, str]]] | None = None  # an error that a library puts in words of its own
        self._words = b""

    async def send(self, event: Event) -> None:
        if event["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=event)
            if event["status"] >= 400 and headers.get("content-type") != PROBLEM_TYPE:
                kept = [(name, headers[name]) for name in ("allow", "content-range") if name in headers]
                self._plain = event["status"], kept
                return
            secure(headers, self._scheme)
        if self._plain is None:
            await self._send(event)
            return
        self._words += event.get("body", b"")
        if not event.get("more_body", False):
            status, kept = self._plain
            problem = problems.of_status(status, self._words.decode(errors="replace"), kept).response()
            secure(problem.headers, self._scheme)
            start = {"type": "http.response.start", "status": problem.status_code, "headers": problem.raw_headers}
            await self._send(start)
            await self._send({"type": "http.response.body", "body": problem.body})


def secure(headers: MutableHeaders, scheme: str) -> None:
    """Adds the security headers that a route has not set itself: a file may be cached."""
    headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
    headers.setdefault("Cache-Control", "no-store")
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "no-referrer")
    if scheme == "https":
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")


def _announced(headers: Headers) -> int:
    """Bytes of the body as its header has it; 0 if it says nothing that can be used."""
    length = headers.get("content-length", "")
    if not length.isdecimal():
        return 0
    return int(length) if len(length) < 20 else sys.maxsize  # Python reads no integer of thousands of digits


def _unexpected(error: Exception, scope: Scope) -> Problem:
    log.error("request_failed", method=scope["method"], path=scope["path"], exception=describe(error))
    return problems.SERVER_ERROR


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"The body is larger than {limit} bytes")


async def _on_domain_error(_request: Request, error: Exception) -> Response:
    return problems.of_error(error).response()


async def _on_http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101  # it is registered for nothing else
    return problems.of_http(error).response()


async def _on_invalid_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return problems.of_parameters(error).response()


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read more
