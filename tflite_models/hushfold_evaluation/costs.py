"""What a suggestion costs: memory, and time on one core beside that of a plain copy in memory."""

from __future__ import annotations

import gc
import os
import time
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import psutil  # type: ignore[import-untyped]

from .contenders import BY_NAME, Contender, Prepared
from .measuring import teach, workers
from .predictors import Predictor
from .texts import Person

KEYS = 400
"""Keystrokes that are timed, at most."""
COPIED = 1 << 20  # bytes
_UNTIMED = 20  # keystrokes at first, for libraries that load at the first use
_RUNTIME = "ai_edge_litert.interpreter"


@dataclass(frozen=True, slots=True)
class Cost:
    """Attributes:
    memory: resident bytes that a predictor adds to a process with Python, numpy and the LiteRT runtime, once it
        has learned from one person and suggested; what training left in the allocator is in it.
    p50, p95: seconds that a suggestion takes, one for each key of messages being typed.
    copy: median seconds that copying `COPIED` bytes took, one copy after each suggestion.
    learning: processor seconds for learning from one person.
    messages: that it learned from.
    """

    memory: int
    p50: float
    p95: float
    copy: float
    learning: float
    messages: int


def cost_of(contender: Contender, person: Person, prepared: Prepared, log: Path) -> Cost:
    """Measured in a process of its own, bound to one core."""
    with workers(1, log) as pool:
        return pool.submit(_measure, contender.name, person, prepared).result()


def _measure(name: str, person: Person, prepared: Prepared) -> Cost:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import_module(_RUNTIME)
    before = _resident()
    with closing(BY_NAME[name].make(prepared)) as predictor:
        learning = teach(predictor, person)
        suggestions, copies = _time_keys(predictor, person)
        return Cost(
            max(0, _resident() - before),
            float(np.percentile(suggestions, 50)),
            float(np.percentile(suggestions, 95)),
            float(np.median(copies)),
            learning,
            len(person.learned),
        )


def _time_keys(predictor: Predictor, person: Person) -> tuple[list[float], list[float]]:
    keys = [message[:at] for message in person.held_out for at in range(len(message))][: KEYS + _UNTIMED]
    source, target = np.ones(COPIED, np.uint8), np.empty(COPIED, np.uint8)
    suggestions, copies = [], []
    for text in keys:
        began = time.perf_counter()
        predictor.suggest(text)
        between = time.perf_counter()
        np.copyto(target, source)
        copies.append(time.perf_counter() - between)
        suggestions.append(between - began)
    timed = slice(min(_UNTIMED, len(keys) // 2), None)
    return suggestions[timed], copies[timed]


def _resident() -> int:
    gc.collect()
    resident: int = psutil.Process().memory_info().rss
    return resident
