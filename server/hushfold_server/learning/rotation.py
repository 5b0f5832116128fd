"""The rotation of `hushfold_protocol.rotation`, as a TensorFlow Federated aggregator.

TFF's `HadamardTransformFactory` pads a vector to the next power of two, which for most lengths makes everything that
follows up to twice as long. Here its transform and its signs are taken for one window of the vector after the other,
which needs no padding. For a power of two the two are the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

# What its factory is made of; TFF exports the factory alone.
from tensorflow_federated.python.aggregators.hadamard import fast_walsh_hadamard_transform
from tensorflow_federated.python.aggregators.rotation import sample_rademacher

from hushfold_protocol.rotation import window_size

_SEED = tff.TensorType(np.int64, [2])
_SECOND = 10**6  # microseconds


class RotationFactory(tff.aggregators.UnweightedAggregationFactory):
    """Rotates float32[d] on the clients, sums with another factory, undoes the rotation on the server.

    Its state is the sum's, and the seed of the next round's rotation: the time at which the process was initialised, in
    microseconds, and the number of the round, as in TFF.
    """

    def __init__(self, of_rotated: tff.aggregators.UnweightedAggregationFactory) -> None:
        self._of_rotated = of_rotated

    def create(self, value_type: tff.types.TensorType) -> tff.templates.AggregationProcess:
        of_rotated = self._of_rotated.create(value_type)

        @tff.tensorflow.computation
        def first_seed() -> tf.Tensor:
            return tf.stack([tf.cast(tf.timestamp() * _SECOND, tf.int64), tf.constant(0, tf.int64)])

        @tff.tensorflow.computation(_SEED)
        def next_seed(seed: tf.Tensor) -> tf.Tensor:
            return seed + tf.constant([0, 1], tf.int64)

        @tff.tensorflow.computation(value_type, _SEED)
        def rotate(x: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
            for window, signs in _windows(x, seed):
                x = _replaced(x, window, _hadamard(x[window] * signs))
            return x

        @tff.tensorflow.computation(value_type, _SEED)
        def unrotate(y: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
            for window, signs in reversed(_windows(y, seed)):
                y = _replaced(y, window, _hadamard(y[window]) * signs)
            return y

        @tff.federated_computation
        def initialize() -> Any:
            return tff.federated_zip((of_rotated.initialize(), tff.federated_eval(first_seed, tff.SERVER)))

        @tff.federated_computation(initialize.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS))
        def next_sum(state: Any, value: Any) -> Any:
            sum_state, seed = state
            output = of_rotated.next(sum_state, tff.federated_map(rotate, (value, tff.federated_broadcast(seed))))
            return tff.templates.MeasuredProcessOutput(
                tff.federated_zip((output.state, tff.federated_map(next_seed, seed))),
                tff.federated_map(unrotate, (output.result, seed)),
                output.measurements,
            )

        return tff.templates.AggregationProcess(initialize, next_sum)


def _windows(x: tf.Tensor, seed: tf.Tensor) -> list[tuple[slice, tf.Tensor]]:
    """The windows of float32[d], and the signs of each, float32[w]."""
    (dimension,) = x.shape
    size = window_size(dimension)
    starts = [0] if size == dimension else [0, dimension - size]
    signs = sample_rademacher(tf.constant([len(starts) * size]), x.dtype, seed)
    windows = [slice(start, start + size) for start in starts]
    return list(zip(windows, tf.split(signs, len(starts)), strict=True))


def _replaced(x: tf.Tensor, window: slice, turned: tf.Tensor) -> tf.Tensor:
    """x with the values of the window replaced."""
    return tf.concat([x[: window.start], turned, x[window.stop :]], axis=0)


def _hadamard(x: tf.Tensor) -> tf.Tensor:
    return fast_walsh_hadamard_transform(x[tf.newaxis])[0]
