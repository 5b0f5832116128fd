"""What a process may have devices send: the promise is checked on what was compiled, not on what was meant."""

from __future__ import annotations

import collections
import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow_federated", reason="TensorFlow Federated is not installed")

import tensorflow as tf
import tensorflow_federated as tff

from hushfold_protocol.encoding import EncodingParameters
from hushfold_server.errors import PrivacyError
from hushfold_server.learning.aggregator import build_aggregator
from hushfold_server.learning.federated_averaging import (
    InsecureSlot,
    MapReduceForm,
    Sgd,
    assert_only_secure_slots,
    build_process,
    compile_process,
)
from hushfold_server.learning.in_process import leaf_types

pytestmark = [pytest.mark.tff, pytest.mark.slow]

ENCODING = EncodingParameters(dimension=6, clip_norm=1.0, scale=100.0, bits=20, local_stddev=1.0, rotation_seed=(0, 0))


@cache
def linear_model() -> tff.learning.models.FunctionalModel:
    """Six weights, and a metric: the loss."""

    @tf.function
    def predict(weights: Any, x: tf.Tensor, training: bool = True) -> tf.Tensor:
        return tf.linalg.matvec(x, weights[0][0])

    @tf.function
    def no_loss() -> Any:
        return collections.OrderedDict(loss=0.0)

    @tf.function
    def add_loss(state: Any, labels: Any, batch_output: Any, sample_weight: Any = None) -> Any:
        return collections.OrderedDict(loss=state["loss"] + batch_output.loss)

    @tf.function
    def same(state: Any) -> Any:
        return state

    return tff.learning.models.FunctionalModel(
        initial_weights=((np.zeros(6, np.float32),), ()),
        predict_on_batch_fn=predict,
        loss_fn=lambda output, label, sample_weight=None: tf.reduce_mean(tf.square(output - label)),
        metrics_fns=(no_loss, add_loss, same),
        input_spec=(tf.TensorSpec([2, 6], tf.float32), tf.TensorSpec([2], tf.float32)),
    )


@cache
def secure_form() -> MapReduceForm:
    process = build_process(
        linear_model(), client_learning_rate=0.1, server_optimizer=Sgd(), aggregator=build_aggregator(ENCODING)
    )
    return compile_process(process)


def compiled(aggregator: tff.aggregators.UnweightedAggregationFactory, **settings: Any) -> MapReduceForm:
    """Federated averaging as TFF builds it if nothing is asked for."""
    process = tff.learning.algorithms.build_unweighted_fed_avg(
        linear_model(),
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(0.1),
        model_aggregator=aggregator,
        **settings,
    )
    return compile_process(process)


def integer_metrics(secure_sum: Any) -> Any:
    """A metrics aggregator that sends the loss as an integer through some secure sum."""

    def build(finalizers: Any, metrics_type: Any = None) -> tff.Computation:
        @tff.tensorflow.computation(collections.OrderedDict(loss=np.float32))
        def to_integer(metrics: Any) -> tf.Tensor:
            return tf.cast(metrics["loss"] * 1000, tf.int64)

        @tff.federated_computation(tff.FederatedType(to_integer.type_signature.parameter, tff.CLIENTS))
        def aggregate(metrics: Any) -> Any:
            return secure_sum(tff.federated_map(to_integer, metrics))

        return aggregate

    return build


def test_a_process_sends_the_vector_and_the_count_alone() -> None:
    assert_only_secure_slots(secure_form(), ENCODING)
    sent = leaf_types(secure_form().work.type_signature.result)
    assert sent == {"3/0": tff.TensorType(np.int64, [6]), "3/1": tff.TensorType(np.int32)}


def test_the_default_metrics_of_tff_are_refused() -> None:
    form = compiled(build_aggregator(ENCODING))
    with pytest.raises(InsecureSlot, match="plaintext slot") as caught:
        assert_only_secure_slots(form, ENCODING)
    assert "loss" in str(caught.value)
    assert isinstance(caught.value, PrivacyError)


def test_the_default_aggregator_of_tff_is_refused() -> None:
    form = compiled(tff.aggregators.UnweightedMeanFactory())
    with pytest.raises(InsecureSlot, match="plaintext slot"):
        assert_only_secure_slots(form, ENCODING)


@pytest.mark.parametrize(
    ("secure_sum", "reason"),
    [
        (lambda value: tff.federated_secure_sum_bitwidth(value, 20), "bit-width sum slot"),
        (lambda value: tff.federated_secure_sum(value, 1000), "secure sum slot"),
        (lambda value: tff.backends.mapreduce.federated_secure_modular_sum(value, 1 << 20), "modular slot"),
    ],
)
def test_securely_summed_metrics_are_refused_too(secure_sum: Any, reason: str) -> None:
    form = compiled(build_aggregator(ENCODING), metrics_aggregator=integer_metrics(secure_sum))
    with pytest.raises(InsecureSlot, match=reason):
        assert_only_secure_slots(form, ENCODING)


def test_another_modulus_or_size_than_the_rounds_is_refused() -> None:
    with pytest.raises(InsecureSlot, match="summed modulo"):
        assert_only_secure_slots(secure_form(), dataclasses.replace(ENCODING, bits=24))
    with pytest.raises(InsecureSlot, match=r"int64\[9\]"):
        assert_only_secure_slots(secure_form(), dataclasses.replace(ENCODING, dimension=9))
