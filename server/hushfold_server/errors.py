"""What can go wrong on the server.

ServerError                 message: what happened and why; advice: what to do about it
+-- ConfigurationError      the server's folder, its settings or its keys
|   +-- SchemaMismatch      a database of another version of the server
+-- TaskFileError           a task file with faults, all of them listed
+-- NotFound                no such task, round, release or object
+-- Corrupt                 stored bytes that are not what was stored
+-- StateError              a step that the present state does not allow; nothing was changed
+-- EnrolmentRefused        a device that gets no certificate
|   +-- EvidenceRefused     because of what it showed
|   +-- EnrolmentClosed     as many have enrolled as may
|   +-- EnrolmentBusy       for now: `retry_after` says for how long
+-- PrivacyError            a step that would break the promise made to the devices; nothing was changed
|   +-- BudgetSpent         more epsilon than the task may spend
|   +-- AccountantMismatch  two accountants disagree about the same curve
|   +-- InsecureSlot        (learning.federated_averaging) a process would have devices send more than their update
+-- ImplausibleSum          (sum_bound) a sum that no cohort of honest devices can have made
+-- LearningDiverged        (learning.task) a step led to values that are not finite
"""

from __future__ import annotations

from collections.abc import Sequence


class ServerError(Exception):
    """Root of every error that the server raises on purpose.

    `message` says what happened and why, `advice` what can be done about it (may be empty).
    """

    retry_after: float | None = None  # seconds until it may have passed, where that is known

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message}. {self.advice}" if self.advice else self.message


class ConfigurationError(ServerError):
    """The server's folder, its settings or its keys are not as they must be."""


class SchemaMismatch(ConfigurationError):
    """The database was made by another version of the server."""


class TaskFileError(ServerError):
    """A task file with faults. `faults` lists all of them, one sentence each."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__("\n".join((f"the task file has {count}:", *(f"  - {fault}" for fault in self.faults))))


class NotFound(ServerError):
    """No such task, round, release or object."""


class Corrupt(ServerError):
    """Stored bytes that are not what was stored."""


class StateError(ServerError):
    """A step that the present state does not allow. Nothing was changed."""


class EnrolmentRefused(ServerError):
    """A device that gets no certificate."""


class EvidenceRefused(EnrolmentRefused):
    """What the device sent does not show that it may enrol."""


class EnrolmentClosed(EnrolmentRefused):
    """As many devices have enrolled as may."""


class EnrolmentBusy(EnrolmentRefused):
    """As many devices have enrolled in this hour as may. `retry_after`: seconds until the next one can."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message, "Try again after the time in Retry-After")
        self.retry_after = retry_after


class PrivacyError(ServerError):
    """A step that would break the promise made to the devices. Nothing was changed."""


class BudgetSpent(PrivacyError):
    """The step would spend more epsilon than the task may."""


class AccountantMismatch(PrivacyError):
    """Two accountants give different epsilons for the same curve."""
