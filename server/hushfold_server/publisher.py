"""The publisher process: makes the release repository say what the database says.

The database holds what should be offered: rows of `releases`, candidate or published. On every turn the publisher
compares them with the repository and signs the difference in one step for devices; then it marks the candidates as
published and their rounds as released. Each step may be repeated, so it can be killed anywhere: the next turn finds
what is missing. Only this process uses the TUF keys.

    <model>/<version>/weights.f32   the flat float32 vector; custom: see `Offer`
    <model>/<version>/card.json     what it is and where it comes from
    service.json                    the plan key and the populations of this server
    public/app.json (not a target)  what an app embeds: addresses, the authority's key, the TUF root
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from sqlalchemy import Row, func, insert, select, update

from hushfold_format.manifest import MANIFEST
from hushfold_protocol.wire import VERSION as PROTOCOL_VERSION

from . import keys
from .database import Database, Phase, ReleaseStatus, move, releases, rounds, tasks, withdraw
from .errors import ConfigurationError, Corrupt, NotFound
from .instance import open_database
from .objects import ObjectStore
from .process import announce_ready, refusing, start_logging, stop_on_signals
from .releases import ReleaseRepository, Target
from .settings import Home, Settings
from .shipped_models import ShippedModels, shipped_models

TURN = 0.2  # seconds between two looks at the database
MINIMUM_SDK = "0.1.0"  # unless a release says otherwise
OFFERED = (ReleaseStatus.CANDIDATE, ReleaseStatus.PUBLISHED)
SERVICE = "service.json"

log = structlog.get_logger()


@dataclass(frozen=True)
class Offer:
    """A release as devices see it."""

    number: int
    model: str
    version: str
    task: str | None  # none for a base model
    state: int | None  # successful rounds behind it
    weights_sha256: str  # hex
    created_at: float  # unix seconds
    details: dict[str, Any]  # `releases.custom`

    @classmethod
    def of(cls, row: Row[Any]) -> Offer:
        given = (row.number, row.model, row.version, row.task, row.state, row.weights_sha256, row.created_at)
        return cls(*given, details=dict(row.custom))

    @property
    def weights_name(self) -> str:
        return f"{self.model}/{self.version}/weights.f32"

    def custom(self, manifest_sha256: str) -> dict[str, Any]:
        """The signed fields beside the weights. A device takes the greatest `release` that is meant for it."""
        salt = hashlib.sha256(f"hushfold/v1/rollout/{self.model}/{self.number}".encode()).hexdigest()[:32]
        return {
            "model": self.model,
            "version": self.version,
            "release": self.number,  # grows with every release, also with a step back to older weights
            "rollout_percent": self.details.get("rollout_percent", 100),  # of devices, by hash of salt and device
            "minimum_sdk": self.details.get("minimum_sdk", MINIMUM_SDK),
            # of the shipped model.json whose layout the vector has
            "manifest_sha256": self.details.get("manifest_sha256", manifest_sha256),
            "salt": salt,
        }

    def card(self) -> bytes:
        """`card.json`."""
        card = {
            "model": self.model,
            "version": self.version,
            "release": self.number,
            "task": self.task,
            "rounds": self.state,
            "weights_sha256": self.weights_sha256,
            "created_at": self.created_at,
            "metrics": self.details.get("metrics", {}),
            "text": self.details.get("card", ""),
        }
        return json.dumps(card, indent=1, ensure_ascii=False, sort_keys=True).encode() + b"\n"


class Publisher:
    """One home's publisher. `now` gives unix seconds; `models` is a folder of shipped models, one folder each."""

    def __init__(
        self, home: Home, database: Database, settings: Settings, models: Path, now: Callable[[], float]
    ) -> None:
        self._home, self._database, self._settings = home, database, settings
        self._models, self._now = ShippedModels(models), now
        self._objects = ObjectStore(home.objects)
        self._repository = ReleaseRepository(home, now)

    def run(self, wait: Callable[[float], bool]) -> None:
        """Works until `wait(seconds)` gives True. Raises StateError if another publisher works here."""
        with self._repository.exclusive():
            self.start()
            announce_ready()
            while not wait(TURN):
                self.turn()

    def start(self) -> None:
        """The first turn: repository, base models, and the file that apps embed."""
        self._repository.initialise()
        for name in self._models.names():
            self._offer_base(name)
        with self._database.read() as connection:
            if not connection.scalar(select(func.count()).select_from(releases)):
                raise ConfigurationError(
                    f"there is no model in {self._models.folder}: no */{MANIFEST}",
                    "Build the base model, or install a package that has it",
                )
        self.turn()
        app = {
            "service_url": self._settings.api_url,
            "authority_url": self._settings.authority_url,
            "authority_key": keys.public_key(self._home, "authority").hex(),
            "root": json.loads(self._repository.root()),
        }
        self._home.publish("app.json", json.dumps(app, indent=1).encode() + b"\n")

    def turn(self) -> None:
        """Brings the repository to what the database says, and signs again what expires soon."""
        with self._database.read() as connection:
            rows = connection.execute(select(releases).order_by(releases.c.number)).all()
            populations = list(connection.scalars(select(tasks.c.population).distinct().order_by(tasks.c.population)))
        wanted, unusable = [self._service(populations)], {}
        bases: list[Offer] = []
        for row in rows:
            offer = Offer.of(row)
            if offer.task is None and "weights_bytes" in offer.details:
                bases.append(offer)
            if row.status not in OFFERED:
                continue
            try:
                wanted += self._targets(offer, _base_of(offer, bases))
            except (NotFound, Corrupt) as error:
                unusable[offer.number] = str(error)
        names = {target.name for target in wanted}
        changed = [target for target in wanted if self._differs(target)]
        if self._repository.publish(changed, remove=self._repository.targets().keys() - names):
            log.info("repository_published", changed=[target.name for target in changed])
        self._record([row.number for row in rows if row.status is ReleaseStatus.CANDIDATE], unusable)
        if self._repository.refresh():
            log.info("repository_refreshed")

    def _targets(self, offer: Offer, base: Offer) -> Iterator[Target]:
        """The files of one release. Raises NotFound or Corrupt for weights that cannot be published."""
        custom = offer.custom(base.details["manifest_sha256"])
        published = self._repository.targets().get(offer.weights_name)
        if published is not None and published.hashes.get("sha256") == offer.weights_sha256:
            content = None
        else:
            content = self._objects.get(offer.weights_sha256)
            _check_weights(content, offer, base.details["weights_bytes"])
        yield Target(offer.weights_name, content, custom)
        identity = {key: custom[key] for key in ("model", "version", "release")}
        yield Target(f"{offer.model}/{offer.version}/card.json", offer.card(), identity)

    def _service(self, populations: Iterable[str]) -> Target:
        service = {
            "plan_key": keys.public_key(self._home, "plan").hex(),
            "populations": list(populations),
            "protocol_version": PROTOCOL_VERSION,
        }
        return Target(SERVICE, json.dumps(service, indent=1, sort_keys=True).encode() + b"\n", {})

    def _differs(self, target: Target) -> bool:
        published = self._repository.targets().get(target.name)
        if published is None or published.custom != target.custom:
            return True
        return target.content is not None and (published.hashes["sha256"] != hashlib.sha256(target.content).hexdigest())

    def _record(self, candidates: Sequence[int], unusable: dict[int, str]) -> None:
        """Marks what is published now, and withdraws what cannot be."""
        learned = (
            select(rounds.c.id)
            .join(releases, releases.c.task == rounds.c.task)
            .where(
                rounds.c.phase == Phase.LEARNED,
                releases.c.status == ReleaseStatus.PUBLISHED,
                releases.c.state > rounds.c.base_state,
            )
            .distinct()
        )
        with self._database.read() as connection:
            if not candidates and not unusable and connection.execute(learned).first() is None:
                return
        now = self._now()
        with self._database.begin() as connection:
            for number in candidates:
                if number not in unusable:
                    connection.execute(
                        update(releases)
                        # It may have been withdrawn since; the next turn takes it out again.
                        .where(releases.c.number == number, releases.c.status == ReleaseStatus.CANDIDATE)
                        .values(status=ReleaseStatus.PUBLISHED, published_at=now)
                    )
                    log.info("release_published", release=number)
            for number, reason in unusable.items():
                withdraw(connection, number, reason)
                log.error("release_withdrawn", release=number, reason=reason)
            for round_id in list(connection.scalars(learned)):
                move(connection, round_id, Phase.LEARNED, Phase.RELEASED, now=now)

    def _offer_base(self, name: str) -> None:
        """Makes a shipped model a candidate unless this version of it was one before."""
        manifest = self._models.manifest(name)
        weights, card = self._models.file(name, "weights"), self._models.file(name, "card").decode()
        same = (releases.c.model == manifest.name) & (releases.c.version == manifest.version)
        with self._database.read() as connection:
            if connection.scalar(select(releases.c.number).where(same)) is not None:
                return
        sha256 = self._objects.put(weights)
        custom = {
            "manifest_sha256": self._models.manifest_sha256(name),
            "weights_bytes": len(weights),
            "card": card,
        }
        with self._database.begin() as connection:
            connection.execute(
                insert(releases).values(
                    model=manifest.name,
                    version=manifest.version,
                    weights_sha256=sha256,
                    status=ReleaseStatus.CANDIDATE,
                    custom=custom,
                    created_at=self._now(),
                )
            )


def _base_of(offer: Offer, bases: Sequence[Offer]) -> Offer:
    """The base model whose layout a release has: the last one before its weights came up. Raises NotFound."""
    origin = offer.details.get("returns_to", offer.number)
    for base in reversed(bases):
        if base.model == offer.model and base.number <= origin:
            return base
    raise NotFound(f"release {offer.number} is of model {offer.model!r}, of which there is no base")


def _check_weights(content: bytes, offer: Offer, size: int) -> None:
    """Raises Corrupt for what no device could use. Not a judgement of quality, which is the learner's."""
    if len(content) != size:
        raise Corrupt(f"the weights of release {offer.number} have {len(content)} bytes, the model has {size}")
    if not np.isfinite(np.frombuffer(content, "<f4")).all():
        raise Corrupt(f"the weights of release {offer.number} are not finite float32 values")


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m hushfold_server.publisher --home DIR`."""
    parser = argparse.ArgumentParser(prog="python -m hushfold_server.publisher")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, help="of the device API, instead of the one in server.toml")
    parser.add_argument("--authority-port", type=int, help="instead of the one in server.toml")
    parser.add_argument("--models", type=Path, default=None, help="a folder of models; default: the installed ones")
    options = parser.parse_args(arguments)
    stop = stop_on_signals()
    with refusing():
        home = Home.open(options.home)
        settings = Settings.load(home).with_ports(options.port, options.authority_port)
        start_logging(home, "publisher", settings.log_level)
        with closing(open_database(home)) as database:
            Publisher(home, database, settings, options.models or shipped_models(), time.time).run(stop.wait)


if __name__ == "__main__":
    main()
