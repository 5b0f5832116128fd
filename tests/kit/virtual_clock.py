"""A clock for several threads on which nobody waits for real."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

from hushfold.clock import Clock


class VirtualClock(Clock):
    """Time that passes only while everybody waits: whoever wakes up first moves it.

    Of the threads that use it one runs at a time, so what they do together is the same on every run. `moved` is
    called after each step of time.
    """

    def __init__(self, now: float, moved: Callable[[], None] = lambda: None) -> None:
        self._start = self._now = now
        self._moved = moved
        self._sleepers: list[tuple[float, int, threading.Event]] = []  # a heap
        self._numbers = itertools.count()

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now - self._start

    def wait(self, seconds: float) -> None:
        woken = self._enter(seconds)
        self._wake_next()
        woken.wait()

    def together(self, *calls):
        """Runs the calls side by side, each in a thread; what they returned. Raises the first error of any."""
        results: list = [None] * len(calls)
        errors: list[BaseException] = []
        unfinished = len(calls)

        def work(number, call, woken):
            nonlocal unfinished
            woken.wait()
            try:
                results[number] = call()
            except BaseException as error:  # handed to the caller
                errors.append(error)
            unfinished -= 1
            if unfinished:
                self._wake_next()

        threads = [
            threading.Thread(target=work, args=(number, call, self._enter(0)), daemon=True)
            for number, call in enumerate(calls)
        ]
        for thread in threads:
            thread.start()
        self._wake_next()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return results

    def _enter(self, seconds: float) -> threading.Event:
        woken = threading.Event()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._numbers), woken))
        return woken

    def _wake_next(self) -> None:
        moment, _, woken = heapq.heappop(self._sleepers)
        self._now = max(self._now, moment)
        self._moved()
        woken.set()
