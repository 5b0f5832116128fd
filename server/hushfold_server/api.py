"""The device API: what phones speak to.

    POST /v1/check-in                  Signed(CheckIn)  -> Invitation | ComeBack
    GET  /v1/rounds/{round}/part       the values that training starts from, little-endian float32
    POST /v1/rounds/{round}/join       Join             -> Wait
    POST /v1/rounds/{round}/messages   Signed(...)      -> Wait       ?device=<hex>
    GET  /v1/rounds/{round}/next       Roster, Delivery, Survivors, Consents, Wait or Closed   ?device=<hex>
    GET  /releases/...                 the TUF repository
    GET  /health

It holds no key: plans come signed from the learner, releases from the publisher. What a device sends in a session is
signed with its enrolled key; what it is sent is either public or encrypted to it by its peers, so asking for it
needs no signature. One process at a time serves a home.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable
from io import FileIO

import structlog
from fastapi import FastAPI, Request, Response
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles

from hushfold_protocol.messages import (
    DEVICE_ID_BYTES,
    MAX_VECTOR_BYTES,
    Invitation,
    Join,
    Signed,
    Wait,
)
from hushfold_protocol.packing import packed_size
from hushfold_protocol.plan import Plan
from hushfold_protocol.signing import device_id, open_check_in

from . import keys, web
from .database import Database
from .database import rounds as rounds_table
from .durable import lock
from .errors import NotFound, StateError
from .instance import open_database
from .live_round import WAIT_MS
from .objects import ObjectStore
from .privacy_ledger import PrivacyLedger
from .rounds import Rounds
from .settings import Home

TICK = 0.2  # seconds between two looks at the clock
SMALL = 4096  # bytes of a check-in or a join, and of what is around the content of another message
FOR_EACH_PEER = 128  # bytes that a device may send for each device of the session: sealed shares, or shares
LARGEST = MAX_VECTOR_BYTES + SMALL  # bytes of any body

_HEX = re.compile(r"[0-9a-f]+\Z")

log = structlog.get_logger()


def create_app(home: Home, now: Callable[[], float] = time.time, ledger: PrivacyLedger | None = None) -> FastAPI:
    """The application of one home. `now` gives unix seconds; `ledger` is the home's own unless given.

    The home is this application's until it has shut down. Raises StateError if another one has it.
    """
    held = _hold(home)
    database = open_database(home)
    objects = ObjectStore(home.objects)
    authority_key = keys.public_key(home, "authority")
    rounds = Rounds(database, ledger or PrivacyLedger(database), authority_key, now)
    app = web.create_app("device API", body_limit=LARGEST)
    app.router.lifespan_context = lambda _: _ticking(rounds, database, held)
    app.state.rounds = rounds

    @app.post("/v1/check-in")
    async def check_in(request: Request) -> Response:
        signed = await web.read_message(request, Signed, SMALL)
        message = open_check_in(signed, authority_key, now())
        device = device_id(message.certificate.public_key)
        return web.answer(await run_in_threadpool(rounds.check_in, message.population, device))

    @app.get("/v1/rounds/{round_id}/part")
    async def part(round_id: str) -> Response:
        def read() -> bytes:
            return objects.get(rounds.plan(_round(round_id)).model.part_sha256.hex())

        return Response(await run_in_threadpool(read), media_type="application/octet-stream")

    @app.post("/v1/rounds/{round_id}/join")
    async def join(round_id: str, request: Request) -> Response:
        message = await web.read_message(request, Join, SMALL)
        if message.round_id.hex() != _round(round_id):
            raise NotFound(f"the join is for round {message.round_id.hex()}", "Send it to that round's address")
        await run_in_threadpool(rounds.join, message)
        return web.answer(Wait(WAIT_MS))

    @app.post("/v1/rounds/{round_id}/messages")
    async def submit(round_id: str, device: str, request: Request) -> Response:
        sender, limit = _device(device), await run_in_threadpool(_largest_message, database, _round(round_id))
        signed = await web.read_message(request, Signed, limit)
        await run_in_threadpool(rounds.submit, round_id, sender, signed)
        return web.answer(Wait(WAIT_MS))

    @app.get("/v1/rounds/{round_id}/next")
    async def next_message(round_id: str, device: str) -> Response:
        return web.answer(await run_in_threadpool(rounds.next_message, _round(round_id), _device(device)))

    app.mount("/releases", StaticFiles(directory=home.releases))
    return app


@contextlib.asynccontextmanager
async def _ticking(rounds: Rounds, database: Database, held: FileIO) -> AsyncIterator[None]:
    """Lets the rounds' steps end in time for as long as the application runs."""

    async def tick() -> None:
        while True:
            try:
                await run_in_threadpool(rounds.tick)
            except Exception:  # a tick that failed must not be the last one
                log.exception("tick_failed")
            await asyncio.sleep(TICK)

    await run_in_threadpool(rounds.resume)
    task = asyncio.create_task(tick())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        database.close()
        held.close()


def _hold(home: Home) -> FileIO:
    """Keeps every other device API away from the home, for as long as the file is open."""
    try:
        return lock(home.run / "api.lock")
    except BlockingIOError:
        raise StateError(
            f"another process serves the device API of {home.path} already",
            "Stop it first: what devices send is added up by one process alone",
        ) from None


def _largest_message(database: Database, round_id: str) -> int:
    """Bytes of the largest message that a device sends in a round. Raises NotFound.

    Whoever knows a round's id can send as much: it is no more than its devices need.
    """
    with database.read() as connection:
        invitation = connection.scalar(select(rounds_table.c.invitation).where(rounds_table.c.id == round_id))
    if invitation is None:
        raise NotFound(f"there is no round {round_id}", "Check in again")
    plan = Plan.decode(Invitation.decode(invitation).plan)
    vector = packed_size(plan.update.encoding().dimension, plan.update.bits)
    return max(vector, FOR_EACH_PEER * plan.cohort.maximum) + SMALL


def _round(text: str) -> str:
    if len(text) != 32 or not _HEX.match(text):
        raise NotFound("a round id is 32 lower-case hex digits", "Take it from the plan")
    return text


def _device(text: str) -> bytes:
    if len(text) != 2 * DEVICE_ID_BYTES or not _HEX.match(text):
        raise NotFound("a device id is 32 lower-case hex digits", "It is the hash of the enrolled key")
    return bytes.fromhex(text)
