"""What can go wrong in the SDK, and what to do about it.

HushfoldError               message: what happened and why; advice: what to do
+-- StoreError              the encrypted store on this device
|   +-- WrongKey            the key does not open it
|   +-- StoreLocked         another process holds it
|   +-- StoreCorrupt        damaged, or not a store
|   +-- StoreMismatch       written by another version of the SDK
+-- KeyUnavailable          the place that keeps the store's key has none to give
+-- ConditionsLost          idle, power or network went away; try again when they are back
+-- ModelError              a model's files or its runtime
|   +-- TrainingDiverged    an update became useless and was discarded
+-- NotEligible             too little to learn from
+-- WordRefused             what was given is no word that could be kept
+-- VoiceError              the voice cannot hear, or cannot use what it hears
|   +-- AudioError          a block or a file that is no audio
|   +-- RecordingRefused    a recording that no word can be learned from
|   +-- MicrophoneError     there is no microphone, it may not be used, or it went away
+-- MessagesDeleted         the user deleted what a session was learning from
+-- UpdateError             a release could not be had; the active model stays
|   +-- ReleaseRefused      it was offered and failed verification
|   +-- ReleaseUnavailable  it could not be fetched
+-- ServiceError            the federated server
|   +-- Unreachable         no answer: try again later
|   +-- RemoteRefused       it answered, and said no
|   +-- RemoteProtocolError it answered, and broke the protocol: go no further
+-- PrivacyError            the step would reveal more than this device allows; nothing was changed or sent
    +-- BudgetExhausted     more epsilon than the device's budget has left
    +-- ChargeConflict      a second, different contribution to a round that was charged already
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum


class HushfoldError(Exception):
    """Root of every error that the SDK raises on purpose.

    `message` says what happened and why, `advice` what an app or its user can do (may be empty).
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message, advice)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message}. {self.advice}" if self.advice else self.message


class StoreError(HushfoldError):
    """The encrypted store on this device cannot do what was asked."""


class WrongKey(StoreError):
    """The key does not open the store. Nothing was changed."""


class StoreLocked(StoreError):
    """Another process holds the store for longer than the busy timeout."""


class StoreCorrupt(StoreError):
    """The store is damaged, or is not a store at all."""


class StoreMismatch(StoreError):
    """The store, or something in it, was written by another version of the SDK."""


class KeyUnavailable(HushfoldError):
    """The place that keeps the store's key has none to give, or is not safe enough to use."""


class ConditionsLost(HushfoldError):
    """A condition that training needs no longer holds. `reasons` names them, as `conditions.Reason` values."""

    def __init__(self, reasons: Sequence[StrEnum], message: str) -> None:
        super().__init__(message, "The work done so far is kept; it goes on when the conditions hold again")
        self.reasons = tuple(reasons)

    def __reduce__(self) -> tuple[type[ConditionsLost], tuple[Sequence[StrEnum], str]]:
        return type(self), (self.reasons, self.message)


class ModelError(HushfoldError):
    """A model's files are missing or damaged, or its runtime failed."""


class TrainingDiverged(ModelError):
    """The loss or the weights became infinite or NaN. The update is discarded; the served model is as it was."""


class NotEligible(HushfoldError):
    """This device has nothing to learn from."""


class WordRefused(HushfoldError):
    """What was given is no word that could be kept."""


class VoiceError(HushfoldError):
    """The voice cannot hear, or cannot use what it hears."""


class AudioError(VoiceError):
    """A block or a file is no audio that could be used."""


class RecordingRefused(VoiceError):
    """No word can be learned from the recording. Nothing was learned."""


class MicrophoneError(VoiceError):
    """There is no microphone, it may not be used, or it went away. It is closed when this is raised."""


class MessagesDeleted(HushfoldError):
    """The user deleted messages that a running session had learned from. Its work is discarded with them."""


class UpdateError(HushfoldError):
    """A release could not be had. The active model stays as it is."""


class Refusal(StrEnum):
    """Why a release, or the metadata that announces it, was refused."""

    SIGNATURE = "signature"  # not signed by enough of the trusted keys
    REPLAYED = "replayed"  # older than what this device has seen
    EXPIRED = "expired"  # signed, but no longer valid: a frozen mirror, or a wrong clock
    TAMPERED = "tampered"  # not the bytes that were signed
    MALFORMED = "malformed"  # signed, but not in a form that this SDK can read
    TOO_LARGE = "too large"  # signed, but larger than this device accepts


class ReleaseRefused(UpdateError):
    """A release was offered and failed verification, for `reason`."""

    def __init__(self, reason: Refusal, message: str, advice: str = "") -> None:
        super().__init__(message, advice)
        self.reason = reason

    def __reduce__(self) -> tuple[type[ReleaseRefused], tuple[Refusal, str, str]]:
        return type(self), (self.reason, self.message, self.advice)


class ReleaseUnavailable(UpdateError):
    """The release channel could not be reached, or the transfer broke off. Try again later."""


class ServiceError(HushfoldError):
    """The federated server could not be used."""


class Unreachable(ServiceError):
    """No answer from the server. Try again later."""


class RemoteRefused(ServiceError):
    """The server answered, and refused."""


class RemoteProtocolError(ServiceError):
    """The server answered, and broke the protocol. Do not go on with it."""


class PrivacyError(HushfoldError):
    """The step would reveal more than this device allows. Nothing was changed and nothing was sent."""


class BudgetExhausted(PrivacyError):
    """The step would spend more epsilon than the device's own budget has left."""


class ChargeConflict(PrivacyError):
    """A second, different contribution to a round that was charged already."""
