"""The enrolment authority: vouches that a device key belongs to one enrolled device.

    POST /v1/enrol   EnrolRequest -> Certificate
    GET  /health

It is a process of its own, because the server that it protects devices from must not hold its key: a server that
could vouch for devices could fill a session with its own and open what the one real device sent.

What a device must show is decided by an `Attestation`. The default asks for nothing but possession of the key and
limits how many devices enrol: enough for one machine and for simulated fleets, not for the open internet.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Protocol

import structlog
from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from hushfold_protocol.messages import Certificate, EnrolRequest
from hushfold_protocol.signing import device_id, issue_certificate, verify_enrolment

from . import web
from .errors import EnrolmentBusy, EnrolmentClosed, EvidenceRefused
from .keys import authority_key
from .settings import Home, Settings

DAY = 86_400  # seconds
HOUR = 3_600  # seconds
BACKDATING = 60  # seconds; for devices whose clock is behind
REQUEST_LIMIT = 16 << 10  # bytes of an EnrolRequest: 8192 of evidence and the rest

log = structlog.get_logger()


class Attestation(Protocol):
    """Decides whether a device may enrol."""

    def check(self, public_key: bytes, evidence: bytes) -> None:
        """Returns to accept. Raises EvidenceRefused, with a reason for the device's log, to refuse.

        `public_key` (32 bytes) is proven to be the sender's; `evidence` is what its platform attests, up to 8192 bytes.
        """


class OpenEnrolment:
    """Accepts every device that sends no evidence. Evidence is refused: nobody here could check it."""

    def check(self, public_key: bytes, evidence: bytes) -> None:
        if evidence:
            raise EvidenceRefused("this authority checks no evidence, but some was sent")


class EnrolmentLog:
    """Who enrolled when, durably, in the authority's own folder.

    At most `total` devices may enrol, and `per_hour` of them within an hour. One that does so again is not counted.
    """

    def __init__(self, path: Path, total: int, per_hour: int) -> None:
        self._path, self._total, self._per_hour = path, total, per_hour
        path.touch(mode=0o600, exist_ok=True)
        with closing(self._connect()) as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS enrolments ("
                "number INTEGER PRIMARY KEY,"  # counts them, from 1; rows are never deleted
                "device BLOB NOT NULL UNIQUE,"  # 16-byte device id
                "enrolled_at REAL NOT NULL"  # unix seconds, of the first time
                ")"
            )
            connection.execute("CREATE INDEX IF NOT EXISTS enrolments_by_time ON enrolments (enrolled_at)")

    def admit(self, device: bytes, now: float) -> None:
        """Records a device. Raises EnrolmentClosed or EnrolmentBusy if a limit is reached."""
        with closing(self._connect()) as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            if connection.execute("SELECT 1 FROM enrolments WHERE device = ?", (device,)).fetchone():
                return
            (total,) = connection.execute("SELECT coalesce(max(number), 0) FROM enrolments").fetchone()
            if total >= self._total:
                raise EnrolmentClosed(f"all {total} devices that this authority may vouch for have enrolled")
            recent, oldest = connection.execute(
                "SELECT count(*), min(enrolled_at) FROM enrolments WHERE enrolled_at > ?", (now - HOUR,)
            ).fetchone()
            if recent >= self._per_hour:
                raise EnrolmentBusy(
                    f"{recent} devices have enrolled within an hour; more than {self._per_hour} may not",
                    retry_after=oldest + HOUR - now,
                )
            connection.execute("INSERT INTO enrolments (device, enrolled_at) VALUES (?, ?)", (device, now))

    def _connect(self) -> sqlite3.Connection:
        # Transactions are begun by hand: the driver's own would begin after the first read.
        return sqlite3.connect(self._path, timeout=30, isolation_level=None)


def create_app(
    home: Home,
    *,
    attestation: Attestation | None = None,
    now: Callable[[], float] = time.time,
) -> FastAPI:
    """The authority's application. Raises ConfigurationError if its key is missing or open to others."""
    key = authority_key(home)
    settings = Settings.load(home)
    validity = settings.certificate_days * DAY
    judge = attestation or OpenEnrolment()
    enrolments = EnrolmentLog(
        home.keys("authority") / "enrolments.db", settings.enrolments_total, settings.enrolments_per_hour
    )

    def enrol(request: EnrolRequest) -> Certificate:
        verify_enrolment(request)
        judge.check(request.public_key, request.evidence)
        moment, device = now(), device_id(request.public_key)
        enrolments.admit(device, moment)
        log.info("enrolled", device=device.hex())
        begin = int(moment)
        return issue_certificate(key, request.public_key, begin - BACKDATING, begin + validity)

    app = web.create_app("enrolment authority", body_limit=REQUEST_LIMIT)

    @app.post("/v1/enrol")
    async def post_enrol(request: Request) -> Response:
        message = await web.read_message(request, EnrolRequest, REQUEST_LIMIT)
        return web.answer(await run_in_threadpool(enrol, message))

    return app
