"""What may be wrong with any request, whatever it is about: its body, its type, its method, its address."""

from __future__ import annotations

from collections.abc import Callable

from asgi_client import Request
from bad_input import (
    CHECK_IN,
    DEVICES,
    ENDPOINTS,
    ENROL,
    HEALTH,
    JOIN,
    LATE,
    MALFORMED,
    METHOD,
    NEXT,
    NOT_FOUND,
    PARAMETERS,
    PART,
    RELEASES,
    STRANGER,
    SUBMIT,
    TAKEN,
    TIMEOUT,
    TOO_LARGE,
    TYPE,
    UNKNOWN,
    Case,
    World,
)
from cohort import make_identity
from played_round import MESSAGE_HEADERS

from hushfold_protocol import messages
from hushfold_protocol.signing import request_enrolment

LIMITS = {ENROL: 16 << 10, CHECK_IN: 4096, JOIN: 4096, SUBMIT: DEVICES * 128 + 4096}  # bytes of a body

GOOD: dict[str, Callable[[World], bytes]] = {  # bodies that are taken
    ENROL: lambda world: request_enrolment(make_identity(50).key).encode(),
    CHECK_IN: lambda world: world.check_in(1).body,
    JOIN: lambda world: world.round.join(LATE).body,
    SUBMIT: lambda world: world.pending.body,
}


def address(world: World, endpoint: str) -> str:
    """The endpoint's, of the first round and as device 1 has it."""
    path = endpoint.split(" ")[1].replace("{round_id}", world.round.plan.round_id.hex())
    return f"{path}?device={world.round.ids[1]}" if endpoint in (SUBMIT, NEXT) else path


def bodies(endpoint: str) -> list[Case]:
    """Of an endpoint that takes a message."""

    def case(fault, what, expected, content, headers=MESSAGE_HEADERS, endless=False):
        def make(world: World) -> Request:
            body = content(world) if callable(content) else content
            return Request("POST", address(world, endpoint), body, headers, endless)

        return Case(endpoint, fault, what, expected, make)

    good, limit = GOOD[endpoint], LIMITS[endpoint]
    return [
        case("malformed", "empty", MALFORMED, b""),
        case("malformed", "half a header", MALFORMED, b"HF"),
        case("malformed", "noise", MALFORMED, b"\xff" * 300),
        case("malformed", "another message", MALFORMED, messages.Wait(1).encode()),
        case("malformed", "cut", MALFORMED, lambda world: good(world)[:-1]),
        case("malformed", "left over", MALFORMED, lambda world: good(world) + b"\0"),
        case("malformed", "another version", MALFORMED, lambda world: good(world).replace(b"HF\1", b"HF\2", 1)),
        case("oversized", "announced", TOO_LARGE, bytes(limit + 1)),
        case("oversized", "in chunks", TOO_LARGE, [bytes(1000)] * 99),
        case("oversized", "absurd", TOO_LARGE, b"", (*MESSAGE_HEADERS, (b"content-length", b"9" * 5000))),
        case("slow", "never whole", TIMEOUT, lambda world: good(world)[:4], endless=True),
        case("slow", "never begun", TIMEOUT, [], endless=True),
        case("wrong type", "JSON", TYPE, b"{}", ((b"content-type", b"application/json"),)),
        case("wrong type", "none", TYPE, good, ()),
        case("wrong type", "no Latin", TYPE, good, ((b"content-type", b"\xff\x00\n"),)),
        case("wrong type", "compressed", TYPE, good, (*MESSAGE_HEADERS, (b"content-encoding", b"gzip"))),
    ]


def methods(endpoint: str) -> list[Case]:
    right = {"GET", "HEAD"} if endpoint == RELEASES else {endpoint.split(" ")[0]}
    wrong = {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW"} - right
    file = "/targets/file" if endpoint == RELEASES else ""

    def make(name: str) -> Callable[[World], Request]:
        return lambda world: Request(name, address(world, endpoint) + file)

    return [Case(endpoint, "wrong method", name, METHOD, make(name)) for name in sorted(wrong)]


def unread(endpoint: str) -> Case:
    """A body for an endpoint that takes none."""
    length = ((b"content-length", b"99999999999"),)
    return Case(
        endpoint,
        "oversized",
        "announced",
        TOO_LARGE,
        lambda world: Request("GET", address(world, endpoint), b"", length),
    )


# ------------------------------------------------------------------ addresses

NO_ROUNDS = (
    "nonsense", "G" * 32, "A" * 32, "0" * 31, "0" * 33, "%00" * 32, "%ff" * 32, "..", "%0a" + "0" * 31,
    "0" * 32 + "%0a",
)  # fmt: skip
NO_DEVICES = ("", "xyz", "0" * 31, "0" * 33, "F" * 32, "%00" * 32, "%ff" * 32, "0" * 32 + "%0a")
NO_FILES = (
    "", "nothing", "targets", "targets/", "../keys/plan/private.pem", "%2e%2e/keys/plan/private.pem",
    "targets/..%2f..%2f..%2fkeys%2fplan%2fprivate.pem", "/etc/passwd", "%2fetc%2fpasswd", "%00", "%ff%fe", "x" * 5000,
    "targets/file/more", "targets%5cfile", "../hushfold.db",
)  # fmt: skip


def at(path: str, method="GET") -> Callable[[World], Request]:
    """A request to an address in which the first round's id and device 1's are put."""
    return lambda world: Request(
        method, path.format(round=world.round.plan.round_id.hex(), device=world.round.ids[1]), b"", MESSAGE_HEADERS
    )


def addresses(endpoint: str, method: str, name: str, device: bool) -> list[Case]:
    """Of rounds and devices that are none."""
    query = "?device={device}" if device else ""
    here = f"/v1/rounds/{{round}}/{name}"
    cases = [Case(endpoint, "wrong round", "unknown", NOT_FOUND, at(f"{UNKNOWN}/{name}{query}", method))]
    for text in NO_ROUNDS:
        cases.append(
            Case(endpoint, "malformed", f"round {text}", NOT_FOUND, at(f"/v1/rounds/{text}/{name}{query}", method))
        )
    if device:
        cases.append(Case(endpoint, "malformed", "no device", PARAMETERS, at(here, method)))
        for text in NO_DEVICES:
            cases.append(Case(endpoint, "malformed", f"device {text}", NOT_FOUND, at(f"{here}?device={text}", method)))
    return cases


CASES = [
    *(case for endpoint in GOOD for case in bodies(endpoint)),
    *(case for endpoint in ENDPOINTS for case in methods(endpoint)),
    *(unread(endpoint) for endpoint in ENDPOINTS if endpoint not in GOOD),
    *addresses(PART, "GET", "part", device=False),
    *addresses(NEXT, "GET", "next", device=True),
    *addresses(SUBMIT, "POST", "messages", device=True),
    Case(NEXT, "unknown device", "stranger", TAKEN, at(f"/v1/rounds/{{round}}/next?device={STRANGER}")),
    *(Case(RELEASES, "malformed", path[:60], NOT_FOUND, at(f"/releases/{path}")) for path in NO_FILES),
    Case(HEALTH, "malformed", "slash", NOT_FOUND, at("/health/")),
]
