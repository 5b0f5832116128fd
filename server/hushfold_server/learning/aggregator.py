"""The update encoding of `hushfold_protocol.encoding`, as a TensorFlow Federated aggregator.

On a client: concatenate, rotate, clip, scale, round, add noise, reduce modulo 2^b. On the server: decode the sum, undo
the rotation, divide by the count, split. In between there is nothing but two secure modular sums:

    vector   int64[d], modulo 2^b
    count    int32, modulo `COUNT_MODULUS`: a one from each client

Real devices upload the vector alone, encoded by numpy; participation is public, so the server fills in the count.
The client's half runs in simulation only: its noise comes from TensorFlow's generator, which is good enough to learn
from and not good enough to protect anybody.

The vector is int64 although 32 bits would hold it: 2^32 is no int32, and the simulation's sum, reduced only at the
end, must not overflow.

TFF's own distributed-privacy aggregator is not used: it reports clipped counts and norms to the server, and upstream
has deleted it.
"""

from __future__ import annotations

import collections
import math
from typing import Any, Literal

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from hushfold_protocol.encoding import MAX_ROUNDINGS, EncodingParameters

from .rotation import RotationFactory

Rounding = Literal["stochastic", "nearest"]

COUNT_MODULUS = 1 << 16
"""Above the largest cohort of a plan."""


def build_aggregator(
    parameters: EncodingParameters, *, rounding: Rounding = "stochastic"
) -> tff.aggregators.UnweightedAggregationFactory:
    """The unweighted mean of updates of `parameters.dimension` float32 values, in whatever tensors they come.

    `parameters.rotation_seed` is not used: a seed is drawn when the process is initialised and stepped every round.
    `rounding="nearest"` makes a client deterministic if there is no noise either, to compare implementations.
    """
    return tff.aggregators.UnweightedMeanFactory(
        value_sum_factory=tff.aggregators.concat_factory(RotationFactory(_EncodedSum(parameters, rounding))),
        count_sum_factory=tff.aggregators.SecureModularSumFactory(COUNT_MODULUS),
    )


class _EncodedSum(tff.aggregators.UnweightedAggregationFactory):
    """Sums rotated updates, float32[d], as integers modulo 2^b; its state is how they are encoded."""

    def __init__(self, parameters: EncodingParameters, rounding: Rounding) -> None:
        self._parameters = parameters
        self._rounding = rounding

    def create(self, value_type: tff.types.TensorType) -> tff.templates.AggregationProcess:
        parameters, rounding = self._parameters, self._rounding
        if value_type != tff.TensorType(np.float32, [parameters.dimension]):
            raise ValueError(
                f"the encoding is for updates of {parameters.dimension} values, but the model's update is a "
                f"{value_type}: make the parameters for this model and part"
            )

        # Kept in the state, not in the graph: Grappler would turn the division by a constant scale into a
        # multiplication by its reciprocal, which is not the rounding that the encoding prescribes.
        @tff.tensorflow.computation
        def initial_state() -> Any:
            return collections.OrderedDict(
                clip_norm=tf.constant(parameters.clip_norm, tf.float32),
                scale=tf.constant(parameters.scale, tf.float32),
                local_stddev=tf.constant(parameters.local_stddev, tf.float64),
            )

        state_type = initial_state.type_signature.result

        @tff.tensorflow.computation(value_type, state_type)
        def encode(rotated: tf.Tensor, state: Any) -> tf.Tensor:
            grid = _clip(rotated, state["clip_norm"]) * state["scale"]
            quantised = _quantise(grid, math.floor(parameters.l2_bound**2), rounding)
            return tf.math.floormod(quantised + _skellam(quantised, state["local_stddev"]), parameters.modulus)

        @tff.tensorflow.computation(encode.type_signature.result, state_type)
        def decode(total: tf.Tensor, state: Any) -> tf.Tensor:
            half = parameters.modulus // 2
            centred = tf.math.floormod(total + half, parameters.modulus) - half
            return tf.cast(centred, tf.float32) / state["scale"]

        @tff.federated_computation
        def initialize() -> Any:
            return tff.federated_eval(initial_state, tff.SERVER)

        @tff.federated_computation(initialize.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS))
        def next_sum(state: Any, value: Any) -> Any:
            encoded = tff.federated_map(encode, (value, tff.federated_broadcast(state)))
            total = tff.backends.mapreduce.federated_secure_modular_sum(encoded, np.int64(parameters.modulus))
            nothing = tff.federated_value((), tff.SERVER)
            return tff.templates.MeasuredProcessOutput(state, tff.federated_map(decode, (total, state)), nothing)

        return tff.templates.AggregationProcess(initialize, next_sum)


def _clip(x: tf.Tensor, clip_norm: tf.Tensor) -> tf.Tensor:
    """Scales float32[d] down to an L2 norm of at most `clip_norm`."""
    norm = tf.cast(tf.sqrt(tf.reduce_sum(tf.square(tf.cast(x, tf.float64)))), tf.float32)
    return tf.cond(norm > clip_norm, lambda: x / (norm / clip_norm), lambda: x)


def _quantise(grid: tf.Tensor, squared_bound: int, rounding: Rounding) -> tf.Tensor:
    """Rounds float32[d] to int64[d] of a squared L2 norm of at most `squared_bound`.

    A device that finds no such rounding in MAX_ROUNDINGS draws sits the round out. A simulated client cannot, so the
    simulation stops.
    """

    def squared_norm(x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.square(x))

    if rounding == "nearest":
        rounded = tf.cast(tf.round(grid), tf.int64)  # half to even
    else:
        whole = tf.floor(grid)
        fraction = tf.cast(grid - whole, tf.float64)

        def draw() -> tf.Tensor:
            up = tf.random.uniform(tf.shape(grid), dtype=tf.float64) < fraction
            return tf.cast(whole, tf.int64) + tf.cast(up, tf.int64)

        (rounded,) = tf.while_loop(
            lambda drawn: squared_norm(drawn) > squared_bound,
            lambda drawn: (draw(),),
            (draw(),),
            maximum_iterations=MAX_ROUNDINGS - 1,
        )
    within = tf.debugging.assert_less_equal(
        squared_norm(rounded),
        tf.constant(squared_bound, tf.int64),
        message="a rounded update is longer than the norm bound: give the encoding a smaller beta",
    )
    with tf.control_dependencies([within]):
        return tf.identity(rounded)


def _skellam(like: tf.Tensor, stddev: tf.Tensor) -> tf.Tensor:
    """Skellam noise, int64, of the shape of `like`: the difference of two Poisson variables of half the variance."""

    def sample() -> tf.Tensor:
        half = tf.square(stddev) / 2
        first, second = (tf.random.poisson(tf.shape(like), half, tf.int64) for _ in range(2))
        return first - second

    return tf.cond(stddev > 0, sample, lambda: tf.zeros_like(like))
