"""The next-word model with its backward pass by hand, in operations that LiteRT has as builtins.

TensorFlow's autodiff of a loop needs operations that the device does not have, and of the unrolled loop twice the
time. Three habits make the graph fast there: input projections and weight gradients are one product for all steps;
products with a transposed right side are rank-3, because the delegate skips rank-2 ones whose weights change; the
gradient of the tied softmax needs no one-hot matrix.

Rows are time-major inside: row `t * B + b` of a flat tensor belongs to step t of message b.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from hushfold_format import FIRST_WORD

from .config import bucket_of_id
from .next_word import Parameters, adapted, cell, word_bias

_TINY = 1e-30  # keeps the logarithm finite where a probability underflows


class _Step(NamedTuple):
    """What the backward pass needs of one time step."""

    forget: tf.Tensor
    candidate: tf.Tensor
    output: tf.Tensor
    previous_c: tf.Tensor
    squashed: tf.Tensor  # tanh of the new cell state
    previous_h: tf.Tensor


class _Output(NamedTuple):
    """The output layer for all rows."""

    out: tf.Tensor  # adapted states [T*B, D]
    probabilities: tf.Tensor  # [T*B, V]
    target_probability: tf.Tensor  # [T*B]
    targets: tf.Tensor  # [T*B]
    mask: tf.Tensor  # [T*B]


def gradients(
    parameters: Parameters, tokens: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Mean masked loss and its gradient for every parameter. All inputs `[B, T]` with static shape."""
    h, x, steps = _forward(parameters, tokens)
    output = _output(parameters, h, targets, mask)
    loss, weight = _loss(output)
    gradient, d_h, d_embedding = _output_gradients(parameters, h, output, weight)

    time = len(steps)
    kernel_x, kernel_h = tf.split(parameters["kernel"], 2, axis=0)
    d_h_at = tf.split(d_h, time, axis=0)
    d_states: list[tf.Tensor] = [None] * time
    d_gates: list[tf.Tensor] = [None] * time
    carried_h = carried_c = None
    for t in reversed(range(time)):
        step = steps[t]
        d_state = d_h_at[t] if carried_h is None else d_h_at[t] + carried_h
        d_memory = _times_transposed(d_state, parameters["projection"])
        d_c = d_memory * step.output * (1.0 - step.squashed * step.squashed)
        if carried_c is not None:
            d_c += carried_c
        d_gates[t] = tf.concat(
            [
                d_c * (step.previous_c - step.candidate) * step.forget * (1.0 - step.forget),
                d_c * (1.0 - step.forget) * (1.0 - step.candidate * step.candidate),
                d_memory * step.squashed * step.output * (1.0 - step.output),
            ],
            axis=1,
        )
        d_states[t] = d_state
        carried_c = d_c * step.forget
        carried_h = _times_transposed(d_gates[t], kernel_h) if t else None

    all_gates = tf.concat(d_gates, axis=0)
    inputs = tf.concat([x, tf.concat([step.previous_h for step in steps], axis=0)], axis=1)
    memories = tf.concat([step.output * step.squashed for step in steps], axis=0)
    gradient["kernel"] = _transposed_times(inputs, all_gates)
    gradient["bias"] = tf.reduce_sum(all_gates, axis=0)
    gradient["projection"] = _transposed_times(memories, tf.concat(d_states, axis=0))
    d_x = _times_transposed(all_gates, kernel_x)
    # The embedding is both the input table and the output matrix: rows looked up by token, minus rows of targets.
    gradient["embedding"] = d_embedding + tf.math.unsorted_segment_sum(
        tf.concat([d_x, -weight[:, None] * output.out], axis=0),
        tf.concat([_flat(tokens), output.targets], axis=0),
        parameters["embedding"].shape[0],
    )
    return loss, gradient


def adapter_gradients(
    parameters: Parameters, tokens: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Mean masked loss and its gradient for the adapter's parameters alone: no pass back through time."""
    h, _, _ = _forward(parameters, tokens)
    output = _output(parameters, h, targets, mask)
    loss, weight = _loss(output)
    gradient, _, _ = _output_gradients(parameters, h, output, weight, base=False)
    return loss, gradient


def evaluate(parameters: Parameters, tokens: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
    """Sums over the masked targets: `loss_sum` (nats), `count`, and hits `top1`, `top3` among predictable words."""
    h, _, _ = _forward(parameters, tokens)
    output = _output(parameters, h, targets, mask)
    words = output.probabilities[:, FIRST_WORD:]
    rank = tf.reduce_sum(tf.cast(words > output.target_probability[:, None], tf.float32), axis=1)
    return {
        "loss_sum": -tf.reduce_sum(tf.math.log(tf.maximum(output.target_probability, _TINY)) * output.mask),
        "count": tf.reduce_sum(output.mask),
        "top1": tf.reduce_sum(tf.cast(rank < 1.0, tf.float32) * output.mask),
        "top3": tf.reduce_sum(tf.cast(rank < 3.0, tf.float32) * output.mask),
    }


def step(parameters: Parameters, token: tf.Tensor, h: tf.Tensor, c: tf.Tensor) -> dict[str, tf.Tensor]:
    """Feed one token `[1]` to the states `h[1, embedding]`, `c[1, units]`: new states and `probs[1, vocabulary]`.

    The products stay rank-2: the converter cannot lower a rank-3 product of one row.
    """
    x = tf.gather(parameters["embedding"], token)
    gates = tf.matmul(tf.concat([x, h], axis=1), parameters["kernel"]) + parameters["bias"]
    _, _, output, c, squashed = cell(gates, c)
    h = tf.matmul(output * squashed, parameters["projection"])
    # The detour through one tensor keeps the converter from folding output_scale into a second, scaled projection.
    seen = tf.slice(tf.concat([h, c], axis=1), [0, 0], h.shape)
    scores = tf.matmul(adapted(parameters, seen), parameters["embedding"], transpose_b=True) + word_bias(parameters)
    return {"probs": tf.nn.softmax(scores), "h": h, "c": c}


def _forward(parameters: Parameters, tokens: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list[_Step]]:
    """States `[T*B, D]`, inputs `[T*B, D]`, and what the backward pass needs of each step."""
    rows, time = tokens.shape
    units, embedding = parameters["projection"].shape
    kernel_x, kernel_h = tf.split(parameters["kernel"], 2, axis=0)
    x = tf.gather(parameters["embedding"], _flat(tokens))
    from_input = tf.split(tf.matmul(x, kernel_x) + parameters["bias"], time, axis=0)
    h, c = tf.zeros([rows, embedding]), tf.zeros([rows, units])
    states, steps = [], []
    for t in range(time):
        gates = from_input[t] + tf.matmul(h, kernel_h) if t else from_input[t]
        forget, candidate, output, new_c, squashed = cell(gates, c)
        steps.append(_Step(forget, candidate, output, c, squashed, h))
        h, c = tf.matmul(output * squashed, parameters["projection"]), new_c
        states.append(h)
    return tf.concat(states, axis=0), x, steps


def _output(parameters: Parameters, h: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor) -> _Output:
    out, targets = adapted(parameters, h), _flat(targets)
    scores = _times_transposed(out, parameters["embedding"]) + word_bias(parameters)
    probabilities = tf.nn.softmax(scores)
    chosen = tf.gather_nd(probabilities, tf.stack([tf.range(out.shape[0]), targets], axis=1))
    return _Output(out, probabilities, chosen, targets, _flat(mask))


def _loss(output: _Output) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean masked loss, and the weight `[T*B]` of each row in it."""
    weight = output.mask / tf.maximum(tf.reduce_sum(output.mask), 1.0)
    return -tf.reduce_sum(tf.math.log(tf.maximum(output.target_probability, _TINY)) * weight), weight


def _output_gradients(
    parameters: Parameters, h: tf.Tensor, output: _Output, weight: tf.Tensor, *, base: bool = True
) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor | None]:
    """Gradients of the adapter, of the states `[T*B, D]`, and with `base` the softmax's share of the embedding's."""
    embedding, buckets = parameters["embedding"], parameters["bucket_bias"].shape[0]
    column = weight[:, None]
    weighted = output.probabilities * column
    d_out = tf.matmul(weighted, embedding) - column * tf.gather(embedding, output.targets)
    bucket = tf.constant(bucket_of_id(embedding.shape[0], buckets))
    # Per bucket: predicted mass minus observed mass.
    d_bias = tf.math.unsorted_segment_sum(
        tf.concat([tf.reduce_sum(weighted, axis=0), -weight], axis=0),
        tf.concat([bucket, tf.gather(bucket, output.targets)], axis=0),
        buckets,
    )
    gradient = {
        "output_scale": tf.reduce_sum(d_out * h, axis=0),
        "output_shift": tf.reduce_sum(d_out, axis=0),
        "bucket_bias": d_bias,
    }
    d_embedding = _transposed_times(weighted, output.out) if base else None
    return gradient, d_out * (1.0 + parameters["output_scale"]), d_embedding


def _flat(values: tf.Tensor) -> tf.Tensor:
    """`[B, T]` to time-major `[T*B]`."""
    return tf.reshape(tf.transpose(values), [-1])


def _times_transposed(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """a b^T as a rank-3 product, which never becomes a FULLY_CONNECTED with changing weights."""
    product = tf.raw_ops.BatchMatMulV2(x=a[None], y=b[None], adj_x=False, adj_y=True)
    return tf.reshape(product, product.shape[1:])


def _transposed_times(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """a^T b with the transpose spelt out, which the delegate can take."""
    return tf.matmul(tf.transpose(a), b)
