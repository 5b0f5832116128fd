"""What may be wrong with a message that is well formed: who sent it, when, and about what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from asgi_client import Request
from bad_input import (
    ANSWERS,
    CHECK_IN,
    ENROL,
    EVIDENCE,
    JOIN,
    LATE,
    MALFORMED,
    NOT_FOUND,
    REFUSED,
    SECOND,
    SIGNATURE,
    STEPS,
    STRANGER,
    SUBMIT,
    TAKEN,
    UNKNOWN,
    Case,
    World,
    inside,
)
from cohort import NOW, make_identity
from declared_messages import misshapen, smallest
from played_round import post

from hushfold_protocol import messages
from hushfold_protocol.signing import issue_certificate, request_enrolment, seal, sign_join
from hushfold_protocol.wire import Message
from hushfold_server.database import Phase


def certified(world: World, number: int, **window) -> messages.Certificate:
    """The authority's, for another time than it would give."""
    public = make_identity(number + 1).key.public_key().public_bytes_raw()
    return issue_certificate(world.authority_key, public, **{"not_before": NOW - 60, "not_after": NOW + 3600, **window})


def unsigned(message: Message) -> Message:
    return replace(message, signature=bytes(64))


# ------------------------------------------------------------------ enrolment and check-in


def enrolling(fault, what, expected, make: Callable[[World], Message]) -> Case:
    return Case(ENROL, fault, what, expected, lambda world: post("/v1/enrol", make(world)))


def enrolled(world: World) -> messages.EnrolRequest:
    """The request of a device that has enrolled by it."""
    request = request_enrolment(make_identity(60).key)
    world.authority.send(post("/v1/enrol", request))
    return request


ASKED = request_enrolment(make_identity(50).key)

ENROLMENT = [
    enrolling("replayed", "again", TAKEN, enrolled),
    enrolling("wrong signature", "none", SIGNATURE, lambda world: unsigned(ASKED)),
    enrolling("wrong signature", "of another key", SIGNATURE, lambda world: replace(ASKED, public_key=bytes(32))),
    enrolling("wrong signature", "over other evidence", SIGNATURE, lambda world: replace(ASKED, evidence=b"token")),
    enrolling("malformed", "evidence", EVIDENCE, lambda world: request_enrolment(make_identity(50).key, b"token")),
]


def check_in(fault, what, expected, number=1, **changes) -> Case:
    """Of a device, with changes to what it signs; some of them are made of the world."""

    def make(world: World) -> Request:
        made = {name: value(world) if callable(value) else value for name, value in changes.items()}
        return world.check_in(number, **made)

    return Case(CHECK_IN, fault, what, expected, make)


CHECK_INS = [
    check_in("replayed", "again", TAKEN, 0),
    check_in("replayed", "old", SIGNATURE, 0, time=NOW - 301),
    check_in("replayed", "from the future", SIGNATURE, 0, time=NOW + 301),
    check_in("replayed", "at the end of time", SIGNATURE, 0, time=2**64 - 1),
    check_in("wrong signature", "of another", SIGNATURE, certificate=lambda world: certified(world, 2)),
    check_in("unknown device", "of another authority", SIGNATURE, certificate=make_identity(2).certificate),
    check_in("unknown device", "ended", SIGNATURE, certificate=lambda world: certified(world, 1, not_after=NOW - 1)),
    check_in("unknown device", "to come", SIGNATURE, certificate=lambda world: certified(world, 1, not_before=NOW + 1)),
    Case(
        CHECK_IN,
        "wrong signature",
        "none",
        SIGNATURE,
        lambda world: post("/v1/check-in", unsigned(messages.Signed.decode(world.check_in(1).body))),
    ),
    Case(
        CHECK_IN,
        "malformed",
        "another message inside",
        MALFORMED,
        lambda world: post("/v1/check-in", seal(make_identity(2).key, messages.Wait(1))),
    ),
]


# ------------------------------------------------------------------ joining


def join(world: World, number=1, certificate=None, sharing_key=None, masking_key=None, **changes) -> messages.Join:
    """A device's, with a signature that holds over all but `changes`."""
    fresh = world.round.cohort.devices[number].join
    signed = sign_join(
        make_identity(number + 1).key,
        world.round.plan,
        certificate or fresh.certificate,
        sharing_key or fresh.sharing_key,
        masking_key or fresh.masking_key,
        fresh.seed_commitment,
    )
    return replace(signed, **changes)


def joining(fault, what, expected, make: Callable[[World], Message], phase=Phase.OPEN, to=None) -> Case:
    def request(world: World) -> Request:
        return post(f"{to(world) if to else world.round.address}/join", make(world))

    return Case(JOIN, fault, what, expected, request, phase)


def again(world: World) -> messages.Join:
    return messages.Join.decode(world.accepted[Phase.OPEN].body)


JOINS = [
    joining("replayed", "again", TAKEN, again),
    *(joining("replayed", "when the session has begun", TAKEN, again, phase) for phase in STEPS),
    joining("replayed", "another seed", SECOND, lambda w: join(w, 0, seed_commitment=bytes(32))),
    joining("replayed", "other keys", SECOND, lambda w: join(w, 0, masking_key=join(w, 1).masking_key)),
    joining("replayed", "another's key", REFUSED, lambda w: join(w, sharing_key=join(w, 0).masking_key)),
    joining("malformed", "one key for two", REFUSED, lambda w: join(w, sharing_key=join(w).masking_key)),
    joining("malformed", "a key of small order", REFUSED, lambda w: join(w, sharing_key=bytes(32))),
    joining("malformed", "a key in another encoding", REFUSED, lambda w: join(w, sharing_key=b"\xff" * 32)),
    joining("wrong round", "of another", NOT_FOUND, lambda w: w.other.cohort.devices[1].join),
    joining("wrong round", "of another plan", SIGNATURE, lambda w: join(w, plan_hash=bytes(32))),
    joining("wrong round", "unknown", NOT_FOUND, lambda w: join(w, round_id=bytes(16)), to=lambda w: UNKNOWN),
    joining("wrong round", "to another's address", NOT_FOUND, join, to=lambda w: w.other.address),
    joining("wrong round", "to no address", NOT_FOUND, join, to=lambda w: "/v1/rounds/nonsense"),
    joining("wrong signature", "none", SIGNATURE, lambda w: unsigned(join(w))),
    joining("wrong signature", "over other contents", SIGNATURE, lambda w: join(w, seed_commitment=bytes(32))),
    joining("wrong signature", "of another", SIGNATURE, lambda w: join(w, 1, certified(w, 2))),
    joining("unknown device", "of another authority", SIGNATURE, lambda w: join(w, 1, make_identity(2).certificate)),
    joining("unknown device", "ended", SIGNATURE, lambda w: join(w, 1, certified(w, 1, not_after=NOW - 1))),
    joining("unknown device", "ends too early", SIGNATURE, lambda w: join(w, 1, certified(w, 1, not_after=NOW + 9))),
    *(joining("out of order", "too late", REFUSED, lambda w: join(w, LATE), phase) for phase in STEPS),
]  # fmt: skip


# ------------------------------------------------------------------ the messages of each step


def submitting(phase: Phase) -> list[Case]:
    """Device 1 is about to send what the step asks for."""

    def case(fault, what, expected, make: Callable[[World], Request]) -> Case:
        return Case(SUBMIT, fault, what, expected, make, phase)

    def ready(world: World, **changes) -> Message:
        return replace(inside(world.pending), **changes)

    def sealed(world: World, **changes) -> bytes:
        return replace(messages.Signed.decode(world.pending.body), **changes).encode()

    def to(where: Callable[[World], str]) -> Callable[[World], Request]:
        return lambda world: replace(world.pending, target=where(world))

    here = STEPS.index(phase)
    cases = [
        case("replayed", "again", TAKEN, lambda w: w.accepted[phase]),
        case("replayed", "otherwise", SECOND, lambda w: w.say(0, ready(w, session=bytes(32)))),
        case("replayed", "as another", SIGNATURE, lambda w: w.say(1, w.accepted[phase].body)),
        case("wrong round", "another session", REFUSED, lambda w: w.say(1, ready(w, session=bytes(32)))),
        case("wrong round", "of another", REFUSED, lambda w: w.say(1, w.other.answer(1).body)),
        case("wrong round", "to another", REFUSED, to(lambda w: w.other.messages_of(1))),
        case("wrong round", "to none", NOT_FOUND, to(lambda w: f"{UNKNOWN}/messages?device={w.round.ids[1]}")),
        case("wrong signature", "none", SIGNATURE, lambda w: w.say(1, sealed(w, signature=bytes(64)))),
        case("wrong signature", "of another", SIGNATURE, lambda w: w.say(1, ready(w), key=2)),
        case("unknown device", "stranger", REFUSED, to(lambda w: f"{w.round.address}/messages?device={STRANGER}")),
        case("unknown device", "too late to join", REFUSED, lambda w: w.say(LATE, ready(w))),
        case("malformed", "noise inside", MALFORMED, lambda w: w.say(1, sealed(w, payload=b"\xff" * 99))),
        case("malformed", "another message inside", MALFORMED, lambda w: w.say(1, messages.Wait(1))),
        case("out of order", "a check-in", MALFORMED, lambda w: w.say(1, w.check_in(1).body)),
    ]  # fmt: skip
    for place, step in enumerate(STEPS):
        early = lambda w, step=step: w.say(1, smallest(ANSWERS[step]))  # noqa: E731
        if place < here:
            cases.append(case("replayed", f"of {step}", TAKEN, lambda w, step=step: w.accepted[step]))
            cases.append(case("out of order", f"another of {step}", SECOND, early))
        elif place > here:
            cases.append(case("out of order", f"one of {step}", REFUSED, early))
    return cases


SUBMITTED = [
    *(case for phase in STEPS for case in submitting(phase)),
    Case(
        SUBMIT,
        "out of order",
        "before the session",
        REFUSED,
        lambda world: world.say(1, smallest(ANSWERS[Phase.SHARING])),
        Phase.OPEN,
    ),
    Case(
        SUBMIT,
        "wrong signature",
        "under its agreement",
        SIGNATURE,
        lambda world: world.say(1, replace(inside(world.pending), signature=bytes(64))),
        Phase.AGREEING,
    ),
]

CASES = [*ENROLMENT, *CHECK_INS, *JOINS, *SUBMITTED]


def shapes(world: World) -> list[Request]:
    """Device 1's message with a part too few, a part too many, or its parts in another order."""
    return [world.say(1, message) for message in misshapen(inside(world.pending))]
