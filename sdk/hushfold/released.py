"""A model on this device: as the app shipped it, as it was released since, and what it can be trained on here.

The keyboard's model and the voice's are the same to training, to federated rounds and to releases.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from hushfold_format import ArtifactError, ModelFiles
from hushfold_format.manifest import MANIFEST

from .conditions import Gate
from .errors import ModelError
from .lessons import Lessons
from .model import Vector
from .store import Store
from .training import TrainingSession, TrainingTask
from .updates import ActiveModel

Files = TypeVar("Files", bound=ModelFiles)

_log = logging.getLogger(__name__)


class ReleasedModel(Generic[Files]):
    """One model. Safe to share between threads.

    Args:
        files: the shipped model.
        manifest_sha256: hash of its model.json (hex), which releases must fit.
        folder: where releases are kept; one for each model.
        store: for checkpoints.
        gate: when training may run.
        lessons: what it can learn from.
        serve: puts weights to use; raises ModelError, with nothing changed, if they are not this model's.

    Attributes:
        files, manifest_sha256, lessons: as given.
        active: which release is in use; call `reload` after it was switched.
    """

    def __init__(
        self,
        files: Files,
        manifest_sha256: str,
        folder: Path,
        store: Store,
        gate: Gate,
        lessons: Lessons[Any],
        serve: Callable[[Vector], None],
    ) -> None:
        self.files, self.manifest_sha256, self.lessons = files, manifest_sha256, lessons
        self.active = ActiveModel(folder / files.manifest.name, manifest_sha256)
        self._store, self._gate, self._serve = store, gate, serve
        self._serving = threading.Lock()

    def weights(self) -> Vector:
        """The active weights, `[size]`: those of the active release, or the shipped ones.

        Raises:
            ModelError: the release's weights are missing or damaged.
        """
        content = self.active.weights()
        return self.files.weights if content is None else np.frombuffer(content, "<f4").astype(np.float32, copy=False)

    def sha256(self) -> str:
        """Hash of the active weights (hex), little-endian float32, by which plans and releases name them."""
        return hashlib.sha256(self.weights().astype("<f4").tobytes()).hexdigest()

    def reload(self) -> None:
        """Put the active weights to use: to be called after `active` was switched or rolled back.

        Raises:
            ModelError: they are missing, damaged or not for this model; what was served before still is.
        """
        with self._serving:  # or a thread that has read the weights before a switch could serve them after it
            self._serve(self.weights())

    def reload_or_stay(self) -> None:
        """`reload`, where a damaged release must not cost the user the model: what was served before stays."""
        try:
            self.reload()
        except ModelError as error:
            name = self.files.manifest.name
            _log.warning("the active release of model %s cannot be used, the shipped model is served: %s", name, error)

    def training_session(self, task: TrainingTask, start: Vector) -> TrainingSession:
        """A session of `task` on what is on this device, from the weights `start`; see `TrainingSession.run`."""
        return TrainingSession(self.files, self.lessons, task, start, self._store, self._gate)


def load(kind: type[Files], folder: Path) -> tuple[Files, str]:
    """The verified model in `folder`, and the SHA-256 (hex) of its manifest, which releases refer to.

    Raises:
        ModelError: a file is missing or damaged.
    """
    try:
        files = kind.load(folder)
        return files, hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    except (ArtifactError, OSError) as error:
        raise ModelError(f"the model in {folder} cannot be used: {error}") from error
