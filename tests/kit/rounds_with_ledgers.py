"""Rounds of a server's database with real devices of the protocol that keep ledgers and may be lost at any step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
from cohort import AUTHORITY_KEY, NOW, Cohort, make_vectors
from round_task import open_next_round, open_round
from sqlalchemy import select

from hushfold.ledger import Contribution, DeviceBudget
from hushfold.store import Store
from hushfold_protocol import messages
from hushfold_protocol.signing import device_id, seal
from hushfold_server.database import Database, participations, rounds, sums
from hushfold_server.privacy_ledger import PrivacyLedger
from hushfold_server.rounds import Rounds

STEPS = ("join", "share", "upload", "arrive", "agree", "unmask")
"""Where a device is lost: before it sends what the step is named after. Who is lost at `arrive` has charged itself, and
its upload does not arrive."""


@contextmanager
def ledgers(folder, count, *, limit=1e9, delta=1e-6) -> Iterator[list[DeviceBudget]]:
    """Of so many devices. Rounds of different populations have nothing in common in them."""
    folder.mkdir(exist_ok=True)
    with ExitStack() as stack:
        stores = [stack.enter_context(Store(folder / f"{n}.db", bytes(32))) for n in range(count)]
        yield [DeviceBudget(store, limit=limit, delta=delta) for store in stores]


class Played:
    """One round of one server, and the devices in it. `budgets` may be none: then no device charges itself."""

    played = 0

    def __init__(self, path, plan, budgets=(), count=10):
        Played.played += 1
        number = Played.played
        plan = replace(plan, round_id=number.to_bytes(15, "big") + b"\1", population=f"{plan.population}-{number}")
        self.path, self.now, self.budgets = path, float(NOW), budgets
        self.start()
        open_round(self.database, plan, NOW, budget=1e6)
        self.begin(plan, count)

    def start(self):
        """A server that knows what is on the disk."""
        self.database = Database(self.path)
        self.rounds = Rounds(self.database, PrivacyLedger(self.database), AUTHORITY_KEY, lambda: self.now)

    def begin(self, plan, count):
        self.plan, self.id = plan, plan.round_id.hex()
        self.cohort = Cohort(plan, make_vectors(count, plan, seed=plan.round_number), seed=plan.round_number)
        self.keys = [device.state.identity.key for device in self.cohort.devices]
        self.ids = [device_id(device.join.certificate.public_key) for device in self.cohort.devices]

    def next_round(self, count):
        """The task's next round, from the same state, with fresh sessions of the same devices."""
        number = self.plan.round_number + 1
        round_id = self.plan.round_id[:15] + bytes([number])
        self.now = float(NOW)
        plan = replace(self.plan, round_id=round_id, round_number=number)
        open_next_round(self.database, plan, NOW)
        self.begin(plan, count)

    def play(self, lost):
        """`lost` has the numbers of the devices that are lost at each step, and at every later one."""
        present = set(range(len(self.ids)))
        for step in STEPS:
            present -= set(lost.get(step, ()))
            before = self.row().phase
            if step == "join":
                for number in sorted(present):
                    self.rounds.join(self.cohort.devices[number].join)
            elif step != "upload":  # what is lost there is lost at the same moment
                for number in sorted(present | (set(lost.get("arrive", ())) if step == "arrive" else set())):
                    self.turn(number, arrives=number in present)
            if step != "upload" and self.row().phase is before:  # not everybody has answered: its time runs out
                self.now = max(self.now, self.row().deadline)
                self.rounds.tick()
        return self.row()

    def turn(self, number, arrives):
        message = self.rounds.next_message(self.id, self.ids[number])
        if isinstance(message, messages.Wait | messages.Closed):
            return
        answer = self.cohort.devices[number].receive(message)
        if isinstance(answer, messages.Masked) and self.budgets:
            self.budgets[number].charge(Contribution.to_plan(self.plan, answer.vector, cohort=len(self.ids), at=NOW))
        if arrives:
            self.rounds.submit(self.id, self.ids[number], seal(self.keys[number], answer))

    # -------------------------------------------------------------- what is there afterwards

    def row(self):
        with self.database.read() as c:
            return c.execute(select(rounds).where(rounds.c.id == self.id)).one()

    def rows(self, table):
        with self.database.read() as c:
            return c.execute(select(table).where(table.c.round == self.id)).all()

    def opened(self):
        (stored,) = self.rows(sums)
        return np.frombuffer(stored.total, "<u4")

    def charged_by_the_server(self):
        return {self.ids.index(bytes.fromhex(row.device)) for row in self.rows(participations)}

    def charged_by_themselves(self):
        spent = [budget.spent(self.plan.population) > 0 for budget in self.budgets]
        return {number for number, any_ in enumerate(spent) if any_}
