"""Processor time and peak memory of this process."""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long something took: on the processor, all threads together, and on the clock."""

    cpu: float
    wall: float

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.cpu + other.cpu, self.wall + other.wall)


class Stopwatch:
    """Adds up times by name."""

    def __init__(self) -> None:
        self.times: dict[str, Seconds] = defaultdict(lambda: Seconds(0.0, 0.0))

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Adds what the block takes; a block that raises does not count."""
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.times[name] += Seconds(time.process_time() - cpu, time.perf_counter() - wall)


def peak_memory() -> int:
    """The most bytes that this process has had in memory at once.

    Linux counts them for the program that runs now. Elsewhere it is `ru_maxrss`, which may be what another program
    left behind when it started this one.
    """
    if _STATUS.exists():
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
