"""The federated server as the SDK reaches it: addresses and roots of trust, and messages over HTTP.

What the app ships is a `Service`: where the server is, the enrolment authority's key and the TUF root. Everything else
that a device trusts, it has from these two. Messages are `hushfold_protocol`'s; problems come as RFC 9457 documents and
become errors with the server's own words.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Self

import urllib3

from hushfold_protocol.addresses import check_address
from hushfold_protocol.errors import WireError
from hushfold_protocol.wire import Message, decode_any

from .errors import RemoteProtocolError, RemoteRefused, ServiceError, Unreachable

MEDIA_TYPE = "application/vnd.hushfold.v1"
MAX_ANSWER = 1 << 20  # bytes of a message; a delivery to a thousand devices has about 100 kB
TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)  # seconds


@dataclass(frozen=True)
class Service:
    """One federated server, as an app embeds it. Raises ValueError for addresses or a key that cannot be used."""

    service_url: str  # of the device API
    authority_url: str  # of the enrolment authority
    authority_key: bytes  # 32 bytes, Ed25519
    root: bytes  # TUF root metadata, JSON

    def __post_init__(self) -> None:
        for url in (self.service_url, self.authority_url):
            check_address(url)
        if len(self.authority_key) != 32:
            raise ValueError(f"the authority's key has {len(self.authority_key)} bytes, 32 are needed")

    @classmethod
    def from_json(cls, content: bytes | str) -> Self:
        """The server's `public/app.json`. Raises ServiceError if it is none, or names addresses that cannot be used."""
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):  # the latter for JSON that is nested too deep
            raise _not_an_app_json("it is not JSON") from None
        try:
            return cls(
                service_url=str(document["service_url"]).rstrip("/"),
                authority_url=str(document["authority_url"]).rstrip("/"),
                authority_key=bytes.fromhex(document["authority_key"]),
                root=json.dumps(document["root"]).encode(),
            )
        except KeyError as error:
            raise _not_an_app_json(f"it has no {error}") from None
        except TypeError:
            raise _not_an_app_json("it is not an object with the fields of one") from None
        except ValueError as error:
            raise _not_an_app_json(str(error)) from None

    @property
    def metadata_url(self) -> str:
        return f"{self.service_url}/releases/metadata/"

    @property
    def targets_url(self) -> str:
        return f"{self.service_url}/releases/targets/"


class Client:
    """Messages to one address and back; counts the bytes of their bodies. For one thread."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._pool = urllib3.PoolManager(retries=False, timeout=TIMEOUT, maxsize=1)
        self.bytes_sent = 0
        self.bytes_received = 0

    def close(self) -> None:
        self._pool.clear()

    def post(self, path: str, message: Message, *expected: type[Message]) -> Message:
        """Send a message; the answer, which is one of `expected`. Raises ServiceError."""
        content = message.encode()
        answer = self._request("POST", path, content, MAX_ANSWER)
        self.bytes_sent += len(content)
        return self._decode(answer, expected)

    def get(self, path: str, *expected: type[Message]) -> Message:
        """Ask for a message, which is one of `expected`. Raises ServiceError."""
        return self._decode(self._request("GET", path, None, MAX_ANSWER), expected)

    def get_bytes(self, path: str, limit: int) -> bytes:
        """Ask for at most `limit` bytes. Raises ServiceError."""
        return self._request("GET", path, None, limit)

    def _request(self, method: str, path: str, content: bytes | None, limit: int) -> bytes:
        headers = {"Content-Type": MEDIA_TYPE} if content is not None else {}
        try:
            response = self._pool.request(
                method, self._url + path, body=content, headers=headers, redirect=False, preload_content=False
            )
            with response:
                answer = response.read(limit + 1, decode_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"no answer from {self._url}: {error}", "Try again later") from error
        self.bytes_received += len(answer)
        if len(answer) <= limit and response.length_remaining:
            raise Unreachable(f"no answer from {self._url}: it broke off", "Try again later")
        if response.status != 200:
            raise _problem(response.status, answer)
        if len(answer) > limit:
            raise RemoteProtocolError(f"{self._url}{path} answered with more than {limit} bytes")
        return answer

    def _decode(self, answer: bytes, expected: tuple[type[Message], ...]) -> Message:
        try:
            return decode_any(answer, *expected)
        except WireError as error:
            raise RemoteProtocolError(f"{self._url} answered with something else than a message: {error}") from error


def _not_an_app_json(why: str) -> ServiceError:
    return ServiceError(
        f"this is not the app.json of a Hushfold server: {why}",
        "Ship public/app.json as `hushfold-server up` writes it",
    )


def _problem(status: int, content: bytes) -> ServiceError:
    """The error that a problem document describes. A server in trouble, or a slow way to it, is one to try again."""
    try:
        document = json.loads(content)
        said, advice = str(document["detail"])[:500], str(document.get("advice", ""))[:500]
    except (ValueError, KeyError, TypeError, RecursionError):  # the last for JSON that is nested too deep
        said, advice = f"status {status}", ""
    if status >= 500 or status in (408, 429):
        return Unreachable(f"the server cannot answer now: {said}", advice or "Try again later")
    return RemoteRefused(said, advice)
