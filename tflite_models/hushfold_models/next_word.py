"""The next-word model, as plain differentiable TensorFlow: the definition that everything else must agree with.

A CIFG-LSTM (coupled input and forget gate, Greff et al. 2017, arXiv:1503.04069) with a projected state and a tied
embedding, as in Hard et al. 2018 (arXiv:1811.03604):

    f, g, o = sigmoid, tanh, sigmoid of [x, h] kernel + bias
    c' = f c + (1 - f) g        h' = (o tanh(c')) projection
    logits = (h' (1 + output_scale) + output_shift) embedding^T + bucket_bias[bucket of word]

The adapter (output_scale, output_shift, bucket_bias) is the identity at zero and does not feed the recurrence:
its gradient needs no backpropagation through time.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from .config import NextWordConfig, bucket_of_id, parameter_shapes

__all__ = [
    "NextWordConfig",
    "Parameters",
    "adapted",
    "cell",
    "logits",
    "masked_loss",
    "parameter_shapes",
    "word_bias",
]

Parameters = Mapping[str, tf.Tensor]


def cell(gates: tf.Tensor, c: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Forget gate, candidate, output gate, new cell state and its tanh, from pre-activations `[B, 3 * units]`."""
    forget, candidate, output = tf.split(gates, 3, axis=1)
    forget, candidate, output = tf.sigmoid(forget), tf.tanh(candidate), tf.sigmoid(output)
    c = candidate + forget * (c - candidate)
    return forget, candidate, output, c, tf.tanh(c)


def adapted(parameters: Parameters, h: tf.Tensor) -> tf.Tensor:
    """The projected state as the output layer sees it, `[..., embedding]`."""
    # Written so that the last operation adds two computed tensors: the converter folds h * constant + constant into
    # the output matrix, which would then no longer be the embedding.
    return h + (h * parameters["output_scale"] + parameters["output_shift"])


def word_bias(parameters: Parameters) -> tf.Tensor:
    """Output bias of each word, `[vocabulary]`."""
    vocabulary = parameters["embedding"].shape[0]
    return tf.gather(parameters["bucket_bias"], bucket_of_id(vocabulary, parameters["bucket_bias"].shape[0]))


def logits(parameters: Parameters, tokens: tf.Tensor) -> tf.Tensor:
    """Scores of the word after each token.

    Args:
        parameters: tensors of `parameter_shapes`, by name.
        tokens: int32 `[batch, time]`; the batch may be unknown, the time is static.

    Returns:
        float32 `[batch, time, vocabulary]`.
    """
    if tokens.shape[1] is None:
        raise ValueError("tokens need a static time dimension: the recurrence is unrolled")
    units, embedding = parameters["projection"].shape
    rows = tf.shape(tokens)[0]
    h, c = tf.zeros([rows, embedding]), tf.zeros([rows, units])
    states = []
    for x in tf.unstack(tf.gather(parameters["embedding"], tokens), axis=1):
        gates = tf.matmul(tf.concat([x, h], axis=1), parameters["kernel"]) + parameters["bias"]
        _, _, output, c, squashed = cell(gates, c)
        h = tf.matmul(output * squashed, parameters["projection"])
        states.append(h)
    out = adapted(parameters, tf.stack(states, axis=1))
    return tf.einsum("btd,vd->btv", out, parameters["embedding"]) + word_bias(parameters)


def masked_loss(scores: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Mean cross-entropy (nats) of the targets where the mask is 1; 0 if it is 0 everywhere."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=scores)
    return tf.reduce_sum(losses * mask) / tf.maximum(tf.reduce_sum(mask), 1.0)
