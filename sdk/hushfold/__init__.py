"""Hushfold: a keyboard and a voice that learn their user on the device, and take part in learning for all untold.

    from hushfold import Device, KeyFile

    with Device(folder, KeyFile(folder / "key")) as device:
        device.keyboard.suggest("see you ")
        device.keyboard.learn("see you at the harbour")

What is here is the public surface; it loads lazily, so that `import hushfold` costs nothing. The modules, bottom up:

    version        of the SDK
    errors         what can go wrong, and what to do about it
    clock          time, as something that is passed in
    durable        files that are there as a whole or not at all
    heap           memory that was let go of, given back to the system
    schema         the tables of the store
    store          the encrypted store: messages, checkpoints, settings
    keys           the key that opens the store, the key that the device signs with, a witness of what was spent
    conditions     when the device may work
    ledger         what left the device, and the budget that it spends
    redaction      what is taken out of a message before it is stored
    model          a model on LiteRT: its training graph, and the graph that is served
    reading        a text read by the model as it is typed
    offensive      words that are offered only to who writes them
    wordlists      lists of words, from other keyboards and to them
    word           one word of the user's, and what becomes of it as it is seen and decided on
    merging        a list of words meets those that the user has
    words          the user's own words, and what the user decides about words
    lexicon        every word that can be offered, the model's and the user's
    memory         what the user writes after what
    spelling       how far what was typed is from every word
    suggestions    words for the suggestion bar
    marginals      how often this user writes each word, against what the model expects
    blending       how much the user's habits should count beside the model
    lessons        what a training session learns from
    training       a training session that stops and goes on
    personal       what is the user's own beside their words, put to the test
    savings        keys that suggestions have spared the user
    keyboard       suggestions and a memory, as an app embeds them
    live           suggestions off the UI's thread, for the newest text only
    proof          what learning has done for the user, in figures and in a sentence
    releases       what a release is, and which devices it is for
    updates        verified releases: from the channel to the model in use
    released       a model as it was shipped, released since, and trained here
    voice          commands and wake words, from the microphone to what was said (a package)
    device         all of the above, put together
    service        the federated server as the SDK reaches it
    participation  a round, from check-in to unmasking
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import Clock, ManualClock, SystemClock
    from .conditions import Conditions, ConditionSource, HostConditions, Reason, Requirements, SimulatedConditions
    from .device import Device, DevicePolicy
    from .errors import (
        AudioError,
        HushfoldError,
        KeyUnavailable,
        MicrophoneError,
        ModelError,
        RecordingRefused,
        StoreError,
        UpdateError,
        VoiceError,
        WordRefused,
    )
    from .keyboard import Keyboard
    from .keys import KeyFile, KeyProvider, Keyring, Witness
    from .ledger import Contribution, DeviceBudget
    from .live import LiveSuggestions
    from .merging import ImportReport
    from .participation import Outcome, OutcomeKind, Participation, Step
    from .personal import PersonalWeights, Score, Trial
    from .proof import Proof, Verdict
    from .savings import Savings
    from .service import Service
    from .suggestions import Kind, Suggestion
    from .version import VERSION
    from .voice.commands import CommandTrial
    from .voice.microphone import Microphone
    from .voice.recordings import Recording, Recordings
    from .voice.sound import SpokenSound
    from .voice.spoken_words import SpokenWord, SpokenWords, Taught
    from .voice.stream import Detection, VoiceStream
    from .voice.voice import Voice
    from .word import Standing
    from .wordlists import Skipped
    from .words import PersonalWord, PersonalWords

_HOMES = {
    "clock": ("Clock", "ManualClock", "SystemClock"),
    "conditions": ("ConditionSource", "Conditions", "HostConditions", "Reason", "Requirements", "SimulatedConditions"),
    "device": ("Device", "DevicePolicy"),
    "errors": (
        "AudioError",
        "HushfoldError",
        "KeyUnavailable",
        "MicrophoneError",
        "ModelError",
        "RecordingRefused",
        "StoreError",
        "UpdateError",
        "VoiceError",
        "WordRefused",
    ),
    "keyboard": ("Keyboard",),
    "keys": ("KeyFile", "KeyProvider", "Keyring", "Witness"),
    "ledger": ("Contribution", "DeviceBudget"),
    "live": ("LiveSuggestions",),
    "merging": ("ImportReport",),
    "personal": ("PersonalWeights", "Score", "Trial"),
    "proof": ("Proof", "Verdict"),
    "savings": ("Savings",),
    "participation": ("Outcome", "OutcomeKind", "Participation", "Step"),
    "service": ("Service",),
    "suggestions": ("Kind", "Suggestion"),
    "version": ("VERSION",),
    "voice.commands": ("CommandTrial",),
    "voice.microphone": ("Microphone",),
    "voice.recordings": ("Recording", "Recordings"),
    "voice.sound": ("SpokenSound",),
    "voice.spoken_words": ("SpokenWord", "SpokenWords", "Taught"),
    "voice.stream": ("Detection", "VoiceStream"),
    "voice.voice": ("Voice",),
    "word": ("Standing",),
    "wordlists": ("Skipped",),
    "words": ("PersonalWord", "PersonalWords"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "VERSION",
    "AudioError",
    "Clock",
    "CommandTrial",
    "ConditionSource",
    "Conditions",
    "Contribution",
    "Detection",
    "Device",
    "DeviceBudget",
    "DevicePolicy",
    "HostConditions",
    "HushfoldError",
    "ImportReport",
    "KeyFile",
    "KeyProvider",
    "KeyUnavailable",
    "Keyboard",
    "Keyring",
    "Kind",
    "LiveSuggestions",
    "ManualClock",
    "Microphone",
    "MicrophoneError",
    "ModelError",
    "Outcome",
    "OutcomeKind",
    "Participation",
    "PersonalWeights",
    "PersonalWord",
    "PersonalWords",
    "Proof",
    "Reason",
    "Recording",
    "RecordingRefused",
    "Recordings",
    "Requirements",
    "Savings",
    "Score",
    "Service",
    "SimulatedConditions",
    "Skipped",
    "SpokenSound",
    "SpokenWord",
    "SpokenWords",
    "Standing",
    "Step",
    "StoreError",
    "Suggestion",
    "SystemClock",
    "Taught",
    "Trial",
    "UpdateError",
    "Verdict",
    "Voice",
    "VoiceError",
    "VoiceStream",
    "Witness",
    "WordRefused",
]


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used (PEP 562)."""
    try:
        module = _MODULE_OF[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(f".{module}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
