"""The device API of a home with one open round, in this process, and the devices of that round."""

from __future__ import annotations

import hashlib

import numpy as np
from cohort import NOW, Cohort
from fastapi.testclient import TestClient
from round_task import open_round
from sqlalchemy import select

from hushfold_protocol import messages
from hushfold_protocol.signing import device_id, seal
from hushfold_protocol.wire import decode_any
from hushfold_server import keys
from hushfold_server.api import create_app
from hushfold_server.database import LIVE_PHASES, Database, Phase, metadata, rounds, sums
from hushfold_server.settings import Home
from hushfold_server.web import MEDIA_TYPE

FROM_SERVER = (
    messages.Roster, messages.Delivery, messages.Survivors, messages.Consents, messages.Wait, messages.Closed,
)  # fmt: skip


class DeviceApi:
    """The application and as many devices as there are `vectors`. Time stands still unless a test changes `now`."""

    def __init__(self, folder, plan, vectors, ledger=None):
        self.home = Home.create(folder)
        keys.create_missing(self.home)
        self.authority = keys.authority_key(self.home)
        self.now = float(NOW)
        self.plan, self.address = plan, f"/v1/rounds/{plan.round_id.hex()}"
        self.cohort = Cohort(plan, vectors, authority=self.authority)
        self.keys = [device.state.identity.key for device in self.cohort.devices]
        self.ids = [device_id(device.join.certificate.public_key).hex() for device in self.cohort.devices]
        self.database = Database(self.home.database)
        open_round(self.database, plan, NOW)
        self.app = create_app(self.home, lambda: self.now, ledger and ledger(self.database))
        self.client = TestClient(self.app, raise_server_exceptions=False)

    def post(self, path, message, media_type=MEDIA_TYPE):
        content = message if isinstance(message, bytes) else message.encode()
        return self.client.post(path, content=content, headers={"Content-Type": media_type})

    def join(self, number):
        return self.post(f"{self.address}/join", self.cohort.devices[number].join)

    def next(self, number):
        return self.client.get(f"{self.address}/next", params={"device": self.ids[number]})

    def turn(self, number):
        message = decode_any(self.next(number).content, *FROM_SERVER)
        if isinstance(message, messages.Wait | messages.Closed):
            return message
        answer = seal(self.keys[number], self.cohort.devices[number].receive(message))
        return self.post(f"{self.address}/messages?device={self.ids[number]}", answer)

    def whole_round(self):
        numbers = range(len(self.ids))
        for number in numbers:
            assert self.join(number).status_code == 200
        if len(self.ids) < self.plan.cohort.maximum:
            self.now += 601
            self.app.state.rounds.tick()
        for _ in range(4):
            for number in numbers:
                assert self.turn(number).status_code == 200
        with self.database.read() as connection:
            assert connection.scalar(select(rounds.c.phase)) == Phase.SUMMED
            total = connection.scalar(select(sums.c.total))
            return np.frombuffer(total, "<u4"), connection.scalar(select(rounds.c.survivors))


def state_of(home, database, app):
    """All that a request could change: every row, the live sessions, and every file but the database's and the logs.

    Equal if and only if nothing was changed. A session that nobody has asked for since a start is rebuilt first.
    """
    with database.read() as connection:
        tables = {table.name: connection.execute(select(table)).all() for table in metadata.sorted_tables}
    for row in tables[rounds.name]:
        if row.phase in LIVE_PHASES:
            app.state.rounds.plan(row.id)
    live = {
        name: (one.phase, one.deadline, one.stage, one.total.tobytes()) for name, one in app.state.rounds._live.items()
    }
    folders = (home.objects, home.releases, home.public, home.path / "keys")
    files = {
        file.relative_to(home.path): hashlib.sha256(file.read_bytes()).hexdigest()
        for folder in folders
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    rows = {name: hashlib.sha256(repr(sorted(rows)).encode()).hexdigest() for name, rows in tables.items()}
    return rows, live, files
