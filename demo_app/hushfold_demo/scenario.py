"""The demo from beginning to end: phones, server, rounds, release, figures."""

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
from hushfold.service import Service
from hushfold_format import NextWordFiles

from .errors import DemoError, UsageError
from .fleet import Fleet, draw_fates
from .heaps import share_heaps
from .litert import start_quietly
from .narration import Narration
from .personas import personas
from .phone import Phone, StoppableClock
from .report import PhoneReport, Report
from .rounds import Round, epsilon_text, news
from .server_process import Look, ServerProcess
from .task import FEWEST_MESSAGES, LARGE_COHORT, NAME, PART, POPULATION, FleetTask
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
    files = NextWordFiles.load(bundled_model())
    dimension = files.manifest.parts[PART].size
    stop = threading.Event()
    share_heaps()
    start_quietly(files)
    with ExitStack() as stack:
        space = stack.enter_context(workspace(home))
        # Threads of this pool work on one phone each, and few of them at once.
        pool = stack.enter_context(ThreadPoolExecutor(PROCESSORS))
        stack.callback(stop.set)
        with narration.working(f"{len(people)} users type"):
            phones = stack.enter_context(_phones(task, dimension, people, space, StoppableClock(stop)))
            typed = list(pool.map(Phone.type_messages, phones))
            require_learners(typed, task)
            before = list(pool.map(Phone.recall, phones))
        narration.say(f"{len(phones)} phones have {sum(typed)} messages, each in an encrypted store of its own")
        if few := sum(kept < FEWEST_MESSAGES for kept in typed):
            narration.say(f"{few} of them take no part: fewer than {FEWEST_MESSAGES} messages in words of the model")

        with narration.working("The server starts: TensorFlow loads, which takes half a minute or more"):
            server = stack.enter_context(ServerProcess(space))
        service = Service.from_json(server.app_json)
        narration.say(f"The server is up at {service.service_url}, its files are in {space.server}")
        _explain_terms(task, dimension, narration)
        space.task_file.write_text(task.toml(dimension))
        server.create_task(space.task_file)

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
        report = Report.of(look, look.release, rows, files.manifest.files["weights"].size, narration.seconds)
        report.write(space.report, task, seed)
        return report


def require_learners(typed: Sequence[int], task: FleetTask) -> None:
    """Raises UsageError if too few phones have something to learn from: no round would ever be summed.

    typed: how many messages each phone has kept.
    """
    able = sum(kept >= FEWEST_MESSAGES for kept in typed)
    if able >= task.floor:
        return
    advice = "Give texts in English with --texts (make's TEXTS)"
    if not any(typed):
        raise UsageError("no phone has a message that the English model can learn from", advice)
    raise UsageError(
        f"{able} of {len(typed)} phones have {FEWEST_MESSAGES} messages or more that the English model can learn from; "
        f"a sum needs {task.floor}",
        advice,
    )


def _explain_terms(task: FleetTask, dimension: int, narration: Narration) -> None:
    narration.say(
        f"Task: {task.rounds} rounds, up to {task.phones} phones in each, nothing opened below {task.floor}, noise "
        f"multiplier {task.noise_multiplier:.3g}; epsilon {epsilon_text(task.cost(task.rounds, dimension))} at worst"
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
    rounds: tuple[Round, ...] = ()
    while True:
        server.require_running()
        asked = time.monotonic()
        look = server.look(NAME)
        fleet.observe(look, asked)
        for sentence in news(rounds, look.rounds):
            narration.say(sentence)
        rounds = look.rounds
        state = ([(each.number, each.phase) for each in rounds], look.release)
        if state != known:
            known, changed = state, time.monotonic()
        if look.release is not None:
            return look
        require_progress(look)
        if time.monotonic() - changed > patience:
            phase = (
                f"in phase {rounds[-1].phase!r} of round {rounds[-1].number}" if rounds else "before the first round"
            )
            raise DemoError(f"nothing has happened for {patience:.0f} seconds, {phase}", server.see_logs())
        next_look = time.monotonic() + LOOK_EVERY
        while time.monotonic() < next_look:
            narration.now(f"{look.rounds_done} of {task.rounds} rounds done | phones: {fleet.activity()}")
            time.sleep(0.25)


def require_progress(look: Look) -> None:
    """Raises DemoError if the task will come to nothing: it is halted, or too many of its rounds were aborted."""
    if look.status == "halted":
        raise DemoError(f"the task came to nothing: {look.reason}")
    aborted = [each for each in look.rounds if each.aborted]
    if len(aborted) >= ABORTS:
        raise DemoError(f"{len(aborted)} rounds were aborted, the last one because of this: {aborted[-1].reason}")


def _adopt(phone: Phone, tell: Callable[[str], None]) -> str | None:
    try:
        return phone.update_model()
    except UpdateError as error:
        tell(f"{phone.name} keeps its model: {error}")
        return None
