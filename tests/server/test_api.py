"""The device API over HTTP: a whole round, and an answer to everything that clients do wrong."""

from dataclasses import replace

import numpy as np
import pytest
from cohort import NOW, make_identity, make_plan, make_vectors
from declared_messages import codecs_of, smallest
from device_api import DeviceApi
from fastapi.testclient import TestClient
from round_task import open_round

from hushfold_protocol import messages, wire
from hushfold_protocol.packing import packed_size
from hushfold_protocol.signing import device_id, seal
from hushfold_protocol.wire import decode_any
from hushfold_server import api as api_module
from hushfold_server import keys
from hushfold_server.api import create_app
from hushfold_server.database import Database
from hushfold_server.errors import StateError
from hushfold_server.steps import STEPS
from hushfold_server.web import PROBLEM_TYPE


@pytest.fixture
def api(tmp_path):
    plan = make_plan(floor=4, maximum=6, dimension=40)
    return DeviceApi(tmp_path / "home", plan, make_vectors(6, plan))


def problem(response, status):
    """A problem document that says what happened and what to do."""
    assert response.status_code == status, response.content
    assert response.headers["content-type"] == PROBLEM_TYPE
    document = response.json()
    assert document["status"] == status
    assert document["detail"]
    assert document["advice"]
    return document["detail"]


def test_a_round_over_http(api):
    total, survivors = api.whole_round()
    np.testing.assert_array_equal(total, api.cohort.expected(()))
    assert survivors == 6
    assert decode_any(api.next(0).content, messages.Closed) == messages.Closed(messages.Ending.SUMMED, "")


def test_one_application_at_a_time_has_a_home(api):
    with pytest.raises(StateError, match="another process serves the device API"):
        create_app(api.home)
    with api.client, pytest.raises(StateError):
        create_app(api.home)
    with TestClient(create_app(api.home)) as client:  # the first one has shut down
        assert client.get("/health").status_code == 200


def check_in(api, number=0, **changes):
    identity = make_identity(number + 1, api.authority)
    message = messages.CheckIn("keyboard-en", identity.certificate, NOW)
    return seal(identity.key, replace(message, **changes))


def test_check_in(api):
    invited = api.post("/v1/check-in", check_in(api))
    assert messages.Invitation.decode(invited.content).plan == api.plan.encode()
    elsewhere = api.post("/v1/check-in", check_in(api, population="elsewhere"))
    assert messages.ComeBack.decode(elsewhere.content).after_ms > 0


def test_check_ins_that_nobody_signed_or_that_are_old(api):
    stranger = make_identity(1)  # another authority's
    message = messages.CheckIn("keyboard-en", stranger.certificate, NOW)
    problem(api.post("/v1/check-in", seal(stranger.key, message)), 403)
    problem(api.post("/v1/check-in", check_in(api, time=NOW - 3600)), 403)
    mine = check_in(api)
    problem(api.post("/v1/check-in", replace(mine, signature=bytes(64))), 403)


@pytest.mark.parametrize("path", ["/v1/check-in", "{}/join", "{}/messages?device=" + "0" * 32])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "message header: 4 bytes expected"),
        (b"HF", "message header: 4 bytes expected"),
        (b"\xff" * 300, "not a Hushfold message"),
        (messages.Wait(1).encode(), "Wait received"),
        (b"HF\x02\x0c" + bytes(70), "protocol version 2 received"),
    ],
)
def test_bodies_that_are_no_such_message(api, path, body, said):
    assert said in problem(api.post(path.format(api.address), body), 400)


@pytest.mark.parametrize("path", ["/v1/check-in", "{}/join"])
def test_large_bodies_and_other_content_types(api, path):
    problem(api.post(path.format(api.address), bytes(5000)), 413)
    problem(api.post(path.format(api.address), b"{}", "application/json"), 415)


def test_addresses_that_name_nothing(api):
    for path in ("/v1/rounds/" + "0" * 32, "/v1/rounds/nonsense", "/v1/rounds/" + "G" * 32):
        problem(api.client.get(f"{path}/next", params={"device": api.ids[0]}), 404)
        problem(api.client.get(f"{path}/part"), 404)
    problem(api.client.get(f"{api.address}/next", params={"device": "xyz"}), 404)
    problem(api.client.get(f"{api.address}/next"), 422)
    problem(api.client.get("/v1/elsewhere"), 404)
    problem(api.client.delete("/v1/check-in"), 405)


def test_only_the_release_repository_is_served_as_files(api):
    (api.home.releases / "file").write_bytes(b"public")
    key = api.home.keys("plan") / keys.PRIVATE
    # Encoded, or the client would resolve the dots itself.
    assert api.client.get("/releases/metadata/%2e%2e/file").content == b"public"
    assert key.is_file()
    problem(api.client.get(f"/releases/%2e%2e/{key.relative_to(api.home.path)}"), 404)
    (api.home.releases / "link").symlink_to(key)
    problem(api.client.get("/releases/link"), 404)


def test_messages_out_of_order_or_of_others_change_nothing(api):
    for number in range(6):
        api.join(number)
    roster = decode_any(api.next(0).content, messages.Roster)
    shares = api.cohort.devices[0].receive(roster)
    address = f"{api.address}/messages?device={api.ids[0]}"
    problem(api.post(address, seal(api.keys[1], shares)), 403)  # signed by another device
    problem(api.post(address, seal(api.keys[0], messages.Consent(shares.session, bytes(64)))), 409)  # too early
    problem(api.post(address, seal(api.keys[0], replace(shares, session=bytes(32)))), 409)
    problem(api.post(address, seal(api.keys[0], replace(shares, sealed=shares.sealed[1:]))), 409)
    stranger = device_id(make_identity(99).certificate.public_key).hex()
    problem(api.post(f"{api.address}/messages?device={stranger}", seal(api.keys[0], shares)), 409)
    assert decode_any(api.next(0).content, messages.Roster) == roster
    assert api.post(address, seal(api.keys[0], shares)).status_code == 200
    assert api.post(address, seal(api.keys[0], shares)).status_code == 200  # a retransmission
    other = seal(api.keys[0], replace(shares, sealed=shares.sealed[::-1]))
    assert "different" in problem(api.post(address, other), 409)
    assert decode_any(api.next(0).content, messages.Wait)


def test_joins_for_another_round_plan_or_too_late(api):
    join = api.cohort.devices[0].join
    problem(api.post("/v1/rounds/" + "1" * 32 + "/join", join), 404)
    problem(api.post(f"{api.address}/join", replace(join, plan_hash=bytes(32))), 403)
    assert api.join(0).status_code == 200
    assert api.join(0).status_code == 200
    problem(api.post(f"{api.address}/join", replace(join, seed_commitment=bytes(32))), 409)
    for number in range(1, 6):
        assert api.join(number).status_code == 200
    assert api.join(0).status_code == 200  # a retransmission, also when the session has begun
    problem(api.post(f"{api.address}/join", replace(join, seed_commitment=bytes(32))), 409)


@pytest.mark.parametrize("size", [2, 100, 1000])
def test_every_message_of_a_step_fits_into_the_limit_of_its_round(tmp_path, size):
    """As if a device shared with every other, and a share of everyone's were asked of it, in each list of a message."""
    plan = make_plan(floor=2, maximum=size, dimension=1)
    database = Database(tmp_path / "server.db")
    open_round(database, plan, NOW)
    limit = api_module._largest_message(database, plan.round_id.hex())
    vector = bytes(packed_size(plan.update.encoding().dimension, plan.update.bits))
    for kind in (step.answer for step in STEPS.values() if step.answer is not messages.Join):
        fields = {}
        for name, codec in codecs_of(kind).items():
            if isinstance(codec, wire.Items):
                item = codec.item
                fields[name] = (bytes(item.size) if isinstance(item, wire.Fixed) else smallest(item.kind),) * size
            elif isinstance(codec, wire.Opaque):
                fields[name] = vector if kind is messages.Masked else bytes(codec.limit)
        message = messages.Signed(replace(smallest(kind), **fields).encode(), bytes(64))
        assert len(message.encode()) <= limit
