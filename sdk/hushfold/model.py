"""A model on LiteRT, wrapped once: nothing else in the SDK sees an interpreter or a tensor dictionary.

`TrainingModel` runs the training graph, `SuggestionModel` the int8 template with a vector patched in. Both check
what they are given before the runtime sees it: the graph gathers by token id, and after a failed call LiteRT keeps
appending to its error text. Interpreters use one thread, are made at the first use and are guarded by a lock; the
runtime lets go of the GIL while it computes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hushfold_format import Batch, FormatError, ModelFiles, NextWordFiles, WindowBatch

from .errors import ModelError

Vector = NDArray[np.float32]

_TRAIN_SIGNATURES = {"whole": "train", "adapter": "train_adapter"}
_REINSTALL = "The model's files do not fit this SDK: install the model again, or update the SDK"


class TrainingModel:
    """The training graph of a model and the weights that it holds. Safe to share between threads.

    Args:
        files: the model; its manifest fixes the shapes. No weights are loaded: call `load` first.
    """

    def __init__(self, files: ModelFiles) -> None:
        self._manifest = files.manifest
        self._graph = Graph(files.training, "training graph")
        self._loaded = False
        self._lock = threading.Lock()

    def load(self, vector: Vector) -> None:
        """Set every weight from `[size]`, finite. Raises ModelError for any other vector; the old weights stay."""
        _check_vector(vector, self._manifest.size)
        with self._lock:
            self._graph("set_weights", weights=vector)
            self._loaded = True

    def vector(self) -> Vector:
        """A copy of every weight, `[size]`."""
        with self._lock:
            self._require_weights()
            weights: Vector = self._graph("get_weights")["weights"]
            return weights

    def train_step(self, batch: Batch | WindowBatch, learning_rate: float, part: str) -> float:
        """One step of SGD on the named part of the weights; returns the mean loss (nats per example) before it.

        Too high a rate makes the loss, or the weights afterwards, infinite or NaN: the caller looks.

        Raises:
            ModelError: a batch, rate or part that the graph does not take. The weights are as they were.
        """
        signature = _TRAIN_SIGNATURES.get(part)
        if signature is None:
            raise ModelError(f"no training for part {part!r}", f"Train one of {', '.join(_TRAIN_SIGNATURES)}")
        if not (np.isfinite(learning_rate) and learning_rate > 0):
            raise ModelError(f"a learning rate of {learning_rate}", "It must be finite and above zero")
        self._check_batch(batch)
        with self._lock:
            self._require_weights()
            outputs = self._graph(signature, **batch._asdict(), learning_rate=np.float32(learning_rate))
        return float(outputs["loss"])

    def _require_weights(self) -> None:
        if not self._loaded:
            raise ModelError("the training graph has no weights", "Call load(vector) first")

    def _check_batch(self, batch: Batch | WindowBatch) -> None:
        """LiteRT reads whatever memory it is given: shapes, types and ids are made sure of before."""
        sizes, rows, time = self._manifest.sizes, self._manifest.batch, self._manifest.time
        shapes: dict[str, tuple[type, tuple[int, ...]]]
        if isinstance(batch, Batch) and "vocabulary" in sizes:
            each = (rows, time)
            shapes = {"tokens": (np.int32, each), "targets": (np.int32, each), "mask": (np.float32, each)}
            ids = {"tokens": (batch.tokens, sizes["vocabulary"]), "targets": (batch.targets, sizes["vocabulary"])}
        elif isinstance(batch, WindowBatch) and "labels" in sizes:
            features = (rows, time, sizes["bands"])
            shapes = {"features": (np.float32, features), "labels": (np.int32, (rows,)), "mask": (np.float32, (rows,))}
            ids = {"labels": (batch.labels, sizes["labels"])}
        else:
            raise ModelError(f"a {type(batch).__name__} is nothing that model {self._manifest.name!r} learns from")
        for name, (dtype, shape) in shapes.items():
            values = getattr(batch, name)
            if values.shape != shape or values.dtype != dtype:
                raise ModelError(
                    f"{name} of a batch are {values.dtype}{list(values.shape)}",
                    f"This model takes {np.dtype(dtype)}{list(shape)}",
                )
        for name, (values, count) in ids.items():
            if values.min() < 0 or values.max() >= count:
                raise ModelError(
                    f"{name} of a batch hold ids from {values.min()} to {values.max()}",
                    f"This model's ids go from 0 to {count - 1}: encode with its own vocabulary",
                )
        if not ((batch.mask == 0) | (batch.mask == 1)).all():
            raise ModelError("the mask of a batch holds values other than 0 and 1")
        if isinstance(batch, WindowBatch) and not np.isfinite(batch.features).all():
            raise ModelError("the features of a batch are not finite")


class State(NamedTuple):
    """What the recurrence carries from word to word: `h[1, embedding]` and `c[1, units]`, float32."""

    h: NDArray[np.float32]
    c: NDArray[np.float32]


class SuggestionModel:
    """The quantised graph as it is served, with a vector patched in. Safe to share between threads.

    Args:
        files: the model.
        vector: the weights to serve, `[size]`.

    Raises:
        ModelError: the vector is not this model's.
    """

    def __init__(self, files: NextWordFiles, vector: Vector) -> None:
        self._manifest = files.manifest
        self._lock = threading.Lock()
        self._graph = served_graph(files, vector)

    def initial_state(self) -> State:
        """The state before any token, all zero."""
        sizes = self._manifest.sizes
        return State(np.zeros((1, sizes["embedding"]), np.float32), np.zeros((1, sizes["units"]), np.float32))

    def step(self, token_id: int, state: State) -> tuple[NDArray[np.float32], State]:
        """Read one token: the probabilities of the next, `[vocabulary]`, and the state after it.

        Raises:
            ModelError: the id is outside the vocabulary. Nothing was changed.
        """
        words = self._manifest.sizes["vocabulary"]
        if not 0 <= token_id < words:
            raise ModelError(f"token id {token_id} is outside the model's vocabulary of {words}")
        with self._lock:
            outputs = self._graph("step", token=np.array([token_id], np.int32), h=state.h, c=state.c)
        return outputs["probs"][0], State(outputs["h"], outputs["c"])


def served_graph(files: ModelFiles, vector: Vector) -> Graph:
    """A graph that serves a copy of `vector`; it is patched now and handed to LiteRT at its first use.

    Raises:
        ModelError: the vector is not this model's, or the template does not fit the manifest.
    """
    _check_vector(vector, files.manifest.size)
    try:
        content = files.manifest.patched(files.inference, vector)
    except FormatError as error:
        raise ModelError(f"the inference template cannot be patched: {error}", _REINSTALL) from error
    return Graph(content, "inference graph")


def _check_vector(vector: Vector, size: int) -> None:
    if vector.shape != (size,) or vector.dtype != np.float32:
        raise ModelError(f"a weight vector of {vector.dtype}{list(vector.shape)}", f"This model takes float32[{size}]")
    if not np.isfinite(vector).all():
        raise ModelError("a weight vector with values that are not finite", "Go back to the released weights")


class Graph:
    """A .tflite in memory and, from its first call on, its interpreter. Guarded by its owner's lock."""

    def __init__(self, content: bytes, name: str) -> None:
        self._content = content
        self._name = name
        self._signatures: dict[str, Callable[..., dict[str, NDArray[Any]]]] = {}

    def __call__(self, signature: str, **inputs: Any) -> dict[str, NDArray[Any]]:
        """Outputs of a signature, by name, as arrays of their own. Raises ModelError if the runtime fails."""
        try:
            if not self._signatures:
                self._open()
            run = self._signatures.get(signature)
            if run is None:
                raise ModelError(f"the {self._name} has no signature {signature!r}", _REINSTALL)
            return run(**inputs)
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"LiteRT failed in {signature!r} of the {self._name}: {error}", _REINSTALL) from error

    def _open(self) -> None:
        from ai_edge_litert.interpreter import Interpreter  # 0.2 s: not before a model is used

        interpreter = Interpreter(model_content=self._content, num_threads=1)
        self._signatures = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}
