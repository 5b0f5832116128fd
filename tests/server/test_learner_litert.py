"""A device against a simulated client: LiteRT training and numpy encoding against TFF's autodiff and TensorFlow's."""

from __future__ import annotations

import dataclasses
from functools import cache

import numpy as np
import pytest

pytest.importorskip("tensorflow_federated", reason="TensorFlow Federated is not installed")

from ai_edge_litert.interpreter import Interpreter
from learning_fixtures import (
    CLIENT_LEARNING_RATE,
    PARTS,
    base_vector,
    client_batches,
    deterministic_learning,
    simulated_device,
    tff_runtime,  # noqa: F401
)

from hushfold_models.config import SMALL, layout
from hushfold_models.export import training_graph
from hushfold_protocol.encoding import EncodingParameters, decode_sum, quantise

pytestmark = [pytest.mark.tff, pytest.mark.slow]

SIGNATURES = {"whole": "train", "adapter": "train_adapter"}
STEPS = 6
TOLERANCE = 1e-6  # of a weight, in updates that reach above 0.1


@cache
def training_content() -> bytes:
    return training_graph(SMALL)


def device_update(part: str, client: int) -> np.ndarray:
    """Start minus end of the part after STEPS steps in LiteRT, float32[d]."""
    interpreter = Interpreter(model_content=training_content())
    base = base_vector()
    interpreter.get_signature_runner("set_weights")(weights=base)
    train = interpreter.get_signature_runner(SIGNATURES[part])
    for batch in client_batches(client, STEPS):
        train(**batch._asdict(), learning_rate=np.float32(CLIENT_LEARNING_RATE))
    trained = interpreter.get_signature_runner("get_weights")()["weights"]
    start, stop = layout(SMALL)[1][part]
    outside = np.concatenate([(base - trained)[:start], (base - trained)[stop:]])
    assert not outside.any(), "training changed weights outside the part"
    return base[start:stop] - trained[start:stop]


def decoded(steps: np.ndarray, parameters: EncodingParameters) -> np.ndarray:
    return decode_sum((steps.astype(np.int64) % parameters.modulus).astype(np.uint32), parameters)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("client", range(3))
@pytest.mark.usefixtures("tff_runtime")
def test_a_device_sends_what_a_client_of_tff_sends(part: str, client: int) -> None:
    learning = deterministic_learning(part)
    state = learning.initial_state()
    parameters = dataclasses.replace(learning.encoding, rotation_seed=learning.prepare(state).rotation_seed)
    simulated = decoded(simulated_device(learning, state, client_batches(client, STEPS)), parameters)
    update = device_update(part, client)
    device = decoded(quantise(update, parameters, np.random.default_rng().bytes, rounding="nearest"), parameters)
    np.testing.assert_allclose(device, simulated, rtol=0, atol=TOLERANCE)
    clipped = np.linalg.norm(update) > parameters.clip_norm
    assert clipped == (part == "whole")
    if not clipped:
        np.testing.assert_allclose(update, simulated, rtol=0, atol=TOLERANCE)
    assert np.abs(simulated).max() > 0.1
