"""Problem documents (RFC 9457): how the web services say what went wrong, and what to do about it.

    {"type": "urn:hushfold:problem:NAME", "title": ..., "status": ..., "detail": ..., "advice": ...}

`detail` says what happened this time, and `advice`, a member of our own, what can be done. A name identifies a kind and
never changes its meaning; docs/api.md lists all of them. What a client does wrong has a status below 500, and a 500
tells a client nothing about the inside.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from hushfold_protocol.errors import Equivocation, Refused, RemoteError, SignatureInvalid, WireError

from .errors import EnrolmentBusy, EnrolmentClosed, EvidenceRefused, NotFound, ServerError, StateError

MEDIA_TYPE = "application/vnd.hushfold.v1"
PROBLEM_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Kind:
    """What problems of one name have in common. `advice` is what can be done if the case itself does not say."""

    status: int
    name: str
    title: str
    advice: str


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, for a person and for a program."""

    kind: Kind
    detail: str
    advice: str = ""  # instead of the kind's
    retry_after: float | None = None  # seconds
    headers: tuple[tuple[str, str], ...] = ()

    def response(self) -> JSONResponse:
        """The document as an answer."""
        document = {
            "type": f"urn:hushfold:problem:{self.kind.name}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "advice": self.advice or self.kind.advice,
        }
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        return JSONResponse(document, self.kind.status, headers, media_type=PROBLEM_TYPE)


_NOT_FOUND = Kind(404, "not-found", "There is no such thing", "Check the address")

OF_ERRORS: Mapping[type[Exception], Kind] = MappingProxyType(
    {
        WireError: Kind(400, "malformed-message", "The message is malformed", "Update the app's SDK"),
        SignatureInvalid: Kind(403, "signature", "A signature or certificate does not hold", "Enrol the device again"),
        Equivocation: Kind(
            409, "second-answer", "This step was answered already", "Leave the round and check in again"
        ),
        Refused: Kind(409, "refused", "The message cannot be accepted", "Leave the round and check in again"),
        RemoteError: Kind(400, "protocol", "The message breaks the protocol", "Update the app's SDK"),
        NotFound: _NOT_FOUND,
        StateError: Kind(409, "wrong-state", "The present state does not allow it", "Read the state and try again"),
        EvidenceRefused: Kind(403, "evidence-refused", "The device may not enrol", "Send what the platform attests"),
        EnrolmentClosed: Kind(
            403, "enrolment-closed", "No more devices may enrol", "Ask the operator for a higher limit"
        ),
        EnrolmentBusy: Kind(429, "enrolment-busy", "Too many devices enrol at once", "Try again later"),
    }
)
"""The most derived class of an error decides. A ServerError that is not listed is the server's own trouble: a 500."""

OF_STATUS: Mapping[int, Kind] = MappingProxyType(
    {
        kind.status: kind
        for kind in (
            Kind(400, "bad-request", "This is no valid HTTP request", "Correct the request"),
            _NOT_FOUND,
            Kind(405, "method-not-allowed", "The address has no such method", "Use a method of the Allow header"),
            Kind(408, "request-timeout", "The request came too slowly", "Send it again over a better connection"),
            Kind(413, "content-too-large", "The body is too large", "Send less"),
            Kind(
                415,
                "unsupported-media-type",
                "The body is of another type",
                f"Send the content type {MEDIA_TYPE}, without a content encoding",
            ),
            Kind(
                416,
                "range-not-satisfiable",
                "The file does not have these bytes",
                "Ask for bytes that it has, or for all",
            ),
            Kind(422, "invalid-request", "The request is invalid", "Correct what is named and send it again"),
            Kind(431, "header-too-large", "The request's header is too large", "Send fewer and shorter header fields"),
            Kind(
                500,
                "server-error",
                "The server failed",
                "Try again later; the operator finds the reason in the server's log",
            ),
            Kind(501, "not-implemented", "The server has no such feature of HTTP", "Send the body plain or chunked"),
        )
    }
)
"""Of what HTTP alone says. Another status is that of the first of its hundred."""

TOO_MANY_CONNECTIONS = Kind(
    503, "too-many-connections", "The server has as many connections as it takes", "Try again later"
)
SERVER_ERROR = Problem(OF_STATUS[500], "The server could not finish this request; it was not the request's fault")


def of_status(status: int, detail: str, headers: Sequence[tuple[str, str]] = (), advice: str = "") -> Problem:
    """The problem that an HTTP status stands for."""
    kind = OF_STATUS.get(status) or OF_STATUS[400 if status < 500 else 500]
    return Problem(kind, detail or kind.title, advice, headers=tuple(headers))


def of_http(error: HTTPException) -> Problem:
    """The problem that an error of the web framework, or of ours about a request, stands for."""
    return of_status(error.status_code, str(error.detail), tuple((error.headers or {}).items()))


def of_error(error: Exception) -> Problem:
    """The problem that a listed error, or one derived from it, stands for. Its words are ours and hold no payload."""
    kind = next(OF_ERRORS[base] for base in type(error).__mro__ if base in OF_ERRORS)
    if not isinstance(error, ServerError):
        return Problem(kind, str(error))
    return Problem(kind, error.message, error.advice, error.retry_after)


def of_parameters(error: RequestValidationError) -> Problem:
    """What is wrong with parameters, without what was sent in them."""

    def said(fault: Any) -> str:
        return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"

    return Problem(OF_STATUS[422], "; ".join(map(said, error.errors()[:10])))
