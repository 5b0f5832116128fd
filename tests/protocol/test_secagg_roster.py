"""Who is in a session: what the server admits, what a device accepts, and what both derive from it."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from cohort import AUTHORITY, AUTHORITY_KEY, NOW, Cohort, make_identity, make_plan, make_vectors, seeded
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from hushfold_protocol import messages
from hushfold_protocol.errors import Equivocation, Refused, SignatureInvalid, TooFew
from hushfold_protocol.secagg import server
from hushfold_protocol.secagg.device import DeviceSession, Joined
from hushfold_protocol.secagg.session import merkle_root, open_session
from hushfold_protocol.signing import device_id, issue_certificate, sign_join

PLAN = make_plan()
ATTACKER = make_identity(99)
FRESH, FRESH_TOO = (
    X25519PrivateKey.from_private_bytes(bytes([n]) * 32).public_key().public_bytes_raw() for n in (1, 2)
)


def make_cohort(count=6, **plan):
    plan = make_plan(**plan)
    return Cohort(plan, make_vectors(count, plan))


def attack(plan=PLAN, sharing=FRESH, masking=FRESH_TOO, not_before=NOW - 60, not_after=NOW + 3600):
    """A join by an enrolled device that chooses everything that it may sign itself."""
    public = ATTACKER.key.public_key().public_bytes_raw()
    certificate = issue_certificate(AUTHORITY, public, not_before, not_after)
    return sign_join(ATTACKER.key, plan, certificate, sharing, masking, bytes(32))


def roster(*joins):
    return messages.Roster(tuple(sorted(joins, key=lambda join: device_id(join.certificate.public_key))))


# ------------------------------------------------------------------ one join

SMALL_ORDER, OTHER_ENCODING = (1).to_bytes(32, "little"), FRESH[:-1] + bytes([FRESH[-1] | 0x80])
TAKEN = Cohort(PLAN, make_vectors(1, PLAN)).devices[0].join
BAD_JOINS = {
    "one key for both purposes": (attack(masking=FRESH), Refused, "used twice"),
    "a sharing key of another device": (attack(sharing=TAKEN.sharing_key), Refused, "used twice"),
    "a masking key of another device": (attack(masking=TAKEN.masking_key), Refused, "used twice"),
    "a key of another purpose of another device": (attack(sharing=TAKEN.masking_key), Refused, "used twice"),
    "a sharing key of small order": (attack(sharing=SMALL_ORDER), Refused, "small order"),
    "a masking key of small order": (attack(masking=SMALL_ORDER), Refused, "small order"),
    "a sharing key in another encoding": (attack(sharing=OTHER_ENCODING), Refused, "canonical"),
    "a masking key in another encoding": (attack(masking=OTHER_ENCODING), Refused, "canonical"),
    "a certificate that has ended": (attack(not_after=NOW - 1), SignatureInvalid, "not valid at this time"),
    "a certificate that has not begun": (attack(not_before=NOW + 1), SignatureInvalid, "not valid at this time"),
    "a certificate that ends first": (
        attack(not_after=PLAN.expires - 1),
        SignatureInvalid,
        "ends before the plan expires: renew it",
    ),
    "a join for another plan": (attack(make_plan(floor=3)), SignatureInvalid, "another plan"),
    "a join for another round": (replace(attack(), round_id=bytes(16)), SignatureInvalid, "another plan"),
    "keys that it did not sign": (replace(attack(), masking_key=bytes(range(32))), SignatureInvalid, "join"),
}


@pytest.mark.parametrize("fault", BAD_JOINS)
def test_a_device_that_joins_wrongly_is_refused_and_the_round_goes_on(fault):
    join, error, said = BAD_JOINS[fault]
    cohort = Cohort(PLAN, make_vectors(6, PLAN))
    stage = server.Joining(PLAN, AUTHORITY_KEY)
    for number, device in enumerate(cohort.devices):
        stage = stage.accept(device.join, NOW)
        if number == 2:
            with pytest.raises(error, match=said):
                stage.accept(join, NOW)
    sharing = stage.close()
    assert set(sharing.session.joins) == {device.join for device in cohort.devices}
    np.testing.assert_array_equal(cohort.run(), cohort.expected(()))


@pytest.mark.parametrize("fault", BAD_JOINS)
def test_a_device_refuses_a_roster_with_a_join_that_no_honest_server_admits(fault):
    join, error, said = BAD_JOINS[fault]
    cohort = Cohort(PLAN, make_vectors(6, PLAN))
    with pytest.raises(error, match=said):
        cohort.devices[0].receive(roster(join, *(device.join for device in cohort.devices)))
    assert isinstance(cohort.devices[0].state, Joined)


@pytest.mark.parametrize("late", [0, 3600, 30 * 86_400])
def test_whoever_was_admitted_does_not_void_the_roster_later(late):
    """A server that was away closes late. The certificate that ends with the plan was good for this session."""
    join, cohort = attack(not_after=PLAN.expires), Cohort(PLAN, make_vectors(6, PLAN))
    stage = server.Joining(PLAN, AUTHORITY_KEY)
    for each in (join, *(device.join for device in cohort.devices)):
        stage = stage.accept(each, NOW)
    sharing = stage.close()
    assert join in sharing.session.joins
    device = cohort.devices[0]
    device._clock = lambda: PLAN.expires + late
    assert isinstance(device.receive(sharing.announcement()), messages.Shares)


def test_a_second_join_is_a_repeat_or_an_equivocation():
    stage = server.Joining(PLAN, AUTHORITY_KEY).accept(attack(), NOW)
    assert stage.accept(attack(), NOW) == stage
    with pytest.raises(Equivocation):
        stage.accept(attack(not_after=NOW + 3601), NOW)


def test_a_full_session_admits_nobody_else():
    plan = make_plan(floor=2, maximum=3)
    cohort = Cohort(plan, make_vectors(3, plan))
    stage = server.Joining(plan, AUTHORITY_KEY)
    for device in cohort.devices:
        assert not stage.full
        stage = stage.accept(device.join, NOW)
    assert stage.full
    with pytest.raises(Refused, match="full"):
        stage.accept(attack(plan), NOW)


def test_plans_that_differ_give_no_common_session():
    """A device with another plan (a lower floor) cannot be put into the same roster."""
    stranger = DeviceSession(
        make_plan(floor=3),
        make_identity(98),
        lambda: make_vectors(1, PLAN)[0],
        min_cohort=2,
        clock=lambda: NOW,
        random_bytes=seeded(99),
    )
    with pytest.raises(SignatureInvalid, match="another plan"):
        server.Joining(PLAN, AUTHORITY_KEY).accept(stranger.join, NOW)


# ------------------------------------------------------------------ the whole roster


@pytest.mark.parametrize("fault", ["without me", "twice", "unsorted", "stranger"])
def test_rosters_that_a_device_refuses(fault):
    cohort = make_cohort(6)
    joins = list(cohort.join().announcement().joins)
    mine = cohort.devices[0].join
    other = next(j for j in joins if j != mine)
    match fault:
        case "without me":
            joins.remove(mine)
        case "twice":
            joins.insert(joins.index(other), other)
        case "unsorted":
            joins.reverse()
        case "stranger":
            joins[joins.index(other)] = replace(other, certificate=replace(other.certificate, not_after=NOW + 9999))
    with pytest.raises((Refused, SignatureInvalid)):
        cohort.devices[0].receive(messages.Roster(tuple(joins)))
    assert isinstance(cohort.devices[0].state, Joined)


def test_a_roster_is_no_smaller_than_the_floor_and_no_larger_than_the_plan_admits():
    """At the edges, by a device: what the server says was in the plan is not to be taken from the roster."""
    plan = make_plan(floor=4, maximum=6)
    cohort = Cohort(plan, make_vectors(7, plan))
    joins = [device.join for device in cohort.devices]
    for count, fault, said in (
        (3, TooFew, "3 devices joined, the floor is 4"),
        (7, Refused, "a roster of 7 devices, the plan admits 6"),
    ):
        with pytest.raises(fault, match=said):
            cohort.devices[0].receive(roster(*joins[:count]))
        assert isinstance(cohort.devices[0].state, Joined)
    for count in (4, 6):
        assert open_session(plan, roster(*joins[:count]), AUTHORITY_KEY, NOW).size == count


# ------------------------------------------------------------------ the session


def test_a_session_is_the_hash_of_its_plan_and_roster():
    session = make_cohort(6).join().session
    plan_hash = hashlib.sha256(session.plan.encode()).digest()
    root = merkle_root([join.encode() for join in session.joins])
    assert session.id == hashlib.sha256(b"hushfold/v1/secagg/session\0" + plan_hash + root).digest()


def test_the_session_is_another_for_another_roster():
    cohort = make_cohort(6)
    joins = [device.join for device in cohort.devices]
    ids = {open_session(cohort.plan, roster(*joins[:count]), AUTHORITY_KEY, NOW).id for count in (4, 5, 6)}
    assert len(ids) == 3
