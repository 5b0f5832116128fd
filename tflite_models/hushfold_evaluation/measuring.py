"""People in parallel over processes."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from .contenders import BY_NAME, Contender, Prepared
from .errors import EvaluationError
from .predictors import Predictor
from .protocol import Score, measure
from .texts import Person


def teach(predictor: Predictor, person: Person) -> float:
    """Have a predictor learn a person's earlier messages; processor seconds that it took."""
    began = time.process_time()
    for message in person.learned:
        predictor.learn(message)
    predictor.settle()
    return time.process_time() - began


def measure_all(
    contenders: Sequence[Contender],
    people: Sequence[Person],
    prepared: Prepared,
    processes: int,
    log: Path,
    advance: Callable[[str], None],
) -> dict[str, list[Score]]:
    """Scores of every contender, by its name, on every person, in their order.

    Args:
        log: where libraries of the contenders write what they have to say.
        advance: called with a contender's name when it is done with one more person.

    Raises:
        EvaluationError: a process ended before its time.
    """
    scores: dict[str, dict[int, Score]] = {contender.name: {} for contender in contenders}
    with workers(processes, log) as pool:
        jobs = {
            pool.submit(_score, name, person, prepared): (name, index)
            for index, person in enumerate(people)
            for name in scores
        }
        for job in as_completed(jobs):
            name, index = jobs[job]
            scores[name][index] = job.result()
            advance(name)
    return {name: [by_person[index] for index in range(len(people))] for name, by_person in scores.items()}


@contextmanager
def workers(processes: int, log: Path) -> Iterator[ProcessPoolExecutor]:
    """Processes that start afresh and leave the terminal alone. What was not begun is dropped at an exception."""
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), initializer=_write_errors_to, initargs=(log,)
    )
    try:
        yield pool
    except BrokenProcessPool as error:
        raise EvaluationError("a measuring process ended before its time", f"{log} may say why") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _write_errors_to(log: Path) -> None:
    """C++ libraries write to the file descriptor, whatever Python calls standard error."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _score(name: str, person: Person, prepared: Prepared) -> Score:
    with closing(BY_NAME[name].make(prepared)) as predictor:
        seconds = teach(predictor, person)
        return replace(measure(predictor, person, prepared.vocabulary), seconds=seconds)
