"""The demo from beginning to end: server, phones, rounds, release, figures."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from hushfold.device import bundled_model
from hushfold.errors import UpdateError
from hushfold.participation import Step
from hushfold.service import Service
from hushfold_format import ModelManifest
from hushfold_format.manifest import MANIFEST

from .errors import DemoError
from .fleet import Fleet, draw_fates
from .heaps import share_heaps
from .narration import Narration
from .personas import personas
from .phone import Phone, StoppableClock
from .report import PhoneReport, Report
from .server_process import Look, ServerProcess
from .task import LARGE_COHORT, NAME, PART, POPULATION, FleetTask
from .texts import Person, choose, read_people
from .workspace import Workspace, workspace

LOOK_EVERY = 3.0  # seconds between two questions to the server, each of which costs a second of processor time
ABORTS = 3  # failed rounds after which there is no point in going on
PROCESSORS = os.cpu_count() or 1


def people_for(task: FleetTask, texts: Path | None, rng: random.Random) -> list[Person]:
    """Who gets the phones: from the file `texts`, or the invented personas. Raises UsageError."""
    return choose(read_people(texts) if texts else personas(), task.phones, rng, again=texts is None)


def play(task: FleetTask, people: Sequence[Person], home: Path, seed: int, narration: Narration) -> Report:
    """Runs the whole demo in the folder `home`, which is cleared first; stops everything that it started.

    Raises DemoError, or UsageError for a folder that cannot be used.
    """
    manifest = ModelManifest.from_bytes((bundled_model() / MANIFEST).read_bytes(), MANIFEST)
    dimension = manifest.parts[PART].size
    stop = threading.Event()
    share_heaps()
    with ExitStack() as stack:
        space = stack.enter_context(workspace(home))
        space.task_file.write_text(task.toml(dimension))
        with narration.working("The server starts"):
            server = stack.enter_context(ServerProcess(space))
        service = Service.from_json(server.app_json)
        narration.say(f"The server is up at {service.service_url}, its files are in {space.server}")
        _explain_terms(task, dimension, narration)
        server.create_task(space.task_file)

        # Threads of this pool work on one phone each, and few of them at once.
        pool = stack.enter_context(ThreadPoolExecutor(PROCESSORS))
        stack.callback(stop.set)
        with narration.working(f"{len(people)} users type"):
            phones = stack.enter_context(_phones(task, dimension, people, space, StoppableClock(stop)))
            typed = sum(pool.map(Phone.type_messages, phones))
            before = list(pool.map(Phone.recall, phones))
        narration.say(f"{len(phones)} phones have {typed} messages, each in an encrypted store of its own")

        training = threading.Semaphore(PROCESSORS)
        fates = draw_fates(len(phones), task.lost, task.rounds, random.Random(seed))
        for phone, phone_fates in zip(phones, fates, strict=True):
            phone.connect(service, POPULATION, phone_fates, training)
        with narration.working("Rounds"), Fleet(phones, stop, narration.say) as fleet:
            look = _wait_for_release(server, fleet, task, narration)
        assert look.release is not None  # noqa: S101  # that is what was waited for
        narration.say(f"Release {look.release} is published after {look.rounds_done} rounds")

        with narration.working("The phones verify the release and adopt it"):
            versions = list(pool.map(lambda phone: _adopt(phone, narration.say), phones))
            after = list(pool.map(Phone.recall, phones))
        rows = [
            PhoneReport.of(phone, POPULATION, version, first, last)
            for phone, version, first, last in zip(phones, versions, before, after, strict=True)
        ]
        report = Report.of(look, look.release, rows, manifest.files["weights"].size, narration.seconds)
        report.write(space.report, task, seed)
        return report


def _explain_terms(task: FleetTask, dimension: int, narration: Narration) -> None:
    narration.say(
        f"Task: {task.rounds} rounds, up to {task.phones} phones in each, nothing opened below {task.floor}, noise "
        f"multiplier {task.noise_multiplier:.3g}; epsilon {task.cost(task.rounds, dimension):.3g} at worst"
    )
    narration.say(
        "A fleet this small cannot hide its members. Its phones' policy is lowered to accept that; real phones refuse "
        f"such a plan. The report adds what the same noise in the mean costs with {LARGE_COHORT:,} devices"
    )


@contextmanager
def _phones(
    task: FleetTask, dimension: int, people: Sequence[Person], space: Workspace, clock: StoppableClock
) -> Iterator[list[Phone]]:
    policy, limit = task.policy(dimension), task.budget(dimension)
    width = len(str(len(people)))
    with ExitStack() as stack:
        phones = []
        for number, person in enumerate(people, 1):
            name = f"phone {number:0{width}} ({person.name})"
            folder = space.phones / f"{number:0{width}}"
            phone = Phone(name, person, folder, policy=policy, epsilon_limit=limit, clock=clock)
            phones.append(stack.enter_context(phone))
        yield phones


def _wait_for_release(server: ServerProcess, fleet: Fleet, task: FleetTask, narration: Narration) -> Look:
    """Watches the rounds until the task's release is published. Raises DemoError if that will not happen."""
    patience = task.training_seconds + 5 * task.step_seconds
    known, changed = None, time.monotonic()
    aborted: set[int] = set()
    while True:
        server.require_running()
        look = server.look(NAME)
        fleet.observe(look)
        state = (look.round_number, look.phase, look.release)
        if state != known:
            known, changed = state, time.monotonic()
            if look.phase:
                narration.say(_round_text(look, task))
        if look.phase == "aborted":
            aborted.add(look.round_number)
        if look.release is not None:
            return look
        if look.status == "halted" or len(aborted) >= ABORTS:
            raise DemoError(f"the task came to nothing: {look.reason or look.round_reason}")
        if time.monotonic() - changed > patience:
            raise DemoError(f"nothing has happened for {patience:.0f} seconds, in phase {look.phase!r}")
        next_look = time.monotonic() + LOOK_EVERY
        while time.monotonic() < next_look:
            narration.now(f"{_round_text(look, task)} | {_steps_text(fleet)}")
            time.sleep(0.25)


def _round_text(look: Look, task: FleetTask) -> str:
    if not look.phase:
        return "No round yet: the learner gets ready"
    reason = f" ({look.round_reason})" if look.round_reason else ""
    return f"Round {look.round_number}, {look.rounds_done} of {task.rounds} done: {look.phase}{reason}"


def _steps_text(fleet: Fleet) -> str:
    steps = fleet.steps()
    return ", ".join(f"{steps[step]} {step}" for step in Step if steps[step]) or "all wait"


def _adopt(phone: Phone, tell: Callable[[str], None]) -> str | None:
    try:
        return phone.update_model()
    except UpdateError as error:
        tell(f"{phone.name} keeps its model: {error}")
        return None
