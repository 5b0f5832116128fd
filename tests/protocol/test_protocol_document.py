"""docs/protocol.md says what the code does: its tables are compared with the declarations that they describe."""

import ast
import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from bad_input import ENDPOINTS
from cohort import Cohort, make_identity, make_plan, make_vectors
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from declared_messages import MESSAGES, codecs_of, smallest
from make_vectors import FOLDER
from protocol_document import TEXT, described, table

import hushfold_protocol
from hushfold import device as sdk_device
from hushfold import participation, service, updates
from hushfold_protocol import (
    encoding,
    errors,
    graph,
    messages,
    neighbours,
    packing,
    plan,
    privacy,
    signing,
    skellam,
    wire,
)
from hushfold_protocol.messages import Consents, Delivery, Roster, Survivors
from hushfold_protocol.secagg import server as secagg_server
from hushfold_protocol.secagg.device import DeviceSession
from hushfold_server import live_round, steps
from hushfold_server.database import Phase

FOLDERS = (Path(hushfold_protocol.__file__).parent, Path(sdk_device.__file__).parent)
NAME = re.compile(r"`(\w+)`")
LABEL = re.compile(rb"hushfold/.*|\w+\0", re.DOTALL)

# ------------------------------------------------------------------ messages


def notation(codec):
    """How the document writes a codec. Text is asked about before what it derives from."""
    match codec:
        case wire.UInt():
            return f"u{8 * codec.width}"
        case wire.Int64():
            return "i64"
        case wire.Float64():
            return "f64"
        case wire.Fixed():
            return f"bytes[{codec.size}]"
        case wire.Text():
            return f"text[{codec.limit}]"
        case wire.Opaque():
            return f"opaque[{codec.limit}]"
        case wire.Items():
            return f"list[{notation(codec.item)}; {codec.limit}]"
        case wire.Record():
            return codec.kind.__name__
    raise TypeError(f"{codec} is not in section 1 of the document")


def size(codec):
    """How the document writes the length of a field: nothing for a record of no fixed length."""
    match codec:
        case wire.Opaque():
            return "4 + length"
        case wire.Items():
            return f"4 + {size(codec.item)} items"
        case wire.Record():
            parts = [size(each) for each in codecs_of(codec.kind).values()]
            return str(sum(map(int, parts))) if all(part.isdigit() for part in parts) else ""
    return str(len(codec.write(bytes(codec.size) if isinstance(codec, wire.Fixed) else 0, "")))


def declared():
    """Every message and every record within one."""
    found, ahead = {}, list(MESSAGES)
    while ahead:
        kind = ahead.pop()
        found[kind.__name__] = kind
        for codec in codecs_of(kind).values():
            inner = codec.item if isinstance(codec, wire.Items) else codec
            if isinstance(inner, wire.Record):
                ahead.append(inner.kind)
    return found


def test_every_message_and_record_is_described_and_nothing_else():
    assert described().keys() == declared().keys()
    assert len(MESSAGES) > 15


@pytest.mark.parametrize("kind", declared().values(), ids=declared())
def test_the_fields_of_a_message_are_as_they_are_described(kind):
    says = described()[kind.__name__]
    assert says.code == getattr(kind, "type_code", None)
    of_code = [(name, notation(codec), size(codec)) for name, codec in codecs_of(kind).items()]
    assert [(field.name, field.type, field.bytes) for field in says.fields] == of_code


def test_the_header_and_the_notation():
    header = smallest(messages.Wait).encode()[:4]
    assert f"`{header[:3].hex(' ')}`" in TEXT
    assert header[3] == described()["Wait"].code
    explained = {kind for row in table("type", "bytes", "what") for kind in re.findall(r"`(\w+)", row[0])}
    used = {re.match(r"\w+", field.type)[0] for record in described().values() for field in record.fields}
    assert used - described().keys() == explained


def test_the_endings():
    for ending in messages.Ending:
        assert re.search(rf"\b{ending.value} \(", TEXT.split("**`Closed`**")[1].split("\n\n")[0])


# ------------------------------------------------------------------ errors, labels, limits


def test_the_errors():
    rows = {NAME.search(name)[1]: of for name, of in table("error", "of")}
    remote = {errors.RemoteError}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.RemoteError):
            remote.add(kind)
    assert rows.keys() == {kind.__name__ for kind in remote - {errors.RemoteError}} | {"WrongState"}
    for name, of in rows.items():
        base = re.match(r"a kind of `(\w+)`", of)
        if base:
            assert issubclass(getattr(errors, name), getattr(errors, base[1]))


def constants(calls):
    """The texts in the code that some functions are called with, by themselves or by a name, and all labels."""
    purposes, labels = set(), set()
    for path in (path for folder in FOLDERS for path in folder.rglob("*.py")):
        tree = ast.parse(path.read_text())
        known = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
                values = node.value.elts if isinstance(node.value, ast.Tuple) else []
                known |= {
                    t.id: v for t, v in zip(node.targets[0].elts, values, strict=False) if isinstance(t, ast.Name)
                }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, bytes) and LABEL.fullmatch(node.value):
                labels.add(node.value.decode())
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in calls:
                given = [known.get(getattr(arg, "id", None), arg) for arg in node.args]
                purposes |= {arg.value for arg in given if isinstance(arg, ast.Constant) and isinstance(arg.value, str)}
    return purposes, labels


def test_every_label_of_a_hash_or_key_is_described():
    derived, found = constants({"derive"})
    prefix = "hushfold/v1/secagg/"
    written = {row[0].strip("`").replace("\\0", "\0") for row in table("label", "makes")}
    in_code = {label if label.startswith("hushfold/") else prefix + label for label in found}
    in_code |= {f"{prefix}{purpose}\0" for purpose in derived}
    assert written == in_code - {"hushfold/v1/"}  # which begins the text of a signature


def test_every_purpose_of_a_signature_is_described():
    listed = {name for row in table("purpose", "signer") for name in NAME.findall(row[0])}
    purposes, _ = constants({"sign", "verify"})
    assert listed == purposes | {step.answer.__name__ for step in steps.STEPS.values()} - {"Join"} | {"CheckIn"}


def test_a_signature_is_made_as_the_document_says():
    identity, sealed = make_identity(1), smallest(messages.Consent)
    key = Ed25519PublicKey.from_public_bytes(identity.certificate.public_key)
    key.verify(signing.seal(identity.key, sealed).signature, b"hushfold/v1/Consent\0" + sealed.encode())
    request = signing.request_enrolment(identity.key)
    key.verify(request.signature, b"hushfold/v1/enrolment\0" + request.encode()[:-64])
    authority = Ed25519PublicKey.from_public_bytes(identity.authority_key)
    certificate = identity.certificate
    authority.verify(certificate.signature, b"hushfold/v1/certificate\0" + certificate.encode()[:-64])
    invitation = signing.sign_plan(identity.key, make_plan())
    key.verify(invitation.signature, b"hushfold/v1/plan\0" + invitation.plan)


def test_the_limits():
    limits = {
        "roster": plan.MAX_COHORT,
        "roster with a complete graph": graph.COMPLETE,
        "masked vector": messages.MAX_VECTOR_BYTES,
        "update": encoding.MAX_DIMENSION,
        "bits of a value": f"{packing.MIN_BITS} to {packing.MAX_BITS}",
        "noise of a device": int(skellam.MAX_STDDEV),
        "clipped update B": int(encoding._MAX_GRID_NORM),
        "draws of a rounding": encoding.MAX_ROUNDINGS,
        "clock of a check-in": signing.CHECK_IN_WINDOW,
        "certificate is renewed": int(participation.RENEWAL),
        "answer that a device reads": service.MAX_ANSWER,
        "release that a device accepts": updates.MAX_RELEASE_BYTES,
        "JSON target that a device accepts": updates.MAX_JSON_BYTES,
        "requests again": participation.RETRIES,
        "pause before a request again": f"{participation.RETRY_AFTER:g}",
        "wait of a session": f"{participation.LONGEST_WAIT:g}",
        "patience after `expires`": f"{participation.PATIENCE:g}",
        "check-in after `ComeBack`": f"{participation.SHORTEST_PAUSE:g} to {int(participation.LONGEST_PAUSE)}",
        "check-in after a refusal": f"{participation.LONG_PAUSE:g}",
        "check-in after a round": f"{participation.PAUSE:g}",
        "whatever a server does": neighbours.SECURITY_BITS,
        "a sum that cannot be opened": neighbours.FAILURE_BITS,
    }
    assert {row[0]: row[1] for row in table("limit", "value")} == {name: str(value) for name, value in limits.items()}


def test_numbers_in_the_text():
    assert f"{signing.CHECK_IN_WINDOW} s" in TEXT
    assert f"after {participation.RETRY_AFTER:g} s, {participation.RETRIES} times" in re.sub(r"\s+", " ", TEXT)
    assert f"({sdk_device.EPSILON_LIMIT:g} by default)" in TEXT
    assert f"{encoding.MAX_ROUNDINGS} times at most" in re.sub(r"\s+", " ", TEXT)
    assert f"`{service.MEDIA_TYPE}`" in TEXT
    assert 0 < live_round.WAIT_MS <= live_round.LONGEST_WAIT_MS <= 1000 * participation.LONGEST_WAIT


def test_the_orders():
    written = re.search(r"for a in (.*?)\. Rounds", re.sub(r"\s+", " ", TEXT))[1]
    orders = []
    for part in written.removesuffix(".").split(", "):
        if match := re.match(r"(\d+)\.\.(\d+)( by twos)?", part):
            orders += range(int(match[1]), int(match[2]) + 1, 2 if match[3] else 1)
        else:
            orders.append(int(part))
    assert tuple(orders) == privacy.ORDERS


def test_the_policy():
    defaults = plan.DevicePolicy()
    rows = {row[0].strip("`"): row[1] for row in table("policy", "default")}
    assert rows == {field.name: str(getattr(defaults, field.name)) for field in fields(defaults)}


def test_the_addresses():
    written = {re.match(r"`(\w+ /[^`?]*)", row[0])[1].removesuffix("/...") for row in table("address", "body")}
    assert written == set(ENDPOINTS)


# ------------------------------------------------------------------ states

ROWS = {NAME.search(row[0])[1]: row for row in table("state", "message") if NAME.search(row[0])}
STATES = [*ROWS, "Unmasked"]


def told():
    """A device of a session, and what it is told, by kind."""
    round_plan = make_plan()
    cohort = Cohort(round_plan, make_vectors(6, round_plan))
    device, heard = cohort.devices[0], {}
    receive = device.receive

    def listen(message):
        heard[type(message).__name__] = message
        return receive(message)

    device.receive = listen
    cohort.run(upload={5})
    fresh = Cohort(round_plan, make_vectors(6, round_plan)).devices[0]
    assert fresh.join == device.join
    return fresh, heard


def different(message):
    """Another message of its kind."""
    if isinstance(message, Roster):
        return replace(message, joins=message.joins[:-1])
    return replace(message, session=bytes(32))


@pytest.mark.parametrize("state", STATES)
def test_the_device_walks_as_the_table_says(state):
    """In each state, each message leads where the table says; whatever is refused leaves it where it was."""
    device, heard = told()
    answers = {}
    for before in STATES[: STATES.index(state)]:
        _, message, following, answer, _ = ROWS[before]
        kind = NAME.search(message)[1]
        answers[kind] = device.receive(heard[kind])
        assert type(answers[kind]).__name__ == NAME.search(answer)[1]
        assert type(device.state).__name__ == NAME.search(following)[1]
    assert type(device.state).__name__ == state
    reached = device.state
    assert heard.keys() == {NAME.search(row[1])[1] for row in ROWS.values()}
    for kind, message in heard.items():
        if kind in answers:
            assert device.receive(message) is answers[kind]
            with pytest.raises(errors.Equivocation):
                device.receive(different(message))
        elif state == "Unmasked" or kind != NAME.search(ROWS[state][1])[1]:
            with pytest.raises(errors.WrongState):
                device.receive(message)
        else:
            with pytest.raises(errors.Refused):
                device.receive(different(message))
        assert device.state is reached


def test_the_walk_knows_every_message_of_a_session():
    asked = {Roster, Delivery, Survivors, Consents}
    assert {NAME.search(row[1])[1] for row in ROWS.values()} == {kind.__name__ for kind in asked}
    assert set(participation._STEPS) == asked
    assert isinstance(told()[0], DeviceSession)


def test_the_server_walks_as_the_table_says():
    announced = {}
    for stage in (secagg_server.Sharing, secagg_server.Masking, secagg_server.Agreeing, secagg_server.Unmasking):
        announced[stage.__name__.lower()] = stage.announcement.__annotations__["return"]
    rows = {row[0].strip("`"): row for row in table("phase", "`next`")}
    assert list(rows) == [phase.value for phase in steps.STEPS]
    for phase, step in steps.STEPS.items():
        _, says, takes, _, following = rows[phase.value]
        assert NAME.search(says)[1] == announced.get(phase.value, "Wait")
        assert (NAME.search(takes)[1], NAME.search(following)[1]) == (step.answer.__name__, step.following.value)
    assert step.following is Phase.SUMMED


# ------------------------------------------------------------------ vectors


def test_every_kind_of_vector_is_described():
    """Those of attacks are described together: each is named after what it is."""
    others = {path.stem for path in FOLDER.glob("*.json") if "refused" not in json.loads(path.read_text())}
    assert others == set(re.findall(r"^- \*\*`([\w-]+)\.json`\*\*", TEXT, re.MULTILINE))
