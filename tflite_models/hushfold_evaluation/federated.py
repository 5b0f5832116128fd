"""What a federated task has made of the base, as the folder of a rehearsal has it, and on whom that may be measured.

A rehearsal leaves `weights.f32`, the vector after each round in `rounds/NNN.f32`, and `report.json` with the names of
the people whom it learned from. Nobody who is measured may be among them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hushfold.device import bundled_model
from hushfold.suggestions import Suggester
from hushfold_format import FileEntry, NextWordFiles
from hushfold_format.manifest import MANIFEST

from .contenders import Prepared
from .errors import UsageError
from .measuring import workers
from .ngrams import Ngrams
from .protocol import SHOWN, targets
from .texts import Person

_REPORT, _WEIGHTS, _ROUNDS = "report.json", "weights.f32", "rounds"
_AGAIN = "Let the rehearsal run to its end, or name the folder of one that has"


@dataclass(frozen=True, slots=True)
class Federated:
    """A finished rehearsal.

    Attributes:
        folder: where it is.
        people: names of those whom it learned from.
        rounds: as its report has them: number, devices, loss, epsilon.
        report: all of it.
    """

    folder: Path
    people: frozenset[str]
    rounds: tuple[dict[str, Any], ...]
    report: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Federated:
        """Raises UsageError for what is no finished rehearsal on the installed base, saying which file is wrong."""
        report = _report(folder / _REPORT)
        if _digest(folder / _WEIGHTS) != report["weights_sha256"]:
            raise UsageError(f"{folder / _WEIGHTS} is not the file that {_REPORT} describes", _AGAIN)
        if hashlib.sha256(_base().weights.astype("<f4").tobytes()).hexdigest() != report["base_weights_sha256"]:
            raise UsageError(
                f"the task in {folder} started from another base than the one that is installed",
                "Rehearse it again on this one",
            )
        rounds = tuple(dict(each) for each in report["rounds"])
        return cls(folder, frozenset(report["people"]), rounds, report)

    def require_strangers(self, people: Iterable[Person]) -> None:
        """Raises UsageError if the task learned from any of these."""
        if known := [person.name for person in people if person.name in self.people]:
            raise UsageError(
                f"the task in {self.folder} learned from {len(known)} of the people to be measured, such as {known[0]}",
                "Measure the people whom --others left out: give the same --clients, --users and --seed",
            )

    def prepare(self, cache_folder: Path, everybody: Sequence[Person]) -> tuple[Path, Path | None]:
        """The learned model as a folder that the SDK can ship, and n-grams of all that the task learned from.

        The latter only if all of its people are among `everybody`.
        """
        folder = cache_folder / f"federated-{self.report['weights_sha256'][:16]}"
        folder.mkdir(parents=True, exist_ok=True)
        _write_model(folder, (self.folder / _WEIGHTS).read_bytes())
        taught = [person for person in everybody if person.name in self.people]
        if len(taught) < len(self.people):
            return folder, None
        central = folder / "central.npz"
        Ngrams.count(message for person in taught for message in person.messages).save(central)
        return folder, central

    def by_round(
        self, people: Sequence[Person], processes: int, log: Path, advance: Callable[[], None]
    ) -> list[dict[str, Any]]:
        """The base and each round's weights, with top-1 and top-3 (% of words) on these people, and what the report
        says of the round. To see how learning went: weights are not chosen by it."""
        paths = [self.folder / _ROUNDS / f"{each['number']:03}.f32" for each in self.rounds]
        with workers(processes, log) as pool:
            jobs = {
                pool.submit(_recall, path, person): number
                for person in people
                for number, path in enumerate([None, *paths])
            }
            sums = np.zeros((len(paths) + 1, 3), np.int64)
            for job in as_completed(jobs):
                sums[jobs[job]] += job.result()
                advance()
        rows = [{"number": 0}, *self.rounds]
        return [
            {**row, "top1": 100 * int(top1) / int(words), "top3": 100 * int(top3) / int(words)}
            for row, (words, top1, top3) in zip(rows, sums, strict=True)
        ]


def others_of(everybody: Sequence[Person], chosen: Sequence[Person]) -> list[Person]:
    """Those who are not chosen."""
    names = {person.name for person in chosen}
    return [person for person in everybody if person.name not in names]


def write_people(path: Path, people: Iterable[Person]) -> None:
    """A client file of these people. Raises UsageError where it cannot be written."""
    lines = (
        json.dumps({"user": person.name, "time": None, "text": text}) for person in people for text in person.messages
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def _report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_bytes())
        people, rounds = report["people"], report["rounds"]
        whole = (
            all(isinstance(name, str) for name in people)
            and all(isinstance(each["number"], int) for each in rounds)
            and all(isinstance(report[name], str) for name in ("weights_sha256", "base_weights_sha256"))
        )
    except FileNotFoundError:
        raise UsageError(f"there is no {path}", _AGAIN) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no report of a rehearsal ({error!r})", _AGAIN) from None
    if not whole:
        raise UsageError(f"{path} is no report of a rehearsal", _AGAIN)
    return dict(report)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", _AGAIN) from None


def _write_model(folder: Path, weights: bytes) -> None:
    """The shipped model's files with other weights."""
    source, manifest = bundled_model(), _base().manifest
    files = dict(manifest.files)
    for role, entry in manifest.files.items():
        content = weights if role == "weights" else (source / entry.name).read_bytes()
        (folder / entry.name).write_bytes(content)
        files[role] = FileEntry.of(entry.name, content)
    (folder / MANIFEST).write_bytes(dataclasses.replace(manifest, files=files).to_bytes())


def _recall(path: Path | None, person: Person) -> tuple[int, int, int]:
    """Words, and of them those that were the first, and among the first three suggestions."""
    suggester = _suggester(path)
    words = top1 = top3 = 0
    for target in targets(person.held_out):
        suggested = [found.text.lower() for found in suggester.suggest(target.before, SHOWN)]
        words += 1
        top1 += suggested[:1] == [target.word.lower()]
        top3 += target.word.lower() in suggested
    return words, top1, top3


@cache
def _base() -> NextWordFiles:
    return NextWordFiles.load(bundled_model())


@cache
def _suggester(path: Path | None) -> Suggester:
    base = _base()
    return Suggester(base, base.weights if path is None else np.fromfile(path, "<f4").astype(np.float32, copy=False))


def with_weights(prepared: Prepared, model: Path, central: Path | None) -> Prepared:
    """What the contenders of a federated task need, too."""
    return dataclasses.replace(prepared, federated=model, central=central)
