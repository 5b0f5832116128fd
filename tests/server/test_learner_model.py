"""A part of a model as TFF sees it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tensorflow_federated", reason="TensorFlow Federated is not installed")

import tensorflow as tf
from learning_fixtures import PARTS, base_vector, client_batches

from hushfold_models.config import SMALL, layout, parameter_shapes
from hushfold_models.export import split
from hushfold_models.next_word import logits, masked_loss
from hushfold_server.learning.model import functional_model

pytestmark = pytest.mark.tff


@pytest.mark.parametrize("part", PARTS)
def test_trained_and_frozen_weights_are_the_vector_in_its_order(part: str) -> None:
    trained, frozen = functional_model(SMALL, base_vector(), part).initial_weights
    shapes = list(parameter_shapes(SMALL).values())
    assert [value.shape for value in (*frozen, *trained)] == shapes
    start, stop = layout(SMALL)[1][part]
    np.testing.assert_array_equal(np.concatenate([value.ravel() for value in trained]), base_vector()[start:stop])
    np.testing.assert_array_equal(np.concatenate([v.ravel() for v in (*frozen, *trained)]), base_vector())


@pytest.mark.parametrize("part", PARTS)
def test_the_loss_is_that_of_the_model(part: str) -> None:
    model = functional_model(SMALL, base_vector(), part)
    tokens, targets, mask = client_batches(0)[0]
    assert 0 < mask.sum() < mask.size
    loss = model.loss(model.predict_on_batch(model.initial_weights, tokens), (targets, mask))
    parameters = {name: tf.constant(value) for name, value in split(SMALL, base_vector()).items()}
    expected = masked_loss(logits(parameters, tf.constant(tokens)), targets, mask)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="no part 'head': choose one of adapter, whole"):
        functional_model(SMALL, base_vector(), "head")
    with pytest.raises(ValueError, match="6936 float32 values, but the vector is float64"):
        functional_model(SMALL, base_vector().astype(np.float64), "whole")
    with pytest.raises(ValueError, match=r"\(6935,\)"):
        functional_model(SMALL, base_vector()[1:], "whole")
