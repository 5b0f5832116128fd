"""A learner on plain averaging in place of what TFF computes, so that nothing here imports it, and a server around it.

Tests import the fixtures `learner_module`, `server` and `launched`, and ask for them.
"""

import importlib.util
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import pytest
from sqlalchemy import insert, select, update
from task_files import task_file

from hushfold_models.config import layout
from hushfold_protocol.encoding import decode_sum
from hushfold_protocol.messages import Invitation
from hushfold_protocol.rotation import rotate
from hushfold_protocol.signing import open_invitation
from hushfold_server import keys
from hushfold_server.database import (
    Database,
    Phase,
    ReleaseStatus,
    TaskStatus,
    releases,
    rounds,
    states,
    sums,
    tasks,
)
from hushfold_server.errors import ServerError
from hushfold_server.objects import ObjectStore
from hushfold_server.privacy_ledger import PrivacyLedger
from hushfold_server.settings import Home
from hushfold_server.shipped_models import ShippedModels, shipped_models

SURVIVORS = 20
SEED = (1, -2)  # of every round's rotation
MODEL = "next_word"


@dataclass
class State:
    values: np.ndarray

    def to_bytes(self):
        return self.values.astype("<f4").tobytes()

    @classmethod
    def from_bytes(cls, content):
        return cls(np.frombuffer(content, "<f4"))


@dataclass
class Start:
    part_values: np.ndarray
    rotation_seed: tuple


class Diverged(ServerError):
    """In place of LearningDiverged."""


class Averaging:
    """Moves against the mean update."""

    def __init__(self, config, base, part, *, client_learning_rate, server_optimizer, encoding):
        self.base, self.part = base, layout(config)[1][part]
        self.encoding = replace(encoding, rotation_seed=SEED)

    def initial_state(self):
        return State(self.base[self.part.start : self.part.stop])

    def part_values(self, state):
        return state.values

    def prepare(self, state):
        return Start(state.values, SEED)

    def update(self, state, total, contributors):
        return State(state.values - decode_sum(total, self.encoding) / contributors)


def module(name, **content):
    made = ModuleType(name)
    made.__dict__.update(content)
    return made


@contextmanager
def averaging_learner():
    """`hushfold_server.learner`, on averaging."""
    package = "hushfold_server.learning"
    optimizers = {name: lambda **settings: settings for name in ("Adam", "Sgd", "ServerOptimizer")}
    replaced = {
        package: module(package, __path__=[]),
        f"{package}.task": module(
            f"{package}.task", Learning=Averaging, LearningDiverged=Diverged, LearningState=State
        ),
        f"{package}.federated_averaging": module(f"{package}.federated_averaging", **optimizers),
    }
    spec = importlib.util.find_spec("hushfold_server.learner")
    made = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        for name, content in {**replaced, spec.name: made}.items():
            patch.setitem(sys.modules, name, content)
        spec.loader.exec_module(made)
        yield made


@pytest.fixture(scope="module", name="learner_module")
def learner_on_averaging():
    with averaging_learner() as made:
        yield made


class Server:
    """A home with the shipped model, and a learner that can be started anew."""

    def __init__(self, folder, learner_module):
        self._module, self.now = learner_module, 1000.0
        self.home = Home.create(folder)
        keys.create_missing(self.home)
        self.database, self.objects = Database(self.home.database), ObjectStore(self.home.objects)
        self.ledger = PrivacyLedger(self.database)
        models = ShippedModels(shipped_models())
        self.weights, self.part = models.file(MODEL, "weights"), models.manifest(MODEL).parts["adapter"]
        self.restart()

    def restart(self):
        self.learner = self._module.Learner(self.home, self.database, shipped_models(), lambda: self.now)

    def turn(self):
        self.learner.turn()

    def write(self, *statements):
        with self.database.begin() as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, table, order=None):
        with self.database.read() as connection:
            return connection.execute(select(table).order_by(table.c.created_at if order is None else order)).all()

    def offer(self, version="1.0.0", status=ReleaseStatus.PUBLISHED):
        row = {"model": MODEL, "version": version, "weights_sha256": self.objects.put(self.weights), "status": status}
        self.write(insert(releases).values(**row, custom={}, created_at=self.now))

    def launch(self, name="words", **changes):
        spec = task_file(
            task={"name": f'"{name}"', "population": f'"{name}"'},
            schedule={"rounds": "2", "interval_seconds": "60"},
            **changes,
        )
        row = {"name": name, "population": name, "spec": spec, "status": TaskStatus.ACTIVE}
        self.write(insert(tasks).values(**row, reason="", created_at=self.now))

    def task(self, name="words"):
        return next(row for row in self.rows(tasks) if row.name == name)

    def rounds(self):
        return self.rows(rounds, rounds.c.number)

    def states(self):
        return [np.frombuffer(self.objects.get(row.object_sha256), "<f4") for row in self.rows(states, states.c.number)]

    def plan(self):
        invitation = Invitation.decode(self.rounds()[-1].invitation)
        return open_invitation(invitation, keys.public_key(self.home, "plan"))

    def sum_up(self, change=0.001):
        """What phones and the device API make of the open round: the mean update is `change` in every value."""
        plan, last = self.plan(), self.rounds()[-1]
        encoding = plan.update.encoding()
        vector = np.full(encoding.dimension, change * SURVIVORS, np.float32)
        steps = np.rint(rotate(vector, encoding.rotation_seed) * np.float32(encoding.scale)).astype(np.int64)
        total = (steps % encoding.modulus).astype("<u4").tobytes()
        with self.database.begin() as connection:
            devices = {number.to_bytes(16, "big") for number in range(SURVIVORS)}
            self.ledger.charge(connection, plan, devices, now=self.now)
            connection.execute(insert(sums).values(round=last.id, total=total))
            summed = {"phase": Phase.SUMMED, "survivors": SURVIVORS, "updated_at": self.now}
            connection.execute(update(rounds).where(rounds.c.id == last.id).values(summed))

    def whole_round(self):
        self.turn()
        self.sum_up()
        self.turn()
        self.now += 60


@pytest.fixture(name="server")
def server_with_a_learner(tmp_path, learner_module):
    server = Server(tmp_path / "home", learner_module)
    yield server
    server.database.close()


@pytest.fixture(name="launched")
def server_with_a_task(server):
    server.offer()
    server.launch()
    return server
