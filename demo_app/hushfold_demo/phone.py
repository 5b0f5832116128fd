"""One simulated phone: a real SDK device with its own folder, keys, encrypted store and conditions, and one user."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from hushfold.conditions import SimulatedConditions
from hushfold.device import Device
from hushfold.keys import KeyFile
from hushfold.participation import Outcome, Participation, Step
from hushfold.service import Service
from hushfold_protocol.plan import DevicePolicy

from .recall import Recall, measure
from .texts import Person


class Vanished(Exception):
    """The phone disappears before `step`: no network, no goodbye."""

    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self.step = step


class Stopped(Exception):
    """The demo is over, in the middle of something."""


class StoppableClock:
    """The machine's clock, on which waiting ends with `Stopped` as soon as `stop` is set."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise Stopped


class Phone:
    """A phone and its user. Close it, or use it as a context manager. Used by one thread at a time.

    Args:
        name: of the phone, for people.
        person: who types.
        folder: of the device; made if there is none.
        policy, epsilon_limit: what the device demands of plans, and may spend in all.
        clock: what it waits on.
    """

    def __init__(
        self,
        name: str,
        person: Person,
        folder: Path,
        *,
        policy: DevicePolicy,
        epsilon_limit: float,
        clock: StoppableClock,
    ) -> None:
        self.name = name
        self.person = person
        self.conditions = SimulatedConditions()
        self.device = Device(
            folder,
            KeyFile(folder / "key"),
            conditions=self.conditions,
            dwell=0.0,
            policy=policy,
            epsilon_limit=epsilon_limit,
            clock=clock,
        )
        self._clock = clock
        self._fates: Mapping[int, Step] = {}
        self._training: threading.Semaphore | None = None
        self._trains = False  # holds a place in `_training`
        self._participation: Participation | None = None
        self.step: Step | None = None
        """Where its participation is; None between two."""
        self.invited = 0
        """Rounds that it agreed to take part in."""
        self.reported = 0
        """Of them, those with its update in the sum: it was asked to sign a list of survivors."""
        self.vanished: list[Step] = []
        """The steps before which it disappeared."""
        self.bytes_sent = 0
        """Bodies of messages, of the participations that came to an end."""
        self.bytes_received = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.device.close()

    def type_messages(self) -> int:
        """The user types what is to be learned; how many messages the keyboard kept."""
        return sum(self.device.keyboard.learn(message) for message in self.person.learned)

    def recall(self) -> Recall:
        """How well the keyboard suggests the user's later words."""
        keyboard = self.device.keyboard
        return measure(lambda before: [s.text for s in keyboard.suggest(before)], self.person.held_out)

    def connect(
        self, service: Service, population: str, fates: Mapping[int, Step], training: threading.Semaphore
    ) -> None:
        """Makes the phone a member of a population.

        fates: at which step of its first, second ... round it disappears; training: how many phones may train at once.
        """
        self._fates, self._training = fates, training
        self._participation = Participation(self.device, service, population, progress=self._before)

    def take_part(self) -> Outcome:
        """One check-in and, when invited, one round. Raises Vanished, Stopped, StoreError or ModelError."""
        try:
            outcome = self._connected.run_once()
        finally:
            self._let_others_train()
            self.step = None
        self.bytes_sent += outcome.bytes_sent
        self.bytes_received += outcome.bytes_received
        return outcome

    def update_model(self) -> str | None:
        """Verifies and adopts the newest release; its version, or None if there is none newer. Raises UpdateError."""
        return self._connected.update_model()

    def spent(self, population: str) -> float:
        """Epsilon that the device itself has charged: the worst that the server could have made of its updates."""
        return self.device.budget.spent(population)

    @property
    def _connected(self) -> Participation:
        if self._participation is None:
            raise RuntimeError("a phone is connected before it takes part")
        return self._participation

    def _before(self, step: Step) -> None:
        """Called by the SDK before each step of a participation."""
        self._let_others_train()
        self.step = step
        if step is Step.TRAIN:
            self.invited += 1
        if step is Step.AGREE:
            self.reported += 1
        if step is not Step.CHECK_IN and self._fates.get(self.invited) is step:
            self.vanished.append(step)
            raise Vanished(step)
        if step is Step.TRAIN:
            self._wait_to_train()

    def _wait_to_train(self) -> None:
        # A training interpreter takes tens of megabytes and a processor: not all phones at once.
        if self._training is not None:
            while not self._training.acquire(timeout=0.2):
                self._clock.wait(0)
            self._trains = True

    def _let_others_train(self) -> None:
        if self._trains and self._training is not None:
            self._trains = False
            self._training.release()
