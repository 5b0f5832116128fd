"""What a device refuses: plans, weights, releases, certificates and answers that are not what they should be."""

from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from live_server import free_port
from service_in_process import COHORT, POLICY, ServiceInProcess, problem
from sqlalchemy import insert

from hushfold.participation import LONG_PAUSE, PAUSE, RENEWAL, OutcomeKind
from hushfold_protocol.messages import Certificate, Wait
from hushfold_protocol.signing import issue_certificate
from hushfold_server import keys
from hushfold_server.database import Phase, ReleaseStatus, releases

PAUSES = {OutcomeKind.COME_BACK: PAUSE, OutcomeKind.LEFT: PAUSE, OutcomeKind.REFUSED: LONG_PAUSE}


def ends(phone, kind, said):
    """Runs the phone once: it ends like this, says why, pauses as long as that takes, and has given nothing away."""
    outcome = phone.run_once()
    assert (outcome.kind, outcome.after) == (kind, PAUSES[kind]), outcome
    assert said in outcome.reason
    assert set(phone.sent) <= {"CheckIn"}
    assert phone.contributions == []
    return outcome


# ------------------------------------------------------------------ plans


def test_a_plan_that_the_plan_key_did_not_sign(service, population, phone):
    service.open_round(service.plan(population), key=Ed25519PrivateKey.generate())
    outcome = ends(phone, OutcomeKind.REFUSED, "signature of this plan")
    assert outcome.round_number is None


def test_a_replaced_plan_key_is_picked_up_once_it_is_published(service, population, cohort):
    service.open_round(replace(service.plan(population), expires=0))
    ends(cohort[0], OutcomeKind.LEFT, "the plan has expired")  # it knows the key now
    service.close_rounds()
    (service.home.keys("plan") / keys.PRIVATE).unlink()
    (service.home.public / "plan.pub").unlink()
    keys.create_missing(service.home)
    plan = service.open_round(service.plan(population, task=f"{population}-again"))
    ends(cohort[0], OutcomeKind.REFUSED, "signature of this plan")
    service.publisher.turn()
    outcomes = service.clock.together(*(phone.run_once for phone in cohort))
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.CONTRIBUTED] * COHORT
    assert service.row(plan).phase == Phase.SUMMED


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"min_floor": 3}, "floor of 2, at least 3 needed"),
        ({"max_round_epsilon": 0.1}, "for one round, at most 0.1 allowed"),
    ],
)
def test_a_plan_below_the_policy_of_the_device(service, population, make_phone, policy, said):
    """Each of the demands is tested in `test_plan`."""
    service.open_round(service.plan(population))
    ends(make_phone(policy=replace(POLICY, **policy)), OutcomeKind.REFUSED, said)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"model": {"part": "nonsense"}}, "part 'nonsense' of model 'next_word', which this device does not have"),
        ({"model": {"name": "speech"}}, "model 'speech', which this device does not have"),
        ({"update": {"dimension": 575}}, "trains 575 values of part 'adapter'"),
        ({"training": {"batch": 4}}, "trains batches of 4x20"),
        ({"training": {"time": 8}}, "trains batches of 16x8"),
        ({"update": {"clip_norm": -1.0}}, "the update parameters make no sense"),
        ({"update": {"scale": 1e300}}, "the update parameters make no sense"),
        ({"update": {"local_stddev": 1e-100}}, "epsilon inf for one round"),
        ({"cohort": {"gamma": 1e308}}, "is not between 0 and one half"),
    ],
)
def test_a_signed_plan_that_this_device_cannot_follow(service, population, phone, parts, said):
    service.open_round(service.plan(population, **parts))
    ends(phone, OutcomeKind.REFUSED, said)


def test_a_plan_of_another_population(service, population, phone):
    service.open_round(service.plan("keyboard-fr", task=population), population=population)
    ends(phone, OutcomeKind.REFUSED, f"invited by population 'keyboard-fr', not '{population}'")


def test_an_expired_plan(service, population, phone):
    service.open_round(replace(service.plan(population), expires=int(service.clock.now())))
    ends(phone, OutcomeKind.LEFT, "the plan has expired")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not those that the plan names"),
        (b"\1" * 2304, "not those that the plan names"),
        (bytes(5000), "more than 2304 bytes"),
    ],
)
def test_values_that_are_not_those_of_the_plan(service, population, phone, content, said):
    service.open_round(service.plan(population))
    service.api.instead = lambda exchange: (200, content) if exchange.path.endswith("/part") else None
    ends(phone, OutcomeKind.REFUSED, said)


@pytest.mark.parametrize("content", [b"", bytes(4), bytes(8)], ids=len)
def test_values_that_the_plan_names_and_that_do_not_fit_its_part(service, population, phone, content):
    part_sha256 = bytes.fromhex(service.objects.put(content))
    service.open_round(service.plan(population, model={"part_sha256": part_sha256}))
    ends(phone, OutcomeKind.REFUSED, f"{len(content)} bytes, the part has 2304")


# ------------------------------------------------------------------ releases


@pytest.fixture
def released(tmp_path):
    """A service of its own with a second release of the model, and that release's weights."""
    service = ServiceInProcess(tmp_path)
    weights = (np.frombuffer(service.weights, "<f4") * np.float32(1.01)).astype("<f4").tobytes()
    with service.database.begin() as connection:
        connection.execute(
            insert(releases).values(
                model="next_word",
                version="1.1.0",
                weights_sha256=service.objects.put(weights),
                status=ReleaseStatus.CANDIDATE,
                custom={},
                created_at=service.clock.now(),
            )
        )
    service.publisher.turn()
    yield service, weights
    service.stop()


def test_a_round_on_a_newer_release_updates_the_phone_first(released):
    service, weights = released
    plan = service.open_round(service.plan("keyboard-en", weights=weights, version="1.1.0"))
    phones = [service.phone(str(number), "keyboard-en") for number in range(COHORT)]
    outcomes = service.clock.together(*(phone.run_once for phone in phones))
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.CONTRIBUTED] * COHORT
    for phone in phones:
        assert phone.device.active_model.active.version == "1.1.0"
        assert phone.device.weights().astype("<f4").tobytes() == weights
        assert phone.contributions[0].model_sha256 == plan.model.weights_sha256
        assert phone.participation.update_model() is None  # nothing newer
        phone.device.close()


def test_a_round_on_weights_that_no_release_has(service, population, phone):
    weights = service.weights[:-4] + b"\0\0\x80\x3f"
    service.open_round(service.plan(population, weights=weights, version="9.0.0"))
    ends(phone, OutcomeKind.LEFT, "the round trains version 9.0.0, which is not in use on this device")


def test_the_shipped_model_is_not_downloaded_as_a_release(service, phone):
    assert phone.participation.update_model() is None
    assert not [exchange for exchange in service.api.exchanges if exchange.path.endswith(".f32")]


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ((503, b""), OutcomeKind.COME_BACK, "could not be fetched"),
        ((200, b"{}"), OutcomeKind.REFUSED, "the release metadata was refused"),
        ((200, b"[" * 10_000), OutcomeKind.REFUSED, "the release metadata was refused"),
    ],
)
def test_a_release_channel_that_is_away_or_lies(service, population, phone, answer, kind, said):
    service.open_round(service.plan(population))
    service.api.instead = lambda exchange: answer if exchange.path.endswith("timestamp.json") else None
    ends(phone, kind, said)


# ------------------------------------------------------------------ answers


@pytest.mark.parametrize("which", ["service_url", "authority_url"])
def test_a_service_that_refuses_connections(service, make_phone, which):
    url = f"http://127.0.0.1:{free_port()}"
    ends(make_phone(address=replace(service.address, **{which: url})), OutcomeKind.COME_BACK, f"no answer from {url}")


# `test_service` has every kind of answer; here is what a device makes of them.
ANSWERS = [
    (problem(503, "the database is away"), OutcomeKind.COME_BACK, "the server cannot answer now: the database is away"),
    ((500, b"<html>"), OutcomeKind.COME_BACK, "status 500"),
    (problem(403, "unknown device", "Enrol again"), OutcomeKind.LEFT, "unknown device. Enrol again"),
    ((302, b""), OutcomeKind.LEFT, "status 302"),
    ((200, b"<html>hello</html>"), OutcomeKind.REFUSED, "something else than a message"),
    ((200, bytes((1 << 20) + 1)), OutcomeKind.REFUSED, "more than 1048576 bytes"),
]
NAMES = ["busy", "broken", "refusal", "redirection", "html", "huge"]


@pytest.mark.parametrize(("answer", "kind", "said"), ANSWERS, ids=NAMES)
@pytest.mark.parametrize("asked", ["api", "authority"])
def test_bad_answers_before_the_round(service, phone, asked, answer, kind, said):
    getattr(service, asked).instead = lambda _: answer
    ends(phone, kind, said)
    assert len(service.api.exchanges) == (asked == "api")


@pytest.mark.parametrize("path", ["/v1/check-in", "/v1/enrol"])
def test_a_message_of_another_kind(service, phone, path):
    wrong = lambda exchange: (200, Wait(1).encode()) if exchange.path == path else None  # noqa: E731
    service.api.instead = service.authority.instead = wrong
    ends(phone, OutcomeKind.REFUSED, "something else than a message")


@pytest.mark.parametrize(("answer", "kind", "said"), ANSWERS, ids=NAMES)
def test_bad_answers_in_the_middle_of_a_session(service, population, phone, answer, kind, said):
    service.open_round(service.plan(population))
    service.api.instead = lambda exchange: answer if exchange.is_next else None
    outcome = phone.run_once()
    assert (outcome.kind, outcome.after) == (kind, PAUSES[kind])
    assert said in outcome.reason
    assert phone.sent == ["CheckIn", "Join"]
    assert phone.contributions == []
    assert phone.checkpoint is None


# ------------------------------------------------------------------ certificates


def test_a_certificate_is_renewed_before_it_ends(service, phone):
    def certificate():
        return Certificate.decode(phone.device.store.load_setting("certificate"))

    for _ in range(2):
        phone.run_once()
    first = certificate()
    assert len(service.authority.exchanges) == 1
    service.clock.wait(first.not_after - RENEWAL - service.clock.now() - 1)
    phone.run_once()
    assert certificate() == first
    service.clock.wait(2)
    assert phone.run_once().reason == "no round is open now"
    assert len(service.authority.exchanges) == 2
    assert certificate().not_after > first.not_after


def foreign_certificate(service, phone):
    """For this device, but of another authority."""
    now = int(service.clock.now())
    return issue_certificate(Ed25519PrivateKey.generate(), phone.public_key, now - 60, now + 10**8).encode()


def test_a_stored_certificate_of_another_authority_is_replaced(service, phone):
    """The app was moved to another server."""
    foreign = foreign_certificate(service, phone)
    phone.device.store.save_setting("certificate", foreign)
    assert phone.run_once().reason == "no round is open now"
    assert len(service.authority.exchanges) == 1
    assert phone.device.store.load_setting("certificate") != foreign


def test_a_certificate_that_another_authority_signed(service, phone):
    service.authority.instead = lambda _: (200, foreign_certificate(service, phone))
    ends(phone, OutcomeKind.REFUSED, "signature of this certificate")
    assert phone.device.store.load_setting("certificate") is None
    assert service.api.exchanges == []


def test_a_certificate_for_another_device(service, phone, make_phone):
    other = make_phone()
    other.run_once()
    theirs = other.device.store.load_setting("certificate")
    service.authority.instead = lambda _: (200, theirs)
    ends(phone, OutcomeKind.REFUSED, "a certificate for another device")
    assert phone.device.store.load_setting("certificate") is None
