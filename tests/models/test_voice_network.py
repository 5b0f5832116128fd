"""The graph of the voice model and its gradients, against TensorFlow's own convolutions and differentiation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from hushfold_models.voice import network
from hushfold_models.voice.config import ADAPTER, SMALL, VoiceConfig, initial_vector, parameter_shapes, split
from hushfold_models.voice.parity import reference_embed, reference_logits

CONFIGS = [SMALL, VoiceConfig(), replace(SMALL, kernel=3, bands=17, labels=3)]
NAMES = ("small", "default", "another")
ROWS = 5


def _parameters(config: VoiceConfig, seed: int = 0) -> dict[str, tf.Tensor]:
    """Weights in which no scale is one and no shift zero: a mistake about them would show."""
    vector = initial_vector(config, seed)
    vector += 0.2 * np.random.default_rng(seed).standard_normal(vector.shape).astype(np.float32)
    return {name: tf.constant(value) for name, value in split(config, vector).items()}


def _features(config: VoiceConfig, frames: int = 98, rows: int = ROWS, seed: int = 1) -> tf.Tensor:
    values = np.random.default_rng(seed).normal(-5, 4, (rows, frames, config.bands))
    return tf.constant(values, tf.float32)


def _labels(config: VoiceConfig) -> tf.Tensor:
    return tf.constant(np.random.default_rng(2).integers(0, config.labels, ROWS), tf.int32)


MASK = tf.constant([1.0, 0.0, 1.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("config", "frames"),
    [*((SMALL, frames) for frames in (98, 97, 95, 50, 4, 3, 1)), (CONFIGS[1], 196), (CONFIGS[2], 97)],
)
def test_it_is_tensorflow_s_convolutions(config: VoiceConfig, frames: int) -> None:
    parameters, features = _parameters(config), _features(config, frames)
    for ours, theirs, width in zip(
        network.embed(config, parameters, features),
        reference_embed(config, parameters, features),
        (config.width2, config.width3),
        strict=True,
    ):
        assert ours.shape == (ROWS, -(-frames // 4), width)
        assert np.allclose(ours, theirs, atol=1e-4)
        assert np.count_nonzero(theirs) > 0
    scores = network.logits(config, parameters, features)
    assert scores.shape == (ROWS, config.labels)
    assert np.allclose(scores, reference_logits(config, parameters, features), atol=1e-4)


def test_any_number_of_windows() -> None:
    """The same graph for each: the batch of training is not the one of a device."""
    parameters, features = _parameters(SMALL), _features(SMALL)

    @tf.function(input_signature=[tf.TensorSpec([None, SMALL.frames, SMALL.bands])])
    def scores(rows: tf.Tensor) -> tf.Tensor:
        return network.logits(SMALL, parameters, rows)

    each = np.concatenate([scores(features[row : row + 1]) for row in range(ROWS)])
    assert np.allclose(scores(features), each, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "mask"),
    [*zip(CONFIGS, [MASK] * 3, strict=True), (SMALL, tf.ones(ROWS)), (SMALL, tf.one_hot(2, ROWS))],
    ids=[*NAMES, "all windows", "one window"],
)
def test_every_gradient_is_tensorflow_s(config: VoiceConfig, mask: tf.Tensor) -> None:
    parameters, features, labels = _parameters(config), _features(config), _labels(config)
    with tf.GradientTape() as tape:
        tape.watch(parameters)
        scores = reference_logits(config, parameters, features)
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
        wanted_loss = tf.reduce_sum(each * mask) / tf.reduce_sum(mask)
    wanted = tape.gradient(wanted_loss, parameters)

    loss, found = network.gradients(config, parameters, features, labels, mask)
    assert float(loss) == pytest.approx(float(wanted_loss), rel=1e-5)
    assert {name: tuple(value.shape) for name, value in found.items()} == parameter_shapes(config)
    for name, value in found.items():
        largest = float(tf.reduce_max(tf.abs(wanted[name])))
        assert largest > 0, name
        assert np.allclose(value, wanted[name], atol=1e-4 * largest), name

    loss, of_adapter = network.adapter_gradients(config, parameters, features, labels, mask)
    assert float(loss) == pytest.approx(float(wanted_loss), rel=1e-5)
    assert tuple(of_adapter) == ADAPTER
    for name, value in of_adapter.items():
        assert np.allclose(value, found[name], atol=1e-6), name


def test_windows_that_the_mask_leaves_out_do_not_count() -> None:
    parameters, features, labels = _parameters(SMALL), _features(SMALL), _labels(SMALL)
    other = tf.where(MASK[:, None, None] > 0, features, 3.0)
    first, second = (network.gradients(SMALL, parameters, x, labels, MASK) for x in (features, other))
    assert float(first[0]) == pytest.approx(float(second[0]), rel=1e-6)
    for name, value in first[1].items():
        assert np.allclose(value, second[1][name], atol=1e-6), name


def test_a_batch_without_windows_teaches_nothing() -> None:
    """A device pads its last batch; an empty one must not divide by zero."""
    arguments = (_parameters(SMALL), _features(SMALL), _labels(SMALL), tf.zeros(ROWS))
    for of in (network.gradients, network.adapter_gradients):
        loss, gradient = of(SMALL, *arguments)
        assert float(loss) == 0
        assert not any(np.any(value) for value in gradient.values())
    assert {name: float(value) for name, value in network.evaluate(SMALL, *arguments).items()} == {
        "loss": 0,
        "top1": 0,
        "count": 0,
    }


def test_evaluation_sums_what_the_formula_says() -> None:
    parameters, features = _parameters(SMALL), _features(SMALL)
    scores = reference_logits(SMALL, parameters, features).numpy()
    best, second = np.argsort(-scores, axis=1)[:, :2].T
    labels = tf.constant([best[0], best[1], second[2], best[3], second[4]], tf.int32)
    log_probabilities = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    found = network.evaluate(SMALL, parameters, features, labels, MASK)
    assert float(found["count"]) == 3
    assert float(found["top1"]) == 2  # of the three that count, one is second best
    wanted = -sum(log_probabilities[np.arange(ROWS), labels.numpy()] * MASK.numpy())
    assert float(found["loss"]) == pytest.approx(wanted, rel=1e-5)


def test_the_loss_weighs_windows() -> None:
    """Training of the base gives windows without a command a smaller weight."""
    scores = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    labels, weights = np.array([1, 2, 3]), np.array([1.0, 0.25, 2.0], np.float32)
    log_probabilities = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    wanted = -(log_probabilities[[0, 1, 2], labels] * weights).sum() / weights.sum()
    assert float(network.masked_loss(tf.constant(scores), labels, weights)) == pytest.approx(wanted, rel=1e-5)


def test_being_surely_wrong_costs_no_more_than_a_number() -> None:
    scores = tf.constant([[1000.0, -1000.0], [-1000.0, 1000.0]])
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = network.masked_loss(scores, tf.constant([1, 1]), tf.ones(2))
    assert np.isfinite(float(loss))
    assert float(loss) > 30
    assert np.allclose(tape.gradient(loss, scores), [[0.5, -0.5], [0, 0]])


def test_digital_silence_is_no_division_by_zero() -> None:
    """All frames are alike, and so may be their channels."""
    parameters = {name: tf.zeros_like(value) for name, value in _parameters(SMALL).items()}
    features = tf.fill([ROWS, SMALL.frames, SMALL.bands], float(np.log(1e-6)))
    loss, gradient = network.gradients(SMALL, parameters, features, _labels(SMALL), MASK)
    assert float(loss) == pytest.approx(np.log(SMALL.labels), rel=1e-5)
    assert all(np.isfinite(value).all() for value in gradient.values())
