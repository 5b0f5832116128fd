"""A server that offers what was true once: an old release, or a plan key that was replaced, all of it signed well."""

from dataclasses import replace

import numpy as np
import pytest
from service_in_process import POLICY, ServiceInProcess
from sqlalchemy import insert

from hushfold.participation import OutcomeKind
from hushfold_server import keys
from hushfold_server.database import ReleaseStatus, releases


@pytest.fixture
def service(tmp_path):
    service = ServiceInProcess(tmp_path)
    yield service
    service.stop()


@pytest.fixture
def phone(service):
    phone = service.phone("phone", "keyboard-en", policy=replace(POLICY, min_floor=2))
    yield phone
    phone.device.close()


def publish(service, version):
    weights = (np.frombuffer(service.weights, "<f4") * np.float32(1.01)).astype("<f4").tobytes()
    with service.database.begin() as connection:
        connection.execute(
            insert(releases).values(
                model="next_word",
                version=version,
                weights_sha256=service.objects.put(weights),
                status=ReleaseStatus.CANDIDATE,
                custom={},
                created_at=service.clock.now(),
            )
        )
    service.publisher.turn()


def go_back_to(service, metadata):
    """Serves the release channel as it was, and nothing that was added since."""

    def instead(exchange):
        folder, _, name = exchange.path.rpartition("/")
        if folder.endswith("/metadata"):
            return (200, metadata[name]) if name in metadata else (404, b"")
        return None

    service.api.instead = instead


def refuses(phone):
    outcome = phone.run_once()
    assert outcome.kind is OutcomeKind.REFUSED
    assert phone.sent == ["CheckIn"]
    assert phone.contributions == []
    return outcome.reason


def snapshot(service):
    return {path.name: path.read_bytes() for path in service.home.release_metadata.iterdir()}


def test_a_round_on_an_old_release_is_refused_by_a_phone_that_has_seen_the_newer_one(service, phone):
    """Otherwise a server could bring a withdrawn model back, and train on weights of its choice among the old ones."""
    before = snapshot(service)
    publish(service, "1.1.0")
    assert phone.participation.update_model() == "1.1.0"
    go_back_to(service, before)
    service.open_round(service.plan("keyboard-en"))
    assert "the release metadata was refused (replayed)" in refuses(phone)
    assert phone.device.active_model.active.version == "1.1.0"
    phone.restart()
    service.api.exchanges.clear()
    assert "the release metadata was refused (replayed)" in refuses(phone)


def test_a_plan_key_that_was_replaced_does_not_come_back(service, phone):
    """Whoever has stolen it can sign plans; the release channel of its time would vouch for it."""
    phone.participation.update_model()
    stolen, before = keys.plan_key(service.home), snapshot(service)
    (service.home.keys("plan") / keys.PRIVATE).unlink()
    (service.home.public / "plan.pub").unlink()
    keys.create_missing(service.home)
    service.publisher.turn()
    phone.participation.update_model()
    service.open_round(service.plan("keyboard-en"), key=stolen)
    assert "the signature of this plan does not verify" in refuses(phone)
    service.api.exchanges.clear()
    go_back_to(service, before)
    assert "the release metadata was refused (replayed)" in refuses(phone)
