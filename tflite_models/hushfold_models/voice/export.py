"""The voice model as files: a training graph without weights, and a quantised inference template."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hushfold_format import Patch, Transform

from ..conversion import Signature, find, template_file, training_file
from . import network
from .config import VoiceConfig, initial_vector, layout, split


def training_graph(config: VoiceConfig) -> bytes:
    """The training .tflite: variables that start at zero, and the signatures of docs/architecture.md."""
    batch = [
        tf.TensorSpec([config.batch, config.frames, config.bands], tf.float32, "features"),
        tf.TensorSpec([config.batch], tf.int32, "labels"),
        tf.TensorSpec([config.batch], tf.float32, "mask"),
    ]
    return training_file(
        layout(config)[0],
        batch,
        {"train": partial(network.gradients, config), "train_adapter": partial(network.adapter_gradients, config)},
        {"evaluate": Signature(partial(network.evaluate, config), batch), "classify": _signatures(config)["classify"]},
    )


def inference_template(config: VoiceConfig) -> tuple[bytes, tuple[Patch, ...]]:
    """The int8 .tflite with the signatures `classify` and `embed`, and where its constants lie.

    It is converted with random weights, which serve to find each constant in the file.

    Raises:
        ExportError: a parameter is not in the file, or a constant of the file belongs to no parameter.
    """
    sentinels = initial_vector(config, seed=20_190)
    sentinels += np.random.default_rng(3).standard_normal(sentinels.shape).astype(np.float32) * np.float32(0.1)
    parameters = split(config, sentinels)

    def forms(name: str) -> Iterator[tuple[Transform, NDArray[np.float32]]]:
        yield Transform.COPY, parameters[name]
        if parameters[name].ndim == 2:
            yield Transform.TRANSPOSE, parameters[name].T

    content = template_file(_signatures(config), parameters)
    return content, find(content, parameters, forms)


def _signatures(config: VoiceConfig) -> dict[str, Signature]:
    def classify(parameters: network.Parameters, features: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": tf.nn.softmax(network.logits(config, parameters, features))}

    def embed(parameters: network.Parameters, features: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"frames": network.embed(config, parameters, features)[0]}

    def of(run: Callable[..., dict[str, tf.Tensor]], frames: int) -> Signature:
        return Signature(run, [tf.TensorSpec([1, frames, config.bands], tf.float32, "features")])

    return {"classify": of(classify, config.frames), "embed": of(embed, config.longest)}
