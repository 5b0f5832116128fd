"""Where an app puts the SDK together: one `Device`, made once, from what the app decides.

    with Device(folder, KeyFile(folder / "key")) as device:
        device.keyboard.suggest("see you ")

Everything in it works offline, from the model that is bundled with the SDK.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, Self

from hushfold_format import NextWordFiles, VoiceFiles
from hushfold_protocol.plan import DevicePolicy as DevicePolicy  # public: what an app demands of plans

from . import personal, proof, released
from .clock import Clock, SystemClock
from .conditions import DWELL, ConditionSource, Gate, HostConditions, Requirements
from .errors import ModelError
from .heap import give_back, keep_large_apart
from .keyboard import Keyboard
from .keys import KeyProvider, Witness
from .ledger import DeviceBudget
from .lessons import MessageLessons
from .model import Vector
from .proof import Proof
from .released import ReleasedModel
from .store import Store
from .training import Progress, TrainingSession, TrainingTask
from .voice.lessons import RecordingLessons
from .voice.voice import Voice

MODEL, VOICE_MODEL = "next_word", "voice"
_MODELS = "models"
EPSILON_LIMIT = 10.0
"""What a device spends at most on a population, for ever, unless the app says otherwise."""


class Device:
    """The SDK on one device, for one user. Close it, or use it as a context manager.

    One device for each folder and process. Safe to share between threads: the UI types and the user goes back to the
    model before, while another thread trains and adopts releases. A `TrainingSession` and a `Participation` belong to
    one thread each.

    Args:
        folder: where the SDK keeps its store and releases; made if there is none.
        keys: what keeps the store's key; if it is a `Witness`, also what was spent.
        conditions: what knows the state of the device; by default the host, which can tell only its power supply.
        requirements: what must hold for training.
        dwell: seconds that it must have held before training starts.
        policy: what a plan must offer for this device to take part; by default what suits a real population.
        epsilon_limit: privacy budget for each population, at the policy's `max_delta`. It is never renewed.
        model_folder: the files of the keyboard's model that the app ships; by default those bundled with the SDK.
        voice_folder: the same of the voice model.
        clock: where time comes from; by default the machine.

    Attributes:
        folder, clock, policy: as given, or the defaults.
        files: the shipped model.
        manifest_sha256: hash of its model.json (hex), which releases must fit.
        store: everything that is kept about the user, encrypted.
        keyboard: suggestions and learning.
        gate: whether training may run.
        budget: what left the device and what privacy that cost.
        active_model: which release is in use; call `reload_model` after it was switched.

    Raises:
        ModelError: the shipped model is missing or damaged. A damaged release is no error: the shipped model is served
            instead, and the log says so.
        KeyUnavailable: `keys` has no key to give.
        StoreError: the store cannot be opened.
        ValueError: `epsilon_limit` is not positive, or the policy's `max_delta` not between 0 and 1.
    """

    def __init__(
        self,
        folder: Path | str,
        keys: KeyProvider,
        *,
        conditions: ConditionSource | None = None,
        requirements: Requirements | None = None,
        dwell: float = DWELL,
        policy: DevicePolicy | None = None,
        epsilon_limit: float = EPSILON_LIMIT,
        model_folder: Path | str | None = None,
        voice_folder: Path | str | None = None,
        clock: Clock | None = None,
    ) -> None:
        keep_large_apart()
        self._opening = threading.Lock()
        self._voice: tuple[Voice, ReleasedModel[VoiceFiles]] | None = None
        self._voice_folder = Path(voice_folder) if voice_folder else None
        self.folder = Path(folder)
        self.clock = clock or SystemClock()
        self.policy = policy or DevicePolicy()
        self.gate = Gate(conditions or HostConditions(), requirements or Requirements(), self.clock, dwell=dwell)
        self.files, self.manifest_sha256 = released.load(
            NextWordFiles, Path(model_folder) if model_folder else bundled_model()
        )
        self.store = Store(self.folder / "store.db", keys.key())
        self._model = ReleasedModel(
            self.files,
            self.manifest_sha256,
            self.folder / _MODELS,
            self.store,
            self.gate,
            MessageLessons(self.files, self.store),
            self._serve,
        )
        self.active_model = self._model.active
        try:
            self.budget = DeviceBudget(
                self.store,
                limit=epsilon_limit,
                delta=self.policy.max_delta,
                witness=keys if isinstance(keys, Witness) else None,
            )
            self.keyboard = Keyboard(self.files, self.files.weights, self.store, self.clock)
            self._model.reload_or_stay()
            self.keyboard.after_forgetting = self._model.reload_or_stay
            give_back()
        except BaseException:
            self.store.close()
            raise

    def __enter__(self) -> Self:
        """The device itself. Raises StoreError once it is closed."""
        self.store.require_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the store. Suggestions still work; whatever needs the store raises StoreError."""
        self.store.close()

    @property
    def voice(self) -> Voice:
        """Commands and wake words that learn their speaker; read at the first use, so that a keyboard pays nothing.

        Raises:
            ModelError: the voice model is missing or damaged.
            StoreError: the device is closed.
        """
        return self._open_voice()[0]

    def model(self, name: str = MODEL) -> ReleasedModel[Any]:
        """The keyboard's model, or with `VOICE_MODEL` the voice's, as training and federated rounds see it.

        Raises:
            ModelError: there is no such model, or it is missing or damaged.
        """
        if name == MODEL:
            return self._model
        if name != VOICE_MODEL:
            raise ModelError(f"there is no model {name!r}", f"Name {MODEL!r} or {VOICE_MODEL!r}")
        return self._open_voice()[1]

    def _open_voice(self) -> tuple[Voice, ReleasedModel[VoiceFiles]]:
        if self._voice is None:
            with self._opening:
                self._voice = self._voice or self._opened_voice()
        return self._voice

    def _opened_voice(self) -> tuple[Voice, ReleasedModel[VoiceFiles]]:
        files, sha256 = released.load(VoiceFiles, self._voice_folder or bundled_model(VOICE_MODEL))
        voice = Voice(files, files.weights, self.store, self.clock)
        lessons = RecordingLessons(files, voice.recordings)
        model = ReleasedModel(files, sha256, self.folder / _MODELS, self.store, self.gate, lessons, voice.serve)
        model.reload_or_stay()
        return voice, model

    def weights(self) -> Vector:
        """The active weights, `[size]`: those of the active release, or the shipped ones.

        Raises:
            ModelError: the release's weights are missing or damaged.
        """
        return self._model.weights()

    def reload_model(self) -> None:
        """Suggest from the active weights: call it after `active_model` was switched or rolled back.

        The user's own weights are added if they have proven themselves on these very weights; on others, once
        `personalize` has tried them again.

        Raises:
            ModelError: they are missing, damaged or not for this model; what was served before still is.
        """
        self._model.reload()

    def _serve(self, weights: Vector) -> None:
        own = personal.load(self.store, weights.size)
        proven = own is not None and own.base == _sha256(weights)
        self.keyboard.serve(self.files, weights, own if proven else None)

    def personalize(self, progress: Callable[[Progress], None] | None = None) -> personal.Trial:
        """Train weights of the user's own, and serve them if they predict this user better: see `personal`.

        To be called while the device is idle, once a night. What is trained stays on the device: federated rounds start
        from `weights`, not from these.

        Raises:
            NotEligible, ConditionsLost, MessagesDeleted, TrainingDiverged, ModelError: what is served stays.
        """
        weights = self.weights()
        base = _sha256(weights)
        trial = personal.Personalization(
            self.files, (weights, base), self.store, self.gate, self.keyboard.lexicon, self.clock
        ).run(progress)
        proof.record(self.store, trial, base, self.clock.now())
        self.reload_model()
        self.keyboard.suggest("")  # so that the runtime is ready before somebody types, and not when
        give_back()
        return trial

    def proof(self) -> Proof:
        """What learning has done for the user, to be shown to them: `print(device.proof())`.

        Raises:
            ModelError: the active release is damaged.
        """
        return proof.load(self.store, _sha256(self.weights()), self.files.manifest.size)

    def training_session(self, task: TrainingTask, start: Vector) -> TrainingSession:
        """A session of `task` on this device's messages, from the weights `start`; see `TrainingSession.run`."""
        return self._model.training_session(task, start)


def bundled_model(name: str = MODEL) -> Path:
    """Folder of a model that comes with the SDK, by default the keyboard's. Raises ModelError without any installed."""
    try:
        return Path(str(resources("hushfold_artifacts"))) / name
    except ModuleNotFoundError as error:
        raise ModelError("no model is installed beside the SDK", "Install hushfold again, or name a folder") from error


def _sha256(weights: Vector) -> str:
    return hashlib.sha256(weights.astype("<f4").tobytes()).hexdigest()
