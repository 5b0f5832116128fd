"""When the device may work: what holds now, what is required, and for how long it must have held.

Learning must not be noticed. It waits until the device is idle, on external power and on an unmetered network, and
stops at once when one of them goes: the vocabulary is that of Android's WorkManager. "External power" rather than
"charging", because a full battery on the mains does not charge.

What the host cannot tell is unknown (None), and unknown does not hold unless the app says otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

import psutil  # type: ignore[import-untyped]

from .clock import Clock
from .errors import ConditionsLost

DWELL = 60.0  # seconds


class Reason(StrEnum):
    """Why work waits or was stopped."""

    IDLE = "idle"
    EXTERNAL_POWER = "external_power"
    UNMETERED = "unmetered"
    DWELL = "dwell"  # everything holds, but not for long enough yet

    @property
    def text(self) -> str:
        """For people: "waiting for external power"."""
        return f"waiting for {_TEXT[self]}"


_TEXT = {
    Reason.IDLE: "the device to be idle",
    Reason.EXTERNAL_POWER: "external power",
    Reason.UNMETERED: "an unmetered network",
    Reason.DWELL: "conditions to settle",
}
_STATES = (Reason.IDLE, Reason.EXTERNAL_POWER, Reason.UNMETERED)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What holds at one moment: True, False, or None for unknown."""

    idle: bool | None = None  # nobody is using the device
    external_power: bool | None = None  # it does not run on its battery
    unmetered: bool | None = None  # the network costs nothing by volume

    def state(self, reason: Reason) -> bool | None:
        """The field that `reason` is about; ValueError for DWELL, which is not a state."""
        if reason not in _STATES:
            raise ValueError(f"{reason!r} is not a state of the device")
        return {Reason.IDLE: self.idle, Reason.EXTERNAL_POWER: self.external_power}.get(reason, self.unmetered)


@dataclass(frozen=True, slots=True)
class Requirements:
    """What must hold for work to start and go on.

    `accept_unknown` names the conditions that count as held where the host cannot tell: a desktop app without an
    adapter for metered networks may accept Reason.UNMETERED.
    """

    idle: bool = True
    external_power: bool = True
    unmetered: bool = True
    accept_unknown: frozenset[Reason] = frozenset()

    def missing(self, conditions: Conditions) -> tuple[Reason, ...]:
        """The required conditions that do not hold, in a fixed order; empty if all do."""
        required = zip(_STATES, (self.idle, self.external_power, self.unmetered), strict=True)
        return tuple(reason for reason, needed in required if needed and not self._holds(conditions, reason))

    def _holds(self, conditions: Conditions, reason: Reason) -> bool:
        state = conditions.state(reason)
        return reason in self.accept_unknown if state is None else state


class ConditionSource(Protocol):
    """Knows the state of the device."""

    def current(self) -> Conditions:
        """What holds now."""
        ...


class SimulatedConditions:
    """A device whose state is set by hand, for demos and tests; at first everything holds. Safe across threads."""

    def __init__(self, conditions: Conditions | None = None) -> None:
        self._lock = threading.Lock()
        self._conditions = conditions or Conditions(idle=True, external_power=True, unmetered=True)

    def current(self) -> Conditions:
        return self._conditions

    def set(self, **states: bool | None) -> None:
        """Change some of the fields of `Conditions`: `set(idle=False)`. Raises TypeError for a field it lacks."""
        with self._lock:
            self._conditions = replace(self._conditions, **states)


def _battery_plugged() -> bool | None:
    """Whether the host runs on external power. Without a battery it cannot run on anything else."""
    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError):  # a platform that psutil has no sensor for, or may not read
        return None
    if battery is None:
        return True
    return None if battery.power_plugged is None else bool(battery.power_plugged)


def _unknown() -> bool | None:
    return None


class HostConditions:
    """The real device. Power comes from psutil; idleness and metering only from the adapters that the app gives.

    An adapter returns True, False or None; one that raises OSError counts as unknown.
    """

    def __init__(
        self,
        *,
        idle: Callable[[], bool | None] = _unknown,
        external_power: Callable[[], bool | None] = _battery_plugged,
        unmetered: Callable[[], bool | None] = _unknown,
    ) -> None:
        self._idle = idle
        self._external_power = external_power
        self._unmetered = unmetered

    def current(self) -> Conditions:
        return Conditions(_asked(self._idle), _asked(self._external_power), _asked(self._unmetered))


def _asked(adapter: Callable[[], bool | None]) -> bool | None:
    try:
        return adapter()
    except OSError:
        return None


class Gate:
    """Decides whether work may start and go on, with hysteresis.

    The requirements must have held for `dwell` seconds before work starts, so that a cable moved or a glance at the
    screen does not start and stop it; a loss stops it at once. The gate looks only when it is asked: call
    `waiting_for` every few seconds while work waits, and `require` at every step of it.
    """

    def __init__(
        self,
        source: ConditionSource,
        requirements: Requirements,
        clock: Clock,
        *,
        dwell: float = DWELL,
    ) -> None:
        self._source = source
        self._requirements = requirements
        self._clock = clock
        self.dwell = dwell  # seconds
        self._held_since: float | None = None  # clock.monotonic(); None while something is missing
        self._lock = threading.Lock()

    def waiting_for(self) -> tuple[Reason, ...]:
        """What keeps work from starting; empty if it may start now."""
        missing, held = self._observe()
        if missing:
            return missing
        return () if held >= self.dwell else (Reason.DWELL,)

    def lost(self) -> tuple[Reason, ...]:
        """What forbids running work to go on, whatever the dwell; empty if it may."""
        return self._observe()[0]

    def require(self) -> None:
        """Return if running work may go on; raise ConditionsLost if not."""
        if missing := self.lost():
            raise ConditionsLost(missing, "Stopped: " + ", ".join(reason.text for reason in missing))

    def _observe(self) -> tuple[tuple[Reason, ...], float]:
        """What is missing, and for how many seconds nothing has been."""
        with self._lock:
            missing = self._requirements.missing(self._source.current())
            now = self._clock.monotonic()
            if missing:
                self._held_since = None
                return missing, 0.0
            if self._held_since is None:
                self._held_since = now
            return (), now - self._held_since
