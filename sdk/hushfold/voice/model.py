"""The voice model on LiteRT: labels of a second of sound, and the frames that words are compared by."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from hushfold_format import VoiceFiles
from hushfold_format.logmel import BANDS, FLOOR, Features

from ..errors import ModelError
from ..model import Vector, served_graph
from .sound import LONGEST

STRIDE = 4
"""Frames of features, 10 ms each, that one frame of `embed` stands for."""

_SILENCE = np.float32(np.log(FLOOR))


class VoiceModel:
    """The quantised graph as it is served, with a vector patched in. Safe to share between threads.

    Args:
        files: the model.
        vector: the weights to serve, `[size]`.

    Raises:
        ModelError: the vector is not this model's, or the model is none for the features that are made here.
    """

    def __init__(self, files: VoiceFiles, vector: Vector) -> None:
        sizes = files.manifest.sizes
        self.window, self.longest = sizes.get("frames", 0), sizes.get("longest", 0)
        if sizes.get("bands") != BANDS or not 0 < self.window <= LONGEST <= self.longest:
            raise ModelError(
                f"model {files.manifest.name!r} takes {self.window} frames, {self.longest} at most",
                "It was made for another version of the SDK",
            )
        self._lock = threading.Lock()
        self._graph = served_graph(files, vector)

    def warm_up(self) -> None:
        """Load the runtime and run it once, which takes a while."""
        self.classify(np.full((self.window, BANDS), _SILENCE))
        self.embed(np.full((1, BANDS), _SILENCE))

    def classify(self, features: Features) -> NDArray[np.float32]:
        """Probabilities of the labels, `[labels]`, for `[window, BANDS]`.

        Raises:
            ModelError: features of another shape.
        """
        probabilities: NDArray[np.float32] = self._run("classify", "probabilities", features, self.window)
        return probabilities

    def embed(self, features: Features) -> NDArray[np.float32]:
        """What at most `longest` frames sound like to the model, `[ceil(n / STRIDE), width]`, each of length one.

        Raises:
            ModelError: features of another shape, or too many.
        """
        if len(features) > self.longest:
            raise ModelError(f"a word of {len(features)} frames", f"This model takes {self.longest} at most")
        padded = np.full((self.longest, BANDS), _SILENCE)
        padded[: len(features)] = features
        frames = self._run("embed", "frames", padded, self.longest)[: -(-len(features) // STRIDE)]
        normalised: NDArray[np.float32] = frames / (np.linalg.norm(frames, axis=1, keepdims=True) + np.float32(1e-6))
        return normalised

    def _run(self, signature: str, output: str, features: Features, length: int) -> NDArray[np.float32]:
        if features.shape != (length, BANDS) or not np.isfinite(features).all():
            raise ModelError(
                f"features of {list(features.shape)}", f"This model takes finite ones of [{length}, {BANDS}]"
            )
        with self._lock:
            values: NDArray[np.float32] = self._graph(signature, features=features[None])[output][0]
        return values
