"""What TensorFlow's own convolutions and gradients give: the oracle of the graphs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hushfold_format import ModelManifest, Part

from .config import STEM_KERNEL, VoiceConfig

Vector = NDArray[np.float32]


def reference_steps(
    manifest: ModelManifest,
    start: Vector,
    part: Part,
    features: Vector,
    labels: NDArray[np.int32],
    mask: Vector,
    *,
    rate: float,
) -> tuple[Vector, list[float]]:
    """Plain SGD on one part of the vector, eagerly, by automatic differentiation of `reference_logits`.

    Args:
        manifest: layout of the vector.
        start: the vector to start from.
        part: the slice to train.
        features: `[steps, batch, frames, bands]`.
        labels, mask: `[steps, batch]`.
        rate: learning rate.

    Returns:
        The vector after all steps, and the loss before each of them.
    """
    vector = start.copy()
    config = VoiceConfig.of(manifest)
    losses = []
    for x, y, m in zip(features, labels, mask, strict=True):
        parameters = {name: tf.constant(value) for name, value in manifest.split(vector).items()}
        trained = [p for p in manifest.parameters if part.start <= p.offset < part.stop]
        with tf.GradientTape() as tape:
            tape.watch([parameters[p.name] for p in trained])
            scores = reference_logits(config, parameters, tf.constant(x))
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(y, scores)
            loss = tf.reduce_sum(each * m) / tf.maximum(tf.reduce_sum(m), 1.0)
        gradient = tape.gradient(loss, [parameters[p.name] for p in trained])
        for parameter, value in zip(trained, gradient, strict=True):
            vector[parameter.offset : parameter.offset + parameter.size] -= rate * value.numpy().ravel()
        losses.append(float(loss))
    return vector, losses


def reference_frames(manifest: ModelManifest, vector: Vector, features: Vector) -> Vector:
    """The frames that words are compared by, `[b, t / 4, width2]`, of features `[b, t, bands]`."""
    parameters = {name: tf.constant(value) for name, value in manifest.split(vector).items()}
    frames, _ = reference_embed(VoiceConfig.of(manifest), parameters, tf.constant(features))
    return np.asarray(frames)


def reference_logits(config: VoiceConfig, parameters: Mapping[str, tf.Tensor], features: tf.Tensor) -> tf.Tensor:
    """Scores of the labels, `[b, labels]`, of windows `[b, t, bands]`."""
    _, frames = reference_embed(config, parameters, features)
    return tf.reduce_mean(frames, axis=1) @ parameters["head"] + parameters["head_bias"]


def reference_embed(
    config: VoiceConfig, parameters: Mapping[str, tf.Tensor], features: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """What `network.embed` gives, by TensorFlow's own convolution, normalisation and rectifier."""

    def convolve(frames: tf.Tensor, name: str, size: int, stride: int) -> tf.Tensor:
        kernel = tf.reshape(parameters[name], [size, frames.shape[2], -1])
        return tf.nn.conv1d(frames, kernel, stride, "SAME")

    def normalise(frames: tf.Tensor, name: str) -> tf.Tensor:
        mean, variance = tf.nn.moments(frames, -1, keepdims=True)
        scale, shift = parameters[f"{name}_scale"], parameters[f"{name}_shift"]
        return tf.nn.batch_normalization(frames, mean, variance, shift, scale, 1e-5)

    frames = (features + 5.0) / 5.0
    frames = tf.nn.relu(normalise(convolve(frames, "stem", STEM_KERNEL, 1), "stem"))
    outputs = []
    for number, (_, _, stride) in enumerate(config.blocks, start=1):
        first, second, shortcut = (f"block{number}_{kind}" for kind in ("first", "second", "shortcut"))
        inner = tf.nn.relu(normalise(convolve(frames, first, config.kernel + stride - 1, stride), first))
        inner = normalise(convolve(inner, second, config.kernel, 1), second)
        frames = tf.nn.relu(inner + convolve(frames, shortcut, stride, stride))
        outputs.append(frames)
    return outputs[1], outputs[2]
