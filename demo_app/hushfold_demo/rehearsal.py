"""A federated task tried out on everybody in a file of texts or clips, without HTTP and masks, so that it is quick.

Each person has a real SDK device: what it keeps in its encrypted store is trained on by `TrainingSession` for the very
plan that the server's learner signed, and encoded with clipping, rounding and the device's share of the
noise as for an upload. The vectors are then added up in the open, because masks cancel out in a sum. The server's half
runs in a process of its own (`hushfold_server.rehearsal`).

What is left in the folder of a rehearsal:

    weights.f32      the vector that the task offers for release, little-endian float32
    rounds/NNN.f32   the vector after each round
    report.json      who took part, and each round's mean training loss and cost in privacy
    phones/          the devices, from which an interrupted rehearsal goes on
    server/          the server's folder, likewise

The loss is known here because everything is in one process; no real device sends it.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hushfold import Device, KeyFile
from hushfold.conditions import SimulatedConditions
from hushfold.device import MODEL, VOICE_MODEL
from hushfold.errors import NotEligible, TrainingDiverged
from hushfold.model import Vector
from hushfold.released import ReleasedModel
from hushfold.training import TrainingTask
from hushfold_protocol.encoding import encode
from hushfold_protocol.errors import RoundingFailed
from hushfold_protocol.messages import Invitation
from hushfold_protocol.plan import Plan
from hushfold_protocol.signing import open_invitation

from .errors import DemoError, UsageError
from .rounds import epsilon_text

REPORT, WEIGHTS, ROUNDS = "report.json", "weights.f32", "rounds"
_ALL = 1_000_000  # examples of a device
_PEOPLE, _SO_FAR = "people.json", "so_far.json"

Sum = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class RehearsedRound:
    """One round. `loss` is the mean over all steps of all devices, nats per example, before each step."""

    number: int
    devices: int  # in the sum
    loss: float | None  # None if no device had anything to learn
    epsilon: float | None = None  # after it, of the device that took part most


class Somebody(Protocol):
    """Who has a device, and what it learns from."""

    model: ClassVar[str]
    """The device's model that learns."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> list[object]:
        """What tells one from another, as JSON."""

    def teach(self, device: Device) -> None:
        """Have the device keep what there is to learn."""


class Phones:
    """The devices of a rehearsal, one for each person, all of which take part in every round. A context manager.

    Args:
        people: who types or speaks; everything that a person gives is learned from.
        folder: of the devices. They are as they were left if it is that of these people.
        threads: in which devices train.
        models: a folder of models in place of those that are installed.

    Raises:
        UsageError: the folder belongs to other people, or there is nothing that can be learned.
    """

    def __init__(self, people: Sequence[Somebody], folder: Path, threads: int, models: Path | None = None) -> None:
        _require_same_people(people, folder)
        with ExitStack() as stack:
            self.devices = [stack.enter_context(_device(folder / f"{n:04}", models)) for n in range(len(people))]
            self.models = [device.model(person.model) for device, person in zip(self.devices, people, strict=True)]
            for device, model, person in zip(self.devices, self.models, people, strict=True):
                if not model.lessons.select(None, 1):
                    with device.store.transaction():  # all of it, or nothing if this is interrupted
                        person.teach(device)
            self.examples = sum(len(model.lessons.select(None, _ALL)) for model in self.models)
            self.noun = self.models[0].lessons.noun
            if not self.examples:
                raise UsageError(f"there are no {self.noun} that the model can learn from", "Give some in English")
            self._pool = stack.enter_context(ThreadPoolExecutor(threads))
            self._stack = stack.pop_all()

    def __enter__(self) -> Phones:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._stack.close()

    @property
    def ids(self) -> list[bytes]:
        """What tells the devices apart in the ledger; real ones have keys."""
        return [hashlib.sha256(str(number).encode()).digest()[:16] for number in range(len(self.devices))]

    def train(self, plan: Plan, start: Vector, advance: Callable[[], None]) -> tuple[Sum, list[float]]:
        """The sum of all encoded updates modulo 2^bits, and the loss before each step. `advance`: one more is done.

        Everybody joins, as on real devices: with noise alone, who finds nothing to learn.
        """
        encoding = plan.update.encoding()
        total, losses = np.zeros(encoding.dimension, np.uint32), []
        jobs = [self._pool.submit(_update, model, plan, start) for model in self.models]
        try:
            for job in jobs:
                vector, its_losses = job.result()
                total += vector
                losses += its_losses
                advance()
        except BaseException:
            for job in jobs:
                job.cancel()
            raise
        return total & np.uint32(encoding.modulus - 1), losses


def rehearse(
    task: Path,
    people: Sequence[Somebody],
    home: Path,
    threads: int,
    watch: Callable[[str, int], Callable[[], None]],
    models: Path | None = None,
) -> dict[str, Any]:
    """Runs a task from its file to the weights that it offers, or on from where an earlier run was stopped; the report.

    `watch` is told of each round, what it is and how many devices there are, and gives what is called as each has
    trained. `models` is a folder of models in place of those that are installed.

    Raises UsageError for a folder that holds something else, DemoError with the server's words if it refuses.
    """
    with (
        Phones(people, home / "phones", threads, models) as phones,
        _server(home / "server", task, models) as exchange,
    ):
        files = phones.models[0].files
        done: list[RehearsedRound] = _rounds_so_far(home)
        (home / ROUNDS).mkdir(exist_ok=True)
        while (frame := exchange.receive()).head["kind"] == "round":
            number, (invitation, key, part_values) = frame.head["number"], frame.pieces
            plan = open_invitation(Invitation.decode(invitation), key)
            done = _priced(done[: number - 1], frame.head["epsilon"])
            start = files.weights.copy()
            start[slice(*files.manifest.parts[plan.model.part])] = np.frombuffer(part_values, "<f4")
            if number > 1:
                _write(home / ROUNDS / f"{number - 1:03}.f32", start.astype("<f4").tobytes())
            advance = watch(f"round {number} of {frame.head['rounds']}", len(phones.devices))
            total, losses = phones.train(plan, start, advance)
            loss = round(float(np.mean(losses)), 4) if losses else None
            done.append(RehearsedRound(number, len(phones.devices), loss))
            _write_so_far(home, done)  # before the server has the sum: a round that it learned from is never missing
            exchange.send(phones.ids, total)
        last, weights = frame.head, frame.pieces[0]
        done = _priced(done, last["epsilon"])
        _write(home / ROUNDS / f"{done[-1].number:03}.f32", weights)
        _write(home / WEIGHTS, weights)
        report = {
            "task": task.read_text(),
            "base_weights_sha256": hashlib.sha256(files.weights.astype("<f4").tobytes()).hexdigest(),
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "people": [person.name for person in people],
            phones.noun: phones.examples,
            "rounds": [asdict(each) for each in done],
            **{name: last[name] for name in ("reason", "epsilon", "delta", "extrapolated")},
        }
        _write(home / REPORT, (json.dumps(report, indent=2) + "\n").encode())
        return report


def summary(report: dict[str, Any], home: Path) -> Iterator[str]:
    """What came of a rehearsal, in sentences."""
    for row in report["rounds"]:
        loss = "nothing to learn" if row["loss"] is None else f"loss {row['loss']:.3f}"
        yield f"round {row['number']:3}: {loss}, epsilon {epsilon_text(row['epsilon'])}"
    noun = next(noun for noun in ("messages", "recordings") if noun in report)
    yield f"{len(report['people'])} people with {report[noun]} {noun}; the task ended: {report['reason']}"
    if wider := report["extrapolated"]:
        yield (
            f"extrapolated, not measured: epsilon {epsilon_text(wider['epsilon'])} at delta {wider['delta']:g} if "
            f"{wider['cohort']:,} devices had shared the same noise in the mean"
        )
    yield f"Saved: {home / WEIGHTS}, {home / REPORT}"


class _Frame(NamedTuple):
    head: dict[str, Any]
    pieces: list[bytes]


class _Exchange:
    """The frames of `hushfold_server.rehearsal`, seen from the devices."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process, self._log = process, log

    def receive(self) -> _Frame:
        source = _stream(self._process.stdout)
        line = source.readline()
        if not line.endswith(b"\n"):
            raise self._ended()
        head = json.loads(line)
        pieces = [source.read(size) for size in head["sizes"]]
        if [len(piece) for piece in pieces] != head["sizes"]:
            raise self._ended()
        return _Frame(head, pieces)

    def send(self, devices: Sequence[bytes], total: Sum) -> None:
        content = total.astype("<u4").tobytes()
        head = {"kind": "sum", "devices": [device.hex() for device in devices], "sizes": [len(content)]}
        target = _stream(self._process.stdin)
        try:
            target.write(json.dumps(head).encode() + b"\n" + content)
            target.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _ended(self) -> DemoError:
        self._process.wait()
        said = [line for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [number for number, line in enumerate(said) if line.startswith("error: ")]
        words = "\n".join(said[errors[-1] :]).removeprefix("error: ") if errors else f"see {self._log}"
        return DemoError(f"the server ended the rehearsal: {words}")


@contextmanager
def _server(home: Path, task: Path, models: Path | None) -> Iterator[_Exchange]:
    """The server's half. Ctrl-C in the terminal is not its to handle: it ends with its input."""
    log = home.with_name("server.log")
    options = ["--home", str(home), "--task", str(task), *(["--models", str(models)] if models else [])]
    with log.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603  # our own command
            [sys.executable, "-m", "hushfold_server.rehearsal", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    try:
        yield _Exchange(process, log)
    finally:
        for stream in (process.stdin, process.stdout):
            _close(_stream(stream))
        process.terminate()
        process.wait()


def _device(folder: Path, models: Path | None) -> Device:
    """A device with the installed models, or with those of a folder as far as it has them."""

    def own(name: str) -> Path | None:
        return models / name if models and (models / name).is_dir() else None

    return Device(
        folder,
        KeyFile(folder / "key"),
        conditions=SimulatedConditions(),
        dwell=0.0,
        model_folder=own(MODEL),
        voice_folder=own(VOICE_MODEL),
    )


def _update(model: ReleasedModel[Any], plan: Plan, start: Vector) -> tuple[Sum, list[float]]:
    """What a device would mask and upload, and its losses. A session that ended before an interruption is not repeated:
    its checkpoint is still there."""
    encoding = plan.update.encoding()
    losses: list[float] = []
    update = np.zeros(plan.update.dimension, np.float32)
    try:
        session = model.training_session(TrainingTask.of(plan), start)
        update = session.run(lambda progress: losses.append(progress.loss))
    except (NotEligible, TrainingDiverged):
        losses.clear()
    try:
        return encode(update, encoding), losses
    except RoundingFailed:
        return encode(np.zeros_like(update), encoding), losses


def _require_same_people(people: Sequence[Somebody], folder: Path) -> None:
    digest = hashlib.sha256(json.dumps([each.identity for each in people]).encode()).hexdigest()
    note = folder / _PEOPLE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not note.exists():
            if any(folder.iterdir()):
                raise UsageError(f"{folder} holds something else than a rehearsal", "Name another folder with --home")
            note.write_text(json.dumps({"sha256": digest}))
        known = json.loads(note.read_text()).get("sha256")
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} cannot be used: {error}", "Name another folder with --home") from None
    if known != digest:
        raise UsageError(
            f"{folder.parent} holds the rehearsal of other people", "Remove it, or name another folder with --home"
        )


def _rounds_so_far(home: Path) -> list[RehearsedRound]:
    path = home / ROUNDS / _SO_FAR
    return [RehearsedRound(**row) for row in json.loads(path.read_text())] if path.exists() else []


def _priced(done: list[RehearsedRound], epsilon: float) -> list[RehearsedRound]:
    """The rounds that the server has learned from, the last of which brought the cost to `epsilon`."""
    return [*done[:-1], replace(done[-1], epsilon=epsilon)] if done else []


def _write_so_far(home: Path, done: Sequence[RehearsedRound]) -> None:
    _write(home / ROUNDS / _SO_FAR, json.dumps([asdict(each) for each in done]).encode())


def _write(path: Path, content: bytes) -> None:
    """As a whole or not at all."""
    draft = path.with_name(f".{path.name}.unfinished")
    draft.write_bytes(content)
    draft.replace(path)


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # noqa: S101  # pipes were asked for
    return stream


def _close(stream: IO[bytes]) -> None:
    with suppress(BrokenPipeError):  # the process is gone
        stream.close()
