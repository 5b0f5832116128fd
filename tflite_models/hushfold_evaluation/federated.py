"""What a federated task has made of the base, as the folder of a rehearsal has it, and on whom that may be measured."""

from __future__ import annotations

import dataclasses
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
from hushfold_format import NextWordFiles

from .contenders import Prepared
from .errors import UsageError
from .measuring import workers
from .ngrams import Ngrams
from .protocol import SHOWN, targets
from .rehearsals import ROUNDS, WEIGHTS, read_report, require_strangers, write_model
from .texts import Person


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
        report = read_report(folder, _base().weights)
        rounds = tuple(dict(each) for each in report["rounds"])
        return cls(folder, frozenset(report["people"]), rounds, report)

    def require_strangers(self, people: Iterable[Person]) -> None:
        """Raises UsageError if the task learned from any of these."""
        advice = "Measure the people whom --others left out: give the same --clients, --users and --seed"
        require_strangers(self.folder, self.people, [person.name for person in people], advice)

    def prepare(self, cache_folder: Path, everybody: Sequence[Person]) -> tuple[Path, Path | None]:
        """The learned model as a folder that the SDK can ship, and n-grams of all that the task learned from.

        The latter only if all of its people are among `everybody`.
        """
        folder = cache_folder / f"federated-{self.report['weights_sha256'][:16]}"
        folder.mkdir(parents=True, exist_ok=True)
        write_model(bundled_model(), folder, (self.folder / WEIGHTS).read_bytes())
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
        paths = [self.folder / ROUNDS / f"{each['number']:03}.f32" for each in self.rounds]
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
