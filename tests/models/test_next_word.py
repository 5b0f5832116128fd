"""The plain TensorFlow definition, as the server's learner uses it."""

from __future__ import annotations

import numpy as np
import pytest

from hushfold_models.config import SMALL, initial_vector, parameter_shapes, split

pytestmark = pytest.mark.slow


def test_logits_take_any_number_of_rows_and_are_differentiable() -> None:
    import tensorflow as tf

    from hushfold_models.next_word import logits, masked_loss

    parameters = {name: tf.constant(value) for name, value in split(SMALL, initial_vector(SMALL, 0)).items()}
    tokens = np.random.default_rng(0).integers(0, SMALL.vocabulary, (5, SMALL.time), np.int32)

    @tf.function(input_signature=[tf.TensorSpec([None, SMALL.time], tf.int32)])
    def gradient(rows: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            loss = masked_loss(logits(parameters, rows), rows, tf.ones_like(rows, tf.float32))
        return loss, tape.gradient(loss, parameters)

    losses = [float(gradient(tf.constant(tokens[:rows]))[0]) for rows in (1, 2, 5)]
    each = [float(gradient(tf.constant(tokens[row : row + 1]))[0]) for row in range(5)]
    assert losses == pytest.approx([each[0], np.mean(each[:2]), np.mean(each)], rel=1e-5)
    found = gradient(tf.constant(tokens))[1]
    assert {name: tuple(value.shape) for name, value in found.items()} == parameter_shapes(SMALL)
    assert all(np.abs(tf.convert_to_tensor(value)).max() > 0 for value in found.values())


def test_masked_targets_do_not_count() -> None:
    import tensorflow as tf

    from hushfold_models.next_word import masked_loss

    scores = np.random.default_rng(0).standard_normal((2, 3, 7)).astype(np.float32)
    targets = np.array([[1, 2, 3], [4, 5, 6]], np.int32)
    mask = np.array([[1, 0, 0], [0, 0, 1]], np.float32)
    log_probabilities = scores - np.log(np.exp(scores).sum(axis=2, keepdims=True))
    wanted = -(log_probabilities[0, 0, 1] + log_probabilities[1, 2, 6]) / 2
    assert float(masked_loss(tf.constant(scores), targets, mask)) == pytest.approx(wanted, rel=1e-5)
    assert float(masked_loss(tf.constant(scores), targets, np.zeros_like(mask))) == 0


def test_the_recurrence_needs_a_static_time() -> None:
    import tensorflow as tf

    from hushfold_models.next_word import logits

    parameters = {name: tf.constant(value) for name, value in split(SMALL, initial_vector(SMALL, 0)).items()}
    with pytest.raises(ValueError, match="static time"):
        tf.function(lambda tokens: logits(parameters, tokens)).get_concrete_function(
            tf.TensorSpec([None, None], tf.int32)
        )
