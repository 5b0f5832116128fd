"""A device that was written from docs/protocol.md alone plays the vectors, and a session beside real devices."""

import ast
import json
from pathlib import Path
from types import SimpleNamespace

import independent_device
import independent_messages
import independent_plan
import numpy as np
import pytest
from cohort import NOW, Cohort, make_plan, make_vectors, share_work
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from independent_device import IndependentDevice
from independent_neighbours import neighbours
from make_vectors import ATTACKS, FOLDER, SPARSE
from plan_attacks import PLAN_ATTACKS

from hushfold_protocol import errors
from hushfold_protocol.packing import pack
from hushfold_protocol.randomness import AesCtrStream
from hushfold_protocol.secagg.device import DeviceSession

KIT = Path(independent_device.__file__).parent


def read(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def stream(key):
    """The randomness of a vector, as the document says it."""
    encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    return lambda count: encryptor.update(bytes(count))


def device_of(vector):
    content = {name: bytes.fromhex(value) for name, value in vector.items() if isinstance(value, str)}
    device = IndependentDevice(
        plan_message=content["plan"],
        certificate=content["certificate"],
        authority_key=content["authority_key"],
        identity_key=content["identity_key"],
        min_cohort=vector["min_cohort"],
        now=vector["now"],
        vector=content["vector"],
        random_bytes=stream(content["stream_key"]),
    )
    assert device.join == content["join"]
    return device


def told_to_all(vector):
    """The messages that stand in a vector by their names alone."""
    elsewhere = vector.get("told_to_all_in")
    return (vector if elsewhere is None else read(elsewhere)).get("told_to_all")


def play(device, exchanges, to_all):
    """Tells a device what is to be told; how many answers were compared."""
    for exchange in exchanges:
        told = exchange["told"]
        ((kind, message),) = told.items() if isinstance(told, dict) else [(told, to_all[told])]
        ((_, answer),) = exchange["answer"].items()
        assert device.told(kind, bytes.fromhex(message)).hex() == answer
    return len(exchanges)


@pytest.mark.parametrize("file", sorted(KIT.glob("independent_*.py")), ids=lambda file: file.stem)
def test_it_shares_no_code_with_the_implementation(file):
    imported = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.partition(".")[0])
    assert not {name for name in imported if name.startswith("hushfold")}
    kit = {path.stem for path in KIT.glob("*.py")}
    assert {name for name in imported & kit if not name.startswith("independent_")} <= {"protocol_document"}


@pytest.mark.parametrize(("name", "expected"), [("honest-session", [1, 4, 4, 4, 4, 4]), (SPARSE, [1, 4, 4])])
def test_the_honest_sessions_byte_for_byte(name, expected):
    vector = read(name)
    answers = [play(device_of(each), each["exchanges"], told_to_all(vector)) for each in vector["devices"]]
    assert sorted(answers) == expected


@pytest.mark.parametrize("name", ATTACKS)
def test_it_refuses_each_attack_and_stays_as_it_was(name):
    vector = read(name)
    device, refused = device_of(vector["device"]), vector["refused"]
    play(device, vector["exchanges"], told_to_all(vector))
    state = device.state
    ((kind, message),) = refused["told"].items()
    with pytest.raises(independent_messages.ProtocolError) as raised:
        device.told(kind, bytes.fromhex(message))
    assert type(raised.value).__name__ == refused["error"]
    assert device.state == state
    play(device, vector["exchanges"], told_to_all(vector))  # what it has answered, it answers again


def test_its_errors_are_those_of_the_protocol():
    for kind in independent_messages.ProtocolError.__subclasses__():
        assert issubclass(getattr(errors, kind.__name__), errors.ProtocolError)


@pytest.mark.parametrize("row", read("neighbours")["rows"], ids=lambda row: "-".join(map(str, row[:3])))
def test_it_finds_the_same_neighbours(row):
    size, colluders, floor, *expected = row
    assert neighbours(size, colluders, floor) == tuple(expected)


@pytest.mark.parametrize("case", read("encoding")["cases"], ids=lambda case: case["parameters"]["dimension"])
def test_it_encodes_alike(case):
    parameters = SimpleNamespace(**case["parameters"])
    update = np.frombuffer(bytes.fromhex(case["update"]), "<f4")
    assert independent_plan.to_grid(update, parameters).astype("<f4").tobytes().hex() == case["grid"]
    assert independent_plan.rounding_bound(parameters) == pytest.approx(case["bound"], abs=1e-6)
    assert independent_plan.pack(case["values"], parameters.bits).hex() == case["packed"]


def judged(vector, told):
    """Epsilon of an invitation that it agrees to."""
    device = vector["device"]
    ((kind, message),) = told.items()
    invited = independent_messages.decode(kind, bytes.fromhex(message))
    independent_device.verify(bytes.fromhex(device["plan_key"]), b"plan", invited.plan, invited.signature)
    return independent_plan.judge(independent_messages.decode("Plan", invited.plan), device["policy"])


def test_it_agrees_to_the_plan_that_is_agreed_to():
    vector = read("honest-plan")
    accepted = vector["accepted"]
    assert judged(vector, accepted["told"]) == pytest.approx(accepted["epsilon"], abs=1e-6)


@pytest.mark.parametrize("name", PLAN_ATTACKS)
def test_it_refuses_each_plan_that_is_an_attack(name):
    vector = read(name)
    with pytest.raises(independent_messages.ProtocolError) as raised:
        judged(vector, vector["refused"]["told"])
    assert type(raised.value).__name__ == vector["refused"]["error"]


@pytest.mark.parametrize("bits", [16, 20])
def test_in_a_sparse_graph_it_says_what_a_real_device_says(monkeypatch, bits):
    """Beside 103 real devices, three of which are lost on the way. The first is played twice, by both."""
    share_work(monkeypatch)
    plan = make_plan(bits=bits, floor=80, maximum=104, gamma=0.05, dimension=10)
    cohort = Cohort(plan, make_vectors(104, plan))
    identity, key = cohort.devices[0].state.identity, bytes(range(32))
    real = cohort.devices[0] = DeviceSession(
        plan,
        identity,
        lambda: cohort.vectors[0],
        min_cohort=2,
        clock=lambda: NOW,
        random_bytes=AesCtrStream(key),
    )
    ours = IndependentDevice(
        plan_message=plan.encode(),
        certificate=identity.certificate.encode(),
        authority_key=identity.authority_key,
        identity_key=identity.key.private_bytes_raw(),
        min_cohort=2,
        now=NOW,
        vector=pack(cohort.vectors[0], plan.update.bits),
        random_bytes=stream(key),
    )
    assert ours.join == real.join.encode()
    told = []
    receive = real.receive

    def receive_twice(message):
        answer = receive(message)
        told.append(type(message).__name__)
        assert ours.told(told[-1], message.encode()) == answer.encode()
        return answer

    real.receive = receive_twice
    assert not plan.cohort.graph(104).complete
    total = cohort.run(share={7}, upload={8}, agree={9})
    assert (total == cohort.expected({7, 8})).all()
    assert told == ["Roster", "Delivery", "Survivors", "Consents"]
