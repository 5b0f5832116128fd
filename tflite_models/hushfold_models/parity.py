"""Reference training steps with TensorFlow's own gradients: the independent oracle of the training graph."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hushfold_format import ModelManifest, Part

from .next_word import logits, masked_loss

Vector = NDArray[np.float32]


def reference_steps(
    manifest: ModelManifest,
    start: Vector,
    part: Part,
    tokens: NDArray[np.int32],
    targets: NDArray[np.int32],
    mask: Vector,
    *,
    rate: float,
) -> tuple[Vector, list[float]]:
    """Plain SGD on one part of the vector, eagerly, by automatic differentiation of `logits`.

    Args:
        manifest: layout of the vector.
        start: the vector to start from.
        part: the slice to train.
        tokens, targets, mask: `[steps, batch, time]`.
        rate: learning rate.

    Returns:
        The vector after all steps, and the loss before each of them.
    """
    vector = start.copy()
    losses = []
    for t, y, m in zip(tokens, targets, mask, strict=True):
        parameters = {name: tf.constant(value) for name, value in manifest.split(vector).items()}
        trained = [p for p in manifest.parameters if part.start <= p.offset < part.stop]
        with tf.GradientTape() as tape:
            tape.watch([parameters[p.name] for p in trained])
            loss = masked_loss(logits(parameters, tf.constant(t)), y, m)
        gradient = tape.gradient(loss, [parameters[p.name] for p in trained])
        for parameter, value in zip(trained, gradient, strict=True):
            flat = tf.reshape(tf.convert_to_tensor(value), [-1]).numpy()
            vector[parameter.offset : parameter.offset + parameter.size] -= rate * flat
        losses.append(float(loss))
    return vector, losses
