"""The enrolment authority: who gets a certificate, and what it is good for."""

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi.testclient import TestClient

from hushfold_protocol.errors import SignatureInvalid
from hushfold_protocol.messages import Certificate, EnrolRequest
from hushfold_protocol.signing import request_enrolment, verify_certificate
from hushfold_server import authority, keys, serving, web
from hushfold_server.errors import ConfigurationError, EnrolmentBusy, EvidenceRefused
from hushfold_server.settings import Home, Settings

START = 1_800_000_000.75  # unix seconds


class Clock:
    now = START

    def __call__(self):
        return self.now


@pytest.fixture
def home(tmp_path):
    home = Home.create(tmp_path / "home")
    keys.create_missing(home)
    return home


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(home, clock):
    """The authority's application; `settings` is what server.toml says."""

    def make(settings="", **options):
        home.settings_file.write_text(settings)
        return TestClient(authority.create_app(home, now=clock, **options))

    return make


def enrol(client, key=None, evidence=b"", request=None):
    request = request or request_enrolment(key or Ed25519PrivateKey.generate(), evidence)
    return client.post("/v1/enrol", content=request.encode(), headers={"content-type": web.MEDIA_TYPE})


def test_a_device_gets_a_certificate_that_the_pinned_key_vouches_for(make, home):
    key = Ed25519PrivateKey.generate()
    certificate = Certificate.decode(enrol(make(), key).content)
    pinned = keys.public_key(home, "authority")
    assert certificate.public_key == key.public_key().public_bytes_raw()
    days = Settings.load(home).certificate_days
    assert (certificate.not_before, certificate.not_after) == (1_800_000_000 - 60, 1_800_000_000 + days * 86_400)
    for moment in (certificate.not_before, START, certificate.not_after):
        verify_certificate(certificate, pinned, moment)
    for moment in (certificate.not_before - 1, certificate.not_after + 1):
        with pytest.raises(SignatureInvalid):
            verify_certificate(certificate, pinned, moment)


def test_a_key_that_the_sender_does_not_hold_is_not_vouched_for(make):
    mine, theirs = (request_enrolment(Ed25519PrivateKey.generate()) for _ in range(2))
    stolen = EnrolRequest(theirs.public_key, b"", mine.signature)
    response = enrol(make(), request=stolen)
    assert response.status_code == 403
    assert response.json()["type"] == "urn:hushfold:problem:signature"


def test_evidence_that_nobody_can_check_is_refused_by_default(make):
    assert enrol(make(), evidence=b"token").status_code == 403


def test_an_attestation_decides(make):
    class Token:
        def check(self, public_key, evidence):
            assert len(public_key) == 32
            if evidence != b"token":
                raise EvidenceRefused("the token is unknown")

    client = make(attestation=Token())
    assert enrol(client, evidence=b"token").status_code == 200
    refused = enrol(client, evidence=b"guess")
    assert (refused.status_code, refused.json()["detail"]) == (403, "the token is unknown")


def test_enrolment_per_hour_is_limited_and_says_when_to_come_back(make, clock):
    client = make("enrolments_per_hour = 2")
    assert enrol(client).status_code == 200
    clock.now += 600
    assert enrol(client).status_code == 200
    busy = enrol(client)
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "3000")
    clock.now += 3000
    assert enrol(client).status_code == 200
    assert enrol(client).status_code == 429


def test_thousands_of_enrolments_at_once_get_no_more_certificates_than_the_hour_has(home):
    """One machine that makes keys: what it gets is counted, what it does not get leaves nothing on the disk."""
    log = authority.EnrolmentLog(home.path / "enrolments.db", 10_000, 20)
    for number in range(20):
        log.admit(number.to_bytes(16, "big"), START)
    for number in range(20, 3_000):
        with pytest.raises(EnrolmentBusy) as busy:
            log.admit(number.to_bytes(16, "big"), START + 600)
        assert busy.value.retry_after == 3000
    with closing(sqlite3.connect(home.path / "enrolments.db")) as connection:
        assert connection.execute("SELECT count(*) FROM enrolments").fetchone() == (20,)


def test_all_in_all_is_limited_across_restarts_and_a_device_counts_once(make):
    limited = "enrolments_total = 2"
    known = Ed25519PrivateKey.generate()
    assert enrol(make(limited), known).status_code == 200
    assert enrol(make(limited)).status_code == 200
    closed = enrol(make(limited))
    assert closed.status_code == 403
    assert closed.json()["type"] == "urn:hushfold:problem:enrolment-closed"
    assert enrol(make(limited), known).status_code == 200


def test_a_refused_device_does_not_count(make):
    client = make("enrolments_total = 1")
    assert enrol(client, evidence=b"x").status_code == 403
    assert enrol(client).status_code == 200


def test_plain_http_is_for_this_machine_alone(home):
    settings = Settings.load(home)
    with serving.listen("127.0.0.1", 0, "authority") as here:
        serving.check_exposure(here, settings)
    with serving.listen("0.0.0.0", 0, "authority") as everywhere:
        with pytest.raises(ConfigurationError, match="plain HTTP"):
            serving.check_exposure(everywhere, settings)
        serving.check_exposure(everywhere, settings.model_copy(update={"tls_proxy": True}))


def test_too_large_a_request(make):
    response = make().post("/v1/enrol", content=b"x" * 20_000, headers={"content-type": web.MEDIA_TYPE})
    assert response.status_code == 413


def test_its_files_are_for_itself_alone(make, home):
    enrol(make())
    files = list(home.keys("authority").iterdir())
    assert {file.name for file in files} >= {"private.pem", "enrolments.db"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_it_does_not_start_without_its_key(home):
    (home.keys("authority") / keys.PRIVATE).unlink()
    with pytest.raises(ConfigurationError, match="missing"):
        authority.create_app(home)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('host = "0.0.0.0"', "tls_certificate"),
        ('tls_certificate = "no.pem"\ntls_key = "no.key"', "no.pem"),
        ("authority_port = 99999", "authority_port"),
    ],
)
def test_what_it_cannot_start_with_is_said_in_a_sentence(home, settings, said):
    home.settings_file.write_text(settings)
    service = ("hushfold_server.authority:create_app", "--name", "authority")
    command = [sys.executable, "-m", "hushfold_server.serving", *service, "--home", str(home.path), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
