"""The files of tests/protocol/vectors hold for this implementation, and are what it makes now.

They are read as a device in another language would read them: with nothing but the files.
"""

import json
from collections import Counter

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from good_plan import GOOD, POLICY
from make_vectors import ATTACKS, FOLDER, SPARSE, vectors
from plan_attacks import PLAN_ATTACKS

from hushfold_protocol import errors, messages
from hushfold_protocol.messages import Certificate
from hushfold_protocol.packing import pack, unpack
from hushfold_protocol.plan import DevicePolicy, Plan
from hushfold_protocol.randomness import AesCtrStream
from hushfold_protocol.secagg.device import DeviceSession, Identity
from hushfold_protocol.signing import open_invitation


def read(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def told_to_all(vector):
    """The messages that stand in a vector by their names alone."""
    elsewhere = vector.get("told_to_all_in")
    return (vector if elsewhere is None else read(elsewhere)).get("told_to_all")


def decoded(message, to_all=None):
    if isinstance(message, str):
        message = {message: to_all[message]}
    ((kind, encoded),) = message.items()
    return getattr(messages, kind).decode(bytes.fromhex(encoded))


def device_of(vector):
    content = {name: bytes.fromhex(value) for name, value in vector.items() if isinstance(value, str)}
    plan = Plan.decode(content["plan"])
    identity = Identity(
        Ed25519PrivateKey.from_private_bytes(content["identity_key"]),
        Certificate.decode(content["certificate"]),
        content["authority_key"],
    )
    update = unpack(content["vector"], plan.update.encoding().dimension, plan.update.bits)
    device = DeviceSession(
        plan,
        identity,
        lambda: update,
        min_cohort=vector["min_cohort"],
        clock=lambda: vector["now"],
        random_bytes=AesCtrStream(content["stream_key"]),
    )
    assert device.join.encode() == content["join"]
    return device


def play(device, exchanges, to_all):
    for exchange in exchanges:
        assert device.receive(decoded(exchange["told"], to_all)) == decoded(exchange["answer"])


def test_the_files_are_what_is_made_now():
    assert {path.name: path.read_text() for path in FOLDER.glob("*.json")} == vectors(), "run make_vectors.py"


@pytest.mark.parametrize("name", ATTACKS)
def test_a_device_refuses_what_the_vector_says(name):
    vector = read(name)
    device = device_of(vector["device"])
    play(device, vector["exchanges"], told_to_all(vector))
    state, refused = device.state, vector["refused"]
    with pytest.raises(getattr(errors, refused["error"])) as raised:
        device.receive(decoded(refused["told"]))
    assert type(raised.value).__name__ == refused["error"]
    assert refused["says"] in str(raised.value)
    assert device.state is state


@pytest.mark.parametrize("name", ["honest-session", SPARSE])
def test_honest_sessions(name):
    vector = read(name)
    for each in vector["devices"]:
        play(device_of(each), each["exchanges"], told_to_all(vector))
    lengths = Counter(len(each["exchanges"]) for each in vector["devices"])
    assert lengths == {4: len(vector["devices"]) - 1, 1: 1}


def test_the_sum_of_the_honest_session():
    vector = read("honest-session")
    plan = Plan.decode(bytes.fromhex(vector["devices"][0]["plan"]))
    size, bits = plan.update.encoding().dimension, plan.update.bits
    in_sum = [each for each in vector["devices"] if len(each["exchanges"]) == 4]
    uploaded = [unpack(bytes.fromhex(each["vector"]), size, bits) for each in in_sum]
    total = np.sum(uploaded, axis=0, dtype=np.uint64) % (1 << bits)
    assert pack(total.astype(np.uint32), bits).hex() == vector["sum"]


def judged(vector, told):
    """The plan of an invitation, and its curve, if a device agrees to it."""
    device = vector["device"]
    plan = open_invitation(decoded(told), bytes.fromhex(device["plan_key"]))
    return plan, DevicePolicy(**device["policy"]).check(plan)


def test_a_plan_that_is_agreed_to():
    vector = read("honest-plan")
    assert DevicePolicy(**vector["device"]["policy"]) == POLICY
    plan, curve = judged(vector, vector["accepted"]["told"])
    assert curve.epsilon(plan.delta) == pytest.approx(vector["accepted"]["epsilon"], abs=1e-6)


@pytest.mark.parametrize("name", PLAN_ATTACKS)
def test_a_device_refuses_the_plan_that_the_vector_says(name):
    vector = read(name)
    refused = vector["refused"]
    with pytest.raises(getattr(errors, refused["error"])) as raised:
        judged(vector, refused["told"])
    assert type(raised.value).__name__ == refused["error"]
    assert refused["says"] in str(raised.value)


@pytest.mark.parametrize("attack", PLAN_ATTACKS.values(), ids=PLAN_ATTACKS)
def test_each_plan_that_is_refused_differs_from_the_good_one(attack):
    """And costs more, or hides behind fewer, or is not the server's: none is refused by mistake."""
    plan = Plan.decode(attack.invitation.plan)
    if attack.error is errors.SignatureInvalid:
        return
    assert plan != GOOD
    if "for one round" in attack.says:
        assert POLICY.max_round_epsilon < plan.curve().epsilon(plan.delta)
        assert GOOD.curve().epsilon(GOOD.delta) <= POLICY.max_round_epsilon
