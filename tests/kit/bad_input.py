"""What the tests of bad input are about: a server in the midst of a round, and what may be wrong with a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from asgi_client import AsgiClient, Request
from cohort import NOW, make_identity, make_plan
from device_api import state_of
from played_round import PlayedRound, post

from hushfold_protocol import messages
from hushfold_protocol.signing import device_id, seal
from hushfold_protocol.wire import Message, decode_any
from hushfold_server import api, authority, keys
from hushfold_server.database import Database, Phase
from hushfold_server.settings import Home
from hushfold_server.steps import STEPS as ALL_STEPS

DEVICES = 6  # in the session
LATE = DEVICES  # the number of one that comes when the session is full
STEPS = tuple(phase for phase in ALL_STEPS if phase is not Phase.OPEN)
ANSWERS = {phase: step.answer for phase, step in ALL_STEPS.items() if phase is not Phase.OPEN}
STRANGER = device_id(make_identity(99).certificate.public_key).hex()
UNKNOWN = "/v1/rounds/" + "0" * 32

ENROL, CHECK_IN, PART = "POST /v1/enrol", "POST /v1/check-in", "GET /v1/rounds/{round_id}/part"
JOIN, SUBMIT = "POST /v1/rounds/{round_id}/join", "POST /v1/rounds/{round_id}/messages"
NEXT, RELEASES, HEALTH = "GET /v1/rounds/{round_id}/next", "GET /releases", "GET /health"
ENDPOINTS = (ENROL, CHECK_IN, PART, JOIN, SUBMIT, NEXT, RELEASES, HEALTH)

FAULTS = (
    "malformed",
    "oversized",
    "slow",
    "replayed",
    "out of order",
    "wrong round",
    "wrong signature",
    "unknown device",
    "wrong method",
    "wrong type",
)

TAKEN = (200, "")  # as if it had not been sent
MALFORMED = (400, "malformed-message")
SIGNATURE = (403, "signature")
EVIDENCE = (403, "evidence-refused")
NOT_FOUND = (404, "not-found")
METHOD = (405, "method-not-allowed")
TIMEOUT = (408, "request-timeout")
REFUSED = (409, "refused")
SECOND = (409, "second-answer")
TOO_LARGE = (413, "content-too-large")
TYPE = (415, "unsupported-media-type")
PARAMETERS = (422, "invalid-request")


class World:
    """A home with both services and two rounds of the same devices, each in one phase.

    Of that phase, device 0 has answered in the first round, and nobody else. In the second one, nobody has. Time stands
    still.
    """

    def __init__(self, folder, phase: Phase) -> None:
        self.home = Home.create(folder)
        keys.create_missing(self.home)
        self.authority_key = keys.authority_key(self.home)
        self.database = Database(self.home.database)
        (self.home.release_targets / "file").write_bytes(b"public")
        self.app = api.create_app(self.home, lambda: float(NOW))
        self.client = AsgiClient(self.app)
        self.authority = AsgiClient(authority.create_app(self.home, now=lambda: float(NOW)))
        plan = make_plan(floor=4, maximum=DEVICES, dimension=40)
        plans = plan, replace(plan, round_id=b"\xaa" * 16, task="other", population="other")
        self.round, self.other = (
            PlayedRound(self.client, self.database, one, self.authority_key, DEVICES + 1, NOW) for one in plans
        )
        self.accepted: dict[str, Request] = {}  # device 0's, by the step
        self.round.send(self.check_in(0))
        for played in (self.round, self.other):
            self._play(played, phase)

    def _play(self, played: PlayedRound, until: Phase) -> None:
        first = played is self.round
        for phase in (Phase.OPEN, *STEPS):
            for number in range(DEVICES) if phase is not until else range(first):
                request = played.join(number) if phase is Phase.OPEN else played.answer(number)
                if first and number == 0:
                    self.accepted[phase] = request
                played.send(request)
            if phase is until:
                return

    def state(self) -> object:
        return state_of(self.home, self.database, self.app)

    def check_in(self, number: int, **changes) -> Request:
        identity = make_identity(number + 1, self.authority_key)
        message = replace(messages.CheckIn("keyboard-en", identity.certificate, NOW), **changes)
        return post("/v1/check-in", seal(identity.key, message))

    @property
    def pending(self) -> Request:
        """What device 1 is about to send."""
        return self.round.answer(1)

    def say(self, number: int, message: Message | bytes, key: int | None = None) -> Request:
        """A message of the first round in a device's name, with its signature or with that of device `key`."""
        if isinstance(message, bytes):
            return post(self.round.messages_of(number), message)
        return self.round.sealed(number, message, key)


def inside(request: Request) -> Message:
    """The message that is sealed in a request."""
    return decode_any(messages.Signed.decode(request.body).payload, *ANSWERS.values())


@dataclass(frozen=True)
class Case:
    """One request that is wrong in one way, and the status and the name of the problem that it meets."""

    endpoint: str
    fault: str
    what: str
    expected: tuple[int, str]
    make: Callable[[World], Request]
    phase: Phase = Phase.SHARING

    def __str__(self) -> str:
        return f"{self.endpoint}-{self.fault}-{self.what}-{self.phase}"
