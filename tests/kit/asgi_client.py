"""Requests straight into an application, as the server would hand them over: with any target, any header and any body.

A client library would mend some of them, or refuse to send them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote


@dataclass(frozen=True)
class Request:
    """One request. A body that is bytes is announced; one in chunks is not, and an endless one never comes whole."""

    method: str
    target: str
    body: bytes | Iterable[bytes] = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    endless: bool = False

    def scope(self) -> dict:
        raw_path, _, query = self.target.encode().partition(b"?")
        headers = [(b"host", b"127.0.0.1"), *self.headers]
        names = {name for name, _ in headers}
        if isinstance(self.body, bytes) and self.body and b"content-length" not in names:
            headers.append((b"content-length", str(len(self.body)).encode()))
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": unquote(raw_path.decode()),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    taken: int  # pieces of the request's body that were asked for

    @property
    def document(self) -> dict:
        return json.loads(self.body)


class AsgiClient:
    """Sends requests to one application, each in its turn."""

    def __init__(self, app) -> None:
        self.app = app
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        self._loop.close()

    def send(self, request: Request) -> Answer:
        return self._loop.run_until_complete(self._send(request))

    async def _send(self, request: Request) -> Answer:
        pieces = iter([request.body] if isinstance(request.body, bytes) else request.body)
        sent, taken, complete = [], 0, False

        async def receive() -> dict:
            nonlocal taken, complete
            taken += 1
            piece = None if complete else next(pieces, None)
            if piece is not None:
                complete = isinstance(request.body, bytes) and not request.endless
                return {"type": "http.request", "body": piece, "more_body": not complete}
            if complete or request.endless:
                await asyncio.Event().wait()
            complete = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(event: dict) -> None:
            sent.append(event)

        await self.app(request.scope(), receive, send)
        body = b"".join(event.get("body", b"") for event in sent[1:])
        headers = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], headers, body, taken)
