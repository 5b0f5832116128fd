"""HTTP as bytes on a socket: what no client library would send, and as slowly as a test likes."""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass
from http.client import HTTPResponse


@dataclass(frozen=True)
class RawAnswer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict:
        return json.loads(self.body)


class RawConnection:
    """One connection to a port of this machine, over TLS with a `context`. Every wait ends after `seconds`."""

    def __init__(
        self,
        port: int,
        seconds: float = 20.0,
        receive_buffer: int | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(seconds)
        self.socket.connect(("127.0.0.1", port))
        if context is not None:
            self.socket = context.wrap_socket(self.socket)
        self._reader = self.socket.makefile("rb")

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(self, *_) -> None:
        self._reader.close()
        self.socket.close()

    def makefile(self, _mode: str):
        """For HTTPResponse, which would read ahead in a file of its own."""
        return _Kept(self._reader)

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def answer(self, method: str = "GET") -> RawAnswer:
        """The next answer on the connection."""
        response = HTTPResponse(self, method=method)
        response.begin()
        return RawAnswer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def ask(self, content: bytes) -> RawAnswer:
        self.send(content)
        return self.answer(content.split(b" ", 1)[0].decode("latin-1"))

    @property
    def ended(self) -> bool:
        """Waits for the server's next word: whether it is that the connection has ended."""
        try:
            return self._reader.read(1) == b""
        except ConnectionResetError:
            return True


class _Kept:
    """A reader that an HTTPResponse cannot close."""

    def __init__(self, reader) -> None:
        self._reader = reader

    def __getattr__(self, name: str):
        return (lambda: None) if name == "close" else getattr(self._reader, name)
