"""The voice model as a graph: from log-mel features to labels, and the gradients of its training.

Everything here lowers to LiteRT's builtins, gradients included: convolutions are slices of the time axis side by side,
times a matrix; the gradient of the rectifier is a product; normalisation is over the channels of a frame, since that
over a batch cannot be trained on a device. The server and the training of the base run the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from .config import ADAPTER, STEM_KERNEL, VoiceConfig

Parameters = Mapping[str, tf.Tensor]
Gradient = dict[str, tf.Tensor]

_LEVEL, _SPREAD = -5.0, 5.0  # about the mean and the deviation of log-mel features of speech
_SMALLEST = 1e-30  # probability
_STEEP = 1e30  # makes a step out of a positive number


def embed(config: VoiceConfig, parameters: Parameters, features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Frames of 40 ms: what words are compared by, `[b, t / 4, width2]`, and what labels follow from, `[..., width3]`.

    `features` are `[b, t, bands]`.
    """
    frames = (features - _LEVEL) * (1 / _SPREAD)
    frames = _rectify(_normalise(parameters, "stem", _convolve(frames, parameters["stem"], STEM_KERNEL, 1)))
    outputs = []
    for number, (_, _, stride) in enumerate(config.blocks, start=1):
        name = f"block{number}"
        inner = _convolve(frames, parameters[f"{name}_first"], config.kernel + stride - 1, stride)
        inner = _rectify(_normalise(parameters, f"{name}_first", inner))
        inner = _normalise(
            parameters, f"{name}_second", _convolve(inner, parameters[f"{name}_second"], config.kernel, 1)
        )
        frames = _rectify(inner + _convolve(frames, parameters[f"{name}_shortcut"], stride, stride))
        outputs.append(frames)
    return outputs[1], outputs[2]


def logits(config: VoiceConfig, parameters: Parameters, features: tf.Tensor) -> tf.Tensor:
    """Scores of the labels, `[b, labels]`, of windows `[b, t, bands]`."""
    pooled = tf.reduce_mean(embed(config, parameters, features)[1], axis=1)
    return _multiply(pooled, parameters["head"]) + parameters["head_bias"]


def gradients(
    config: VoiceConfig, parameters: Parameters, features: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor
) -> tuple[tf.Tensor, Gradient]:
    """Mean loss (nats per window) over the windows that the mask keeps, and its gradient by every parameter."""
    return _gradients(config, parameters, features, labels, mask, tuple(parameters))


def adapter_gradients(
    config: VoiceConfig, parameters: Parameters, features: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor
) -> tuple[tf.Tensor, Gradient]:
    """The same by the adapter's parameters alone."""
    return _gradients(config, parameters, features, labels, mask, ADAPTER)


def evaluate(
    config: VoiceConfig, parameters: Parameters, features: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Sums over the windows that the mask keeps: `loss` (nats), `top1` (hits) and `count`."""
    probabilities = tf.nn.softmax(logits(config, parameters, features))
    of_label = tf.reduce_sum(probabilities * tf.one_hot(labels, config.labels), axis=1)
    better = tf.reduce_sum(tf.cast(probabilities > of_label[:, None], tf.float32), axis=1)
    return {
        "loss": -tf.reduce_sum(tf.math.log(tf.maximum(of_label, _SMALLEST)) * mask),
        "top1": tf.reduce_sum(tf.cast(better < 1.0, tf.float32) * mask),
        "count": tf.reduce_sum(mask),
    }


def masked_loss(scores: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy (nats) over the windows that the mask keeps; 0 if it keeps none."""
    weights = mask / tf.maximum(tf.reduce_sum(mask), 1.0)
    return _cross_entropy(scores, tf.one_hot(labels, scores.shape[-1]), weights)


def _gradients(
    config: VoiceConfig,
    parameters: Parameters,
    features: tf.Tensor,
    labels: tf.Tensor,
    mask: tf.Tensor,
    names: tuple[str, ...],
) -> tuple[tf.Tensor, Gradient]:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tensors = {name: tf.convert_to_tensor(value) for name, value in parameters.items()}
        tape.watch([tensors[name] for name in names])
        loss = masked_loss(logits(config, tensors, features), labels, mask)
    return loss, dict(zip(names, tape.gradient(loss, [tensors[name] for name in names]), strict=True))


def _normalise(parameters: Parameters, name: str, frames: tf.Tensor) -> tf.Tensor:
    """Layer normalisation of each frame (Ba et al. 2016, arXiv:1607.06450)."""
    centred = frames - tf.reduce_mean(frames, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    return centred * tf.math.rsqrt(variance + 1e-5) * parameters[f"{name}_scale"] + parameters[f"{name}_shift"]


def _convolve(frames: tf.Tensor, kernel: tf.Tensor, size: int, stride: int) -> tf.Tensor:
    """A convolution over time, padded so that `t` frames give `ceil(t / stride)`; the stride is 1, or 2 and even sizes.

    The gradient of a strided slice has no builtin, so frames are taken in pairs where the stride is two.
    """
    time, channels = frames.shape[1], frames.shape[2]
    count = -(-time // stride)
    before = (size - stride) // 2
    whole = stride * (count - 1) + size
    padded = tf.pad(frames, [[0, 0], [before, whole - time - before], [0, 0]])
    padded = tf.reshape(padded, [-1, whole // stride, stride * channels]) if stride > 1 else padded
    pieces = [tf.slice(padded, [0, at, 0], [-1, count, -1]) for at in range(size // stride)]
    columns = tf.reshape(tf.concat(pieces, axis=2), [-1, size * channels])
    return tf.reshape(_multiply(columns, kernel), [-1, count, kernel.shape[1]])


@tf.custom_gradient
def _multiply(
    left: tf.Tensor, right: tf.Tensor
) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """left @ right. In its gradient both factors are computed, for which only a product of rank 3 is fast on LiteRT."""

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        by_left = tf.raw_ops.BatchMatMulV2(x=upstream[None], y=right[None], adj_x=False, adj_y=True)[0]
        return by_left, tf.matmul(tf.transpose(left), upstream)

    return tf.matmul(left, right), gradient


@tf.custom_gradient
def _rectify(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    rectified = tf.nn.relu(values)
    return rectified, lambda upstream: upstream * tf.minimum(rectified * _STEEP, 1.0)


@tf.custom_gradient
def _cross_entropy(scores: tf.Tensor, wanted: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
    """Sum of the windows' cross-entropies (nats), weighted; the gradient goes to the scores alone."""
    probabilities = tf.nn.softmax(scores)
    logarithms = tf.math.log(tf.maximum(probabilities, _SMALLEST))
    loss = -tf.reduce_sum(tf.reduce_sum(logarithms * wanted, axis=1) * weights)
    return loss, lambda upstream: (upstream * (probabilities - wanted) * weights[:, None], None, None)
