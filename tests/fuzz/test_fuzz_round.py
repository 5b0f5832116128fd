"""Rounds against the real application, with honest devices and with requests that nobody should send in between.

Two rounds of the same devices go on at once, so that there is always another session that a message may be replayed
from. Whatever is sent in between has an answer below 500 and changes nothing, and at the end each round has the exact
sum of those who took part, or has ended with its reason because too few did.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from asgi_client import AsgiClient, Request
from bad_input import inside
from cohort import NOW, make_identity, make_plan
from device_api import state_of
from fuzzing import few, fuzzed
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from message_strategies import any_message, mutations, structs, with_another_field
from played_round import MESSAGE_HEADERS, PlayedRound, post
from sqlalchemy import delete, select

from hushfold_protocol import messages
from hushfold_protocol.signing import request_enrolment, seal
from hushfold_server import api, authority, keys
from hushfold_server.database import LIVE_PHASES, Database, Phase, metadata, participations, rounds, schema, sums
from hushfold_server.problems import PROBLEM_TYPE
from hushfold_server.settings import Home

DEVICES, FLOOR = 5, 3
OTHER = b"\xaa" * 16  # id of the second round
SEGMENTS = (
    "v1",
    "rounds",
    "0" * 32,
    "join",
    "next",
    "part",
    "messages",
    "releases",
    "..",
    "health",
    "check-in",
    "enrol",
)
METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "\x00", "get")
TOO_FEW = ("are needed", "the floor is")


class Service:
    """A home with both services, used by one example after the other."""

    def __init__(self, folder) -> None:
        self.home = Home.create(folder)
        keys.create_missing(self.home)
        self.authority_key = keys.authority_key(self.home)
        self.database = Database(self.home.database)
        self.now = float(NOW)
        self.app = api.create_app(self.home, lambda: self.now)
        self.client = AsgiClient(self.app)
        self.authority = AsgiClient(authority.create_app(self.home, now=lambda: self.now))

    def state(self):
        return state_of(self.home, self.database, self.app)

    def forget(self) -> None:
        """As it was before the first example."""
        with self.database.begin() as connection:
            for table in reversed(metadata.sorted_tables):
                if table is not schema:
                    connection.execute(delete(table))
        self.app.state.rounds._live.clear()
        self.now = float(NOW)


which = st.integers(0, 1)
devices = st.integers(0, DEVICES - 1)


class Rounds(RuleBasedStateMachine):
    def __init__(self, service: Service) -> None:
        super().__init__()
        self.service = service
        plan = make_plan(floor=FLOOR, maximum=DEVICES, dimension=20, gamma=0.0)
        plans = plan, replace(plan, round_id=OTHER, task="other", population="other")
        self.rounds = [
            PlayedRound(service.client, service.database, one, service.authority_key, DEVICES, NOW) for one in plans
        ]
        self.sent: list[Request] = []  # by honest devices, and taken
        self.waited = False  # so long that some may have missed a step
        self.known: object = None  # the state, unless something honest has happened since

    # -------------------------------------------------------------- what honest devices do

    def honest(self, request: Request | None, ended: bool = False) -> None:
        if request is None:
            return
        self.known = None
        answer = self.service.client.send(request)
        if answer.status == 200:
            self.sent.append(request)
        else:
            assert self.waited or ended, answer  # it is too late
            assert answer.status in (404, 409), answer

    @initialize(steps=st.tuples(st.integers(0, 4), st.integers(0, 4)), together=st.booleans(), first=st.booleans())
    def begin(self, steps: tuple[int, int], together: bool, first: bool) -> None:
        """The rounds are at any step, or both at the same one; its first device may have answered."""
        for which in (0, 1):
            for _ in range(steps[0] if together else steps[which]):
                self.everyone(which, set(range(DEVICES)))
            if first:
                self.honest(self.move(which, 0))

    @rule(which=which, number=devices)
    def join(self, which: int, number: int) -> None:
        self.honest(self.rounds[which].join(number), self.phase(which) not in LIVE_PHASES)

    @rule(which=which, number=devices)
    def answer(self, which: int, number: int) -> None:
        self.honest(self.rounds[which].answer(number))

    @rule(which=which, present=st.sets(devices, min_size=FLOOR))
    def everyone(self, which: int, present: set[int]) -> None:
        """One step of a round, without some of its devices."""
        for number in sorted(present):
            self.honest(self.move(which, number))

    @rule(number=devices)
    def check_in(self, number: int) -> None:
        self.honest(self.checked_in(number))

    @rule(seconds=st.sampled_from((1, 1, 1, 31, 601)))
    def wait(self, seconds: int) -> None:
        self.waited, self.known = True, None
        self.service.now += seconds
        self.service.app.state.rounds.tick()

    @rule()
    def lose_memory(self) -> None:
        """What a server that was started again knows is what is on the disk."""
        self.service.app.state.rounds._live.clear()

    def phase(self, which: int) -> Phase:
        with self.service.database.read() as connection:
            return connection.scalar(
                select(rounds.c.phase).where(rounds.c.id == self.rounds[which].plan.round_id.hex())
            )

    def move(self, which: int, number: int) -> Request | None:
        """What the device does next."""
        played = self.rounds[which]
        return played.join(number) if self.phase(which) is Phase.OPEN else played.answer(number)

    def checked_in(self, number: int) -> Request:
        identity = make_identity(number + 1, self.service.authority_key)
        message = messages.CheckIn("keyboard-en", identity.certificate, int(self.service.now))
        return post("/v1/check-in", seal(identity.key, message))

    # -------------------------------------------------------------- what nobody should send

    def hostile(self, request: Request, client: AsgiClient | None = None) -> None:
        before = self.known or self.service.state()
        answer = (client or self.service.client).send(request)
        assert answer.status < 500, answer
        if answer.status >= 400:
            assert answer.headers["content-type"] == PROBLEM_TYPE, answer
            assert answer.document["status"] == answer.status
            assert all(answer.document[member] for member in ("type", "title", "detail", "advice"))
        self.known = self.service.state()
        assert self.known == before, (request, answer)

    def real(self, data: st.DataObject) -> Request:
        """A request that an honest device has sent, or is about to send."""
        played, number = self.rounds[data.draw(which)], data.draw(devices)
        return data.draw(st.sampled_from([*self.sent, played.answer(number) or played.join(number)]))

    def addresses(self) -> list[str]:
        found = ["/v1/check-in"]
        for played in self.rounds:
            found += [f"{played.address}/join", *(played.messages_of(number) for number in range(DEVICES))]
        return found

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.sent))
        if request.target != "/v1/check-in":  # one of less than five minutes ago may meet a round that is new to it
            self.hostile(request)

    @rule(data=st.data())
    def change(self, data: st.DataObject) -> None:
        """Some bytes of a real message."""
        request = self.real(data)
        lengths = [4, len(request.body) - 68] if "/messages" in request.target else []
        body = data.draw(mutations(request.body, lengths))
        if body != request.body:
            self.hostile(replace(request, body=body))

    @rule(data=st.data())
    def change_a_field(self, data: st.DataObject) -> None:
        """Of a real message, whose signature is what it was."""
        request = self.real(data)
        kind = messages.Join if request.target.endswith("/join") else messages.Signed
        message = kind.decode(request.body)
        if isinstance(message, messages.Join):
            changed = data.draw(with_another_field(message))
        else:
            inner = messages.CheckIn.decode(message.payload) if request.target == "/v1/check-in" else inside(request)
            changed = replace(message, payload=data.draw(with_another_field(inner)).encode())
        if changed != message:
            self.hostile(replace(request, body=changed.encode()))

    @rule(
        method=st.sampled_from(("GET", "POST")),
        about=st.just(OTHER.hex()) | st.text("0123456789abcdef", min_size=32, max_size=32),
        name=st.sampled_from(("next", "part", "join", "messages")),
        device=st.none() | st.text("0123456789abcdef", min_size=32, max_size=32),
        message=any_message,
    )
    def ask_about(self, method, about, name, device, message) -> None:
        """What is well formed, about rounds and devices that there are or are not."""
        target = f"/v1/rounds/{about}/{name}" + (f"?device={device}" if device else "")
        body = messages.Signed(message.encode(), bytes(64)).encode() if name == "messages" else message.encode()
        self.hostile(Request(method, target, body, MESSAGE_HEADERS))

    @rule(data=st.data())
    def send_elsewhere(self, data: st.DataObject) -> None:
        """A real message to another round, in another device's name, or to another endpoint."""
        request = self.real(data)
        target = data.draw(st.sampled_from(self.addresses()))
        if target != request.target:
            self.hostile(replace(request, target=target))

    @rule(which=which, number=devices)
    def send_to_the_other_round(self, which: int, number: int) -> None:
        request = self.rounds[which].answer(number)
        if request is not None:
            self.hostile(replace(request, target=self.rounds[1 - which].messages_of(number)))

    @rule(data=st.data(), signer=devices)
    def sign_as_another(self, data: st.DataObject, signer: int) -> None:
        """What a device is about to send, with the signature of another one."""
        number = data.draw(devices.filter(lambda number: number != signer))
        played = self.rounds[data.draw(which)]
        request = played.answer(number)
        if request is not None:
            self.hostile(played.sealed(number, inside(request), key=signer))

    @rule(message=any_message, which=which, number=devices, signer=devices)
    def invent(self, message: messages.Message, which: int, number: int, signer: int) -> None:
        """Any message, signed by a device of the round."""
        self.hostile(self.rounds[which].sealed(number, message, key=signer))

    @rule(data=st.data(), message=any_message, wrapped=st.booleans())
    def invent_unsigned(self, data: st.DataObject, message: messages.Message, wrapped: bool) -> None:
        target = data.draw(st.sampled_from(self.addresses()))
        self.hostile(post(target, messages.Signed(message.encode(), bytes(64)) if wrapped else message))

    @rule(data=st.data(), evidence=st.binary(max_size=20))
    def enrol_wrongly(self, data: st.DataObject, evidence: bytes) -> None:
        request = request_enrolment(make_identity(50).key, evidence)
        body = data.draw(mutations(request.encode(), [36]) | structs(messages.EnrolRequest).map(lambda m: m.encode()))
        if body != request.encode():
            self.hostile(post("/v1/enrol", body), self.service.authority)

    @rule(
        method=st.sampled_from(METHODS),
        path=st.lists(
            st.sampled_from(
                ("v1", "rounds", "join", "next", "part", "messages", "releases", "..", "health", "check-in")
            )
            | st.text(max_size=6),
            max_size=5,
        ),
        query=st.text(max_size=20),
        headers=st.lists(
            st.tuples(
                st.sampled_from((b"content-type", b"content-length", b"range", b"content-encoding", b"if-none-match"))
                | st.binary(min_size=1, max_size=8).map(bytes.lower),
                st.binary(max_size=12) | st.integers(-1, 2**80).map(lambda number: str(number).encode()),
            ),
            max_size=4,
        ),
        body=st.binary(max_size=50) | st.lists(st.binary(max_size=50), max_size=4),
        typed=st.booleans(),
        enrolling=st.booleans(),
    )
    def ask_anything(self, method, path, query, headers, body, typed, enrolling) -> None:
        target = "/" + "/".join(path) + (f"?{query}" if query else "")
        given = (*headers, *(MESSAGE_HEADERS if typed else ()))
        self.hostile(Request(method, target, body, given), self.service.authority if enrolling else self.service.client)

    # -------------------------------------------------------------- how it must end

    def teardown(self) -> None:
        try:
            for number in (0, 1):
                self.finish(number)
                self.check(number)
        finally:
            self.service.forget()

    def finish(self, number: int) -> None:
        """Everyone does what is left to do, and time goes by."""
        for _ in range(6):
            for device in range(DEVICES):
                self.honest(self.move(number, device))
            if self.phase(number) not in LIVE_PHASES:
                return
            if self.waited:
                self.service.now += 601
                self.service.app.state.rounds.tick()

    def check(self, number: int) -> None:
        played = self.rounds[number]
        mine = played.plan.round_id.hex()
        with self.service.database.read() as connection:
            row = connection.execute(select(rounds).where(rounds.c.id == mine)).one()
            total = connection.scalar(select(sums.c.total).where(sums.c.round == mine))
            there = set(connection.scalars(select(participations.c.device).where(participations.c.round == mine)))
        if row.phase is Phase.SUMMED:
            lost = {device for device in range(DEVICES) if played.ids[device] not in there}
            assert len(there) >= FLOOR
            np.testing.assert_array_equal(np.frombuffer(total, "<u4"), played.cohort.expected(lost))
            assert self.waited or not lost
        else:
            assert (row.phase, total) == (Phase.ABORTED, None)
            assert any(words in row.reason for words in TOO_FEW), row.reason
            assert self.waited


@pytest.fixture(scope="module")
def service():
    """In memory, where there is a file system for that: what is asked of the disk here is not that it is durable."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Service(Path(folder) / "home")


@pytest.mark.slow
@fuzzed(share=8)
def test_rounds_go_on_whatever_is_sent_in_between(service):
    service.forget()
    run_state_machine_as_test(lambda: Rounds(service), settings=few(6, steps=20))
