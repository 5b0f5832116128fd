"""A whole federated service in this process, for tests of the device's side of a round.

The real device API and enrolment authority, served over HTTP on loopback by threads, and a release repository that the
real publisher signed. What is missing is the learner: `open_round` writes an open round into the database, with a plan
signed by the home's plan key. Time is a `VirtualClock`: nobody waits for real.
"""

from __future__ import annotations

import hashlib
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from serving_in_thread import Serving
from sqlalchemy import insert, select, update
from virtual_clock import VirtualClock

from hushfold.conditions import Conditions, SimulatedConditions
from hushfold.device import Device
from hushfold.keys import KeyFile, device_key
from hushfold.participation import Participation, Step
from hushfold.service import Service
from hushfold_format.manifest import MANIFEST, ModelManifest
from hushfold_protocol import messages
from hushfold_protocol.plan import DevicePolicy, ModelReference, Plan
from hushfold_protocol.signing import device_id, sign_plan
from hushfold_protocol.wire import Message, decode_any
from hushfold_server import api, authority, keys, planning, serving
from hushfold_server.database import LIVE_PHASES, Database, Phase, TaskStatus, rounds, states, tasks
from hushfold_server.objects import ObjectStore
from hushfold_server.publisher import Publisher
from hushfold_server.settings import Home, Settings
from hushfold_server.shipped_models import shipped_models
from hushfold_server.tasks import load_task

COHORT = 3  # devices in a round: the fewest of which one can be lost
POLICY = DevicePolicy(min_floor=2, max_round_epsilon=1e6, min_gamma=0.0, min_join_delay=0.0, min_examples=3)
SAYINGS = ("see you at the station", "are you coming home tonight", "thank you for the lift", "what a lovely day")

TASK = """
[task]
name = "{task}"
population = "{population}"
model = "next_word"
part = "adapter"
[training]
steps = 3
learning_rate = 0.5
max_examples = 50
[cohort]
target = 3
maximum = 3
floor = 2
gamma = 0.0
[privacy]
clip_norm = 0.3
noise_multiplier = 1.0
delta = 1e-6
budget_epsilon = 1e6
[schedule]
rounds = 3
training_seconds = 10
step_seconds = 5
join_delay_seconds = 0.5
come_back_seconds = 7
"""


@dataclass
class Exchange:
    """One request to a service and its answer."""

    method: str
    path: str
    query: str
    body: bytes
    answer: bytes = b""

    @cached_property
    def _posted(self) -> tuple[Message, bytes | None] | None:
        """The message that was posted, the one inside if it is sealed; and the device that sent it, if it says so."""
        if self.method != "POST":
            return None
        posted = decode_any(self.body, messages.Signed, messages.Join, messages.EnrolRequest)
        if isinstance(posted, messages.Signed):
            sealed = (messages.CheckIn, messages.Shares, messages.Masked, messages.Consent, messages.Unmask)
            posted = decode_any(posted.payload, *sealed)
        certificate = getattr(posted, "certificate", None)
        return posted, certificate and device_id(certificate.public_key)

    @property
    def message(self) -> str | None:
        """Which kind of message was posted."""
        return self._posted and type(self._posted[0]).__name__

    @property
    def device(self) -> bytes | None:
        """Who asks, where that is said."""
        named = parse_qs(self.query).get("device")
        return bytes.fromhex(named[0]) if named else self._posted and self._posted[1]

    @property
    def is_next(self) -> bool:
        """Whether a device asks what the server has for it."""
        return self.path.endswith("/next")


class Tap:
    """Around an application: keeps what is asked and answered, and lets a test answer in its place.

    `instead` is given an exchange and gives a status and a body, or None to let the application answer.
    """

    def __init__(self, app) -> None:
        self._app = app
        self.exchanges: list[Exchange] = []
        self.instead: Callable[[Exchange], tuple[int, bytes] | None] = lambda _: None

    def asked(self) -> list[tuple[str, str, int]]:
        """All that an onlooker sees of the requests: method, path and length of the body."""
        return [(exchange.method, exchange.path, len(exchange.body)) for exchange in self.exchanges]

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        events = [await receive()]
        while events[-1].get("more_body"):
            events.append(await receive())
        body = b"".join(event.get("body", b"") for event in events)
        exchange = Exchange(scope["method"], scope["path"], scope["query_string"].decode(), body)
        self.exchanges.append(exchange)

        async def replay():
            return events.pop(0) if events else await receive()

        async def keep(event):
            exchange.answer += event.get("body", b"")
            await send(event)

        if (given := self.instead(exchange)) is None:
            await self._app(scope, replay, keep)
            return
        status, content = given
        length = str(len(content)).encode()
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", length)]})
        await keep({"type": "http.response.body", "body": content})


class ServiceInProcess:
    """One home and its services. `clock` is everyone's."""

    def __init__(self, folder) -> None:
        self._folder = folder
        self.clock = VirtualClock(float(int(time.time())), self._tick)
        self.home = Home.create(folder / "home")
        keys.create_missing(self.home)
        self.database = Database(self.home.database)
        self.objects = ObjectStore(self.home.objects)
        self._app = api.create_app(self.home, self.clock.now)
        self.api = Tap(self._app)
        self.authority = Tap(authority.create_app(self.home, now=self.clock.now))
        # By their descriptors, as the supervisor's children have them.
        listeners = [socket.socket(fileno=serving.listen("127.0.0.1", 0, "test").detach()) for _ in range(2)]
        ports = [listener.getsockname()[1] for listener in listeners]
        settings = Settings(api_port=ports[0], authority_port=ports[1])
        self.publisher = Publisher(self.home, self.database, settings, shipped_models(), self.clock.now)
        self.publisher.start()
        self.address = Service.from_json((self.home.public / "app.json").read_bytes())
        self.manifest = ModelManifest.from_bytes((shipped_models() / "next_word" / MANIFEST).read_bytes(), MANIFEST)
        self.weights = (shipped_models() / "next_word" / "weights.f32").read_bytes()
        apps = (self.api, self.authority)
        self._serving = [Serving(app, listener) for app, listener in zip(apps, listeners, strict=True)]

    def stop(self) -> None:
        for one in self._serving:
            one.stop()
        self.database.close()

    def _tick(self) -> None:
        self._app.state.rounds.tick()

    def forget(self) -> None:
        """What was recorded, what was to be answered in the services' place, and every round in progress."""
        self.close_rounds()
        for tap in (self.api, self.authority):
            tap.exchanges.clear()
            tap.instead = lambda _: None

    # -------------------------------------------------------------- rounds

    def plan(
        self, population: str, *, task: str | None = None, weights: bytes | None = None, version: str = "1.0.0", **parts
    ) -> Plan:
        """A plan that a device of `POLICY` agrees to; its task is named after the population unless it is given.

        It starts from the shipped weights, or from those of a release. `parts` changes fields of the plan's parts, such
        as `update={"dimension": 3}`.
        """
        weights, task = self.weights if weights is None else weights, task or population
        part = self.manifest.parts["adapter"]
        plan = planning.make_plan(
            load_task(TASK.format(task=task, population=population)),
            round_id=hashlib.sha256(task.encode()).digest()[:16],
            round_number=1,
            model=ModelReference(
                "next_word",
                version,
                hashlib.sha256(weights).digest(),
                "adapter",
                bytes.fromhex(self.objects.put(weights[4 * part.start : 4 * part.stop])),
            ),
            dimension=part.size,
            rotation_seed=(3, -4),
            batch=self.manifest.batch,
            time=self.manifest.time,
            now=self.clock.now(),
        )
        return replace(plan, **{name: replace(getattr(plan, name), **fields) for name, fields in parts.items()})

    def open_round(self, plan: Plan, *, population: str = "", key: Ed25519PrivateKey | None = None) -> Plan:
        """Opens a round of a new task and gives its plan again.

        `population` is the one that it is offered to, if not the plan's; `key` signs instead of the plan key.
        """
        now, population = self.clock.now(), population or plan.population
        spec = TASK.format(task=plan.task, population=population)
        with self.database.begin() as connection:
            connection.execute(
                insert(tasks).values(
                    name=plan.task,
                    population=population,
                    spec=spec,
                    status=TaskStatus.ACTIVE,
                    reason="",
                    created_at=now,
                )
            )
            connection.execute(insert(states).values(task=plan.task, number=0, object_sha256="00", created_at=now))
            connection.execute(
                insert(rounds).values(
                    id=plan.round_id.hex(),
                    task=plan.task,
                    number=1,
                    base_state=0,
                    phase=Phase.OPEN,
                    invitation=sign_plan(key or keys.plan_key(self.home), plan).encode(),
                    deadline=now + 10,
                    created_at=now,
                    updated_at=now,
                )
            )
        return plan

    def close_rounds(self) -> None:
        """Gives up every round in progress, so that nobody is invited to it."""
        with self.database.begin() as connection:
            connection.execute(update(rounds).where(rounds.c.phase.in_(LIVE_PHASES)).values(phase=Phase.ABORTED))

    def row(self, plan: Plan):
        with self.database.read() as connection:
            return connection.execute(select(rounds).where(rounds.c.id == plan.round_id.hex())).one()

    def phone(self, name: str, population: str, **options) -> Phone:
        return Phone(self, self._folder / "phones" / name, population, **options)


class Phone:
    """A real device that takes part in the rounds of one population. `on_step` is called with each step."""

    def __init__(
        self,
        service: ServiceInProcess,
        folder,
        population: str,
        *,
        sayings=SAYINGS,
        conditions=None,
        policy: DevicePolicy = POLICY,
        epsilon_limit: float = 1e9,
        address: Service | None = None,
    ) -> None:
        folder.mkdir(parents=True)
        self.population = population
        self.conditions = conditions or SimulatedConditions(Conditions(True, True, True))
        self.device = Device(
            folder / "data",
            KeyFile(folder / "key"),
            conditions=self.conditions,
            dwell=0,
            policy=policy,
            epsilon_limit=epsilon_limit,
            clock=service.clock,
        )
        self._service = service
        for saying in sayings:
            self.device.keyboard.learn(saying)
        self.on_step: Callable[[Step], None] = lambda _: None
        self.public_key = device_key(self.device.store).public_key().public_bytes_raw()
        self.id = device_id(self.public_key)
        self._address = address or service.address
        self.restart()

    def restart(self) -> None:
        """As if the app had been started anew: what it knows is what the device keeps."""
        self.participation = Participation(
            self.device, self._address, self.population, progress=lambda step: self.on_step(step)
        )

    def run_once(self):
        return self.participation.run_once()

    @property
    def sent(self) -> list[str]:
        """The messages to the device API, in their order."""
        return [e.message for e in self._service.api.exchanges if e.message and e.device == self.id]

    @property
    def spent(self) -> float:
        return self.device.budget.spent(self.population)

    @property
    def contributions(self):
        return self.device.budget.contributions()

    @property
    def checkpoint(self):
        return self.device.store.load_checkpoint(self.population)


def problem(status: int, detail: str, advice: str = "") -> tuple[int, bytes]:
    """An answer for `Tap.instead`: a problem document."""
    return status, json.dumps({"status": status, "detail": detail, "advice": advice}).encode()
