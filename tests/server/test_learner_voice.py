"""The voice model in federated learning: what TFF learns from is what the model is, and what a device computes."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest

pytest.importorskip("tensorflow_federated", reason="TensorFlow Federated is not installed")

import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from learning_fixtures import simulated_device, tff_runtime  # noqa: F401

from hushfold_format import WindowBatch, window_batches
from hushfold_models.voice.config import LABELS, SMALL, initial_vector, layout, split
from hushfold_models.voice.export import training_graph
from hushfold_models.voice.network import logits, masked_loss
from hushfold_protocol.encoding import EncodingParameters, decode_sum, quantise
from hushfold_server.learning.federated_averaging import Sgd
from hushfold_server.learning.model import functional_model
from hushfold_server.learning.task import Learning

pytestmark = pytest.mark.tff

SIGNATURES = {"whole": "train", "adapter": "train_adapter"}
RATE = 0.1
TOLERANCE = 1e-6  # of a weight, in updates that reach above 0.01


def base_vector() -> np.ndarray:
    return initial_vector(SMALL, seed=5)


def client_batches(client: int) -> list[WindowBatch]:
    """Three batches of made-up windows, the last one not full."""
    chance = np.random.default_rng(client)
    count = 3 * SMALL.batch - 2
    windows = chance.standard_normal((count, SMALL.frames, SMALL.bands)).astype(np.float32) * 2 - 5
    labels = chance.integers(0, len(LABELS), count).tolist()
    return list(window_batches(list(windows), labels, SMALL.batch, seed=client))


@pytest.mark.parametrize("part", SIGNATURES)
def test_trained_and_frozen_weights_are_the_vector_in_its_order(part: str) -> None:
    trained, frozen = functional_model(SMALL, base_vector(), part).initial_weights
    start, stop = layout(SMALL)[1][part]
    np.testing.assert_array_equal(np.concatenate([value.ravel() for value in trained]), base_vector()[start:stop])
    np.testing.assert_array_equal(np.concatenate([v.ravel() for v in (*frozen, *trained)]), base_vector())


def test_the_loss_is_that_of_the_model() -> None:
    model = functional_model(SMALL, base_vector(), "whole")
    features, labels, mask = client_batches(0)[-1]
    assert 0 < mask.sum() < mask.size
    loss = model.loss(model.predict_on_batch(model.initial_weights, features), (labels, mask))
    parameters = {name: tf.constant(value) for name, value in split(SMALL, base_vector()).items()}
    expected = masked_loss(logits(SMALL, parameters, tf.constant(features)), labels, mask)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def encoding(part: str) -> EncodingParameters:
    return EncodingParameters(
        dimension=layout(SMALL)[1][part].size,
        clip_norm=4.0,
        scale=50_000_017.0,
        bits=32,
        local_stddev=0.0,
        rotation_seed=(0, 0),
        beta=0.0,  # rounding to nearest cannot be drawn again, so no rounding may be too long
    )


@cache
def learning(part: str) -> Learning:
    return Learning(
        SMALL,
        base_vector(),
        part,
        client_learning_rate=RATE,
        server_optimizer=Sgd(1.0),
        encoding=encoding(part),
        rounding="nearest",
    )


@pytest.mark.slow
@pytest.mark.parametrize("part", SIGNATURES)
@pytest.mark.usefixtures("tff_runtime")
def test_a_device_sends_what_a_client_of_tff_sends(part: str) -> None:
    state = learning(part).initial_state()
    parameters = dataclasses.replace(encoding(part), rotation_seed=learning(part).prepare(state).rotation_seed)
    batches = client_batches(1)
    interpreter = Interpreter(model_content=training_graph(SMALL))
    interpreter.get_signature_runner("set_weights")(weights=base_vector())
    train = interpreter.get_signature_runner(SIGNATURES[part])
    for batch in batches:
        train(**batch._asdict(), learning_rate=np.float32(RATE))
    start, stop = layout(SMALL)[1][part]
    update = (base_vector() - interpreter.get_signature_runner("get_weights")()["weights"])[start:stop]
    device = quantise(update, parameters, np.random.default_rng().bytes, rounding="nearest")
    simulated = simulated_device(learning(part), state, batches)
    apart = [
        decode_sum((steps.astype(np.int64) % parameters.modulus).astype(np.uint32), parameters)
        for steps in (device, simulated)
    ]
    np.testing.assert_allclose(*apart, rtol=0, atol=TOLERANCE)
    assert np.abs(update).max() > 0.01
