"""The next-word model as files: a training graph without weights, and a quantised inference template."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hushfold_format import Patch, Transform
from hushfold_format.patching import derive

from . import gradients as model
from .config import NextWordConfig, bucket_starts, initial_vector, layout, split
from .conversion import ExportError as ExportError
from .conversion import Signature, find, template_file, training_file

_TRANSFORMS = {
    "embedding": (Transform.COPY,),
    "kernel": (Transform.COPY, Transform.TRANSPOSE),
    "bias": (Transform.COPY,),
    "projection": (Transform.COPY, Transform.TRANSPOSE),
    "output_scale": (Transform.COPY,),
    "output_shift": (Transform.COPY,),
    "bucket_bias": (Transform.EXPAND,),
}
"""What the converter may make of each parameter."""


def training_graph(config: NextWordConfig) -> bytes:
    """The training .tflite: variables that start at zero, and the signatures of docs/architecture.md."""
    batch = [
        tf.TensorSpec([config.batch, config.time], tf.int32, "tokens"),
        tf.TensorSpec([config.batch, config.time], tf.int32, "targets"),
        tf.TensorSpec([config.batch, config.time], tf.float32, "mask"),
    ]
    return training_file(
        layout(config)[0],
        batch,
        {"train": model.gradients, "train_adapter": model.adapter_gradients},
        {"evaluate": Signature(model.evaluate, batch), "step": _step(config)},
    )


def inference_template(config: NextWordConfig) -> tuple[bytes, tuple[Patch, ...]]:
    """The int8 .tflite with the signature `step`, and where its constants lie.

    It is converted with random weights, which serve to find each constant in the file. The bias of the output stays
    float32, so that no small change of it is lost.

    Raises:
        ExportError: a parameter is not in the file, or a constant of the file belongs to no parameter.
    """
    sentinels = initial_vector(config, seed=20_180)
    _, parts = layout(config)
    sentinels[parts["adapter"].start :] = np.random.default_rng(1).standard_normal(parts["adapter"].size) * 0.1
    parameters = split(config, sentinels)
    parameters["bias"][:] += np.random.default_rng(2).standard_normal(parameters["bias"].shape) * 0.1
    starts = bucket_starts(config.vocabulary, config.buckets)

    def forms(name: str) -> Iterator[tuple[Transform, NDArray[np.float32]]]:
        for transform in _TRANSFORMS[name]:
            yield transform, derive(transform, parameters[name], starts, config.vocabulary)

    content = template_file({"step": _step(config)}, parameters)
    return content, find(content, parameters, forms)


def _step(config: NextWordConfig) -> Signature:
    inputs = [
        tf.TensorSpec([1], tf.int32, "token"),
        tf.TensorSpec([1, config.embedding], tf.float32, "h"),
        tf.TensorSpec([1, config.units], tf.float32, "c"),
    ]
    return Signature(model.step, inputs)
