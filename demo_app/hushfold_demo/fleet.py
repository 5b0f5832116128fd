"""Many phones in one process, each in a thread of its own, until their task has published its release."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from hushfold.participation import OutcomeKind, Step

from .errors import DemoError
from .phone import Phone, Stopped, Vanished
from .server_process import Look

LONGEST_PAUSE = 2.0  # seconds between two check-ins, whatever the server said: nobody watches for longer
FINISH_WITHIN = 10.0  # seconds for phones to end what they are at, when the task is done
_LOSABLE = tuple(step for step in Step if step is not Step.CHECK_IN)

Fates = Mapping[int, Step]
"""By the number of a phone's own participation, from 1: the step before which it disappears."""


def draw_fates(phones: int, lost: int, rounds: int, rng: random.Random) -> Sequence[Fates]:
    """For each phone, when it disappears: in every round `lost` phones do, spread over the steps."""
    fates: list[dict[int, Step]] = [{} for _ in range(phones)]
    for number in range(1, rounds + 1):
        steps = rng.sample(_LOSABLE * (lost // len(_LOSABLE) + 1), lost)
        for phone, step in zip(rng.sample(range(phones), lost), steps, strict=True):
            fates[phone][number] = step
    return fates


class Fleet:
    """Runs connected phones. A context manager: when the block ends, however it does, no phone's thread is left.

    Args:
        phones: connected ones.
        stop: set to end every wait of theirs at once; it is what their clocks watch.
        tell: takes sentences for the person who watches; called from several threads.
    """

    def __init__(self, phones: Sequence[Phone], stop: threading.Event, tell: Callable[[str], None]) -> None:
        self._phones, self._stop, self._tell = phones, stop, tell
        self._changed = threading.Condition()
        self._over = False
        self._look: Look | None = None
        self._asked = float("-inf")  # when the server was asked for it, on the monotonic clock
        self._error: BaseException | None = None
        self._refusals: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._run, args=(phone,), name=phone.name) for phone in phones]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._end()
        if kind is None:
            for thread in self._threads:
                thread.join(FINISH_WITHIN)
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def observe(self, look: Look, asked: float) -> None:
        """Takes what the server said when it was asked at `asked` (monotonic): phones that disappeared come back in a
        later round.

        Raises whatever a phone could not cope with, and DemoError if all phones refuse to take part.
        """
        with self._changed:
            self._look = look
            self._asked = asked
            self._changed.notify_all()
            if self._error is not None:
                raise self._error
            reason, count = (self._refusals.most_common(1) or [("", 0)])[0]
        if count >= len(self._phones) and look.rounds_done == 0:
            raise DemoError(f"the phones refuse to take part: {reason}")

    def steps(self) -> Counter[Step]:
        """How many phones are at which step now."""
        return Counter(step for phone in self._phones if (step := phone.step) is not None)

    def activity(self) -> str:
        """What the phones do now, for the person who watches."""
        steps = self.steps()
        doing = [f"{steps[step]} {step}" for step in Step if steps[step]]
        resting = len(self._phones) - steps.total()
        return ", ".join([*doing, f"{resting} wait"] if resting else doing)

    def _end(self) -> None:
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _run(self, phone: Phone) -> None:
        try:
            while not self._over:
                try:
                    self._take_part(phone)
                except Vanished as vanished:
                    self._tell(f"{phone.name} disappears: {_LAST_SEEN[vanished.step]}")
                    self._stay_away(phone)
        except Stopped:
            pass
        except BaseException as error:  # a thread's error is the fleet's, which raises it in `observe`
            with self._changed:
                self._error = self._error or error

    def _take_part(self, phone: Phone) -> None:
        outcome = phone.take_part()
        if outcome.kind is OutcomeKind.REFUSED:
            with self._changed:
                self._refusals[outcome.reason] += 1
                first = self._refusals[outcome.reason] == 1
            if first:
                self._tell(f"{phone.name} refuses: {outcome.reason}")
        elif outcome.kind is OutcomeKind.LEFT:
            self._tell(f"{phone.name} is left out of round {outcome.round_number}: {outcome.reason}")
        with self._changed:
            self._changed.wait_for(lambda: self._over, min(outcome.after, LONGEST_PAUSE))

    def _stay_away(self, phone: Phone) -> None:
        """Offline until the server is past the round in which the phone disappeared."""
        phone.conditions.set(unmetered=False)
        disappeared = time.monotonic()
        with self._changed:
            # The next look may have been on its way when the phone disappeared, and tell of the round before.
            self._changed.wait_for(lambda: self._over or self._asked >= disappeared)
            number = self._look.round_number if self._look else 0
            self._changed.wait_for(lambda: self._over or (self._look is not None and self._look.round_number > number))
        phone.conditions.set(unmetered=True)


_LAST_SEEN = {
    Step.TRAIN: "invited, not trained",
    Step.JOIN: "trained, not joined",
    Step.SHARE: "joined, no secrets shared",
    Step.UPLOAD: "secrets shared, nothing uploaded",
    Step.AGREE: "update uploaded, list of survivors not signed",
    Step.UNMASK: "list of survivors signed, nothing unmasked",
}
