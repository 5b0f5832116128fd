"""How well weights predict messages that they were not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hushfold_format import FIRST_WORD
from hushfold_format.batching import windows

from .config import NextWordConfig, split
from .next_word import Parameters, logits

_TIME = 32  # tokens of a row
_ROWS = 20  # of a batch
_RESAMPLES = 1000
_SEED = 1  # of the intervals


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval: percentiles over resamples of the messages."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Quality over the predictable words of a set of messages.

    `loss` is in nats per word; `top1` and `top3` are shares, among all words, punctuation and emoji of the vocabulary.
    """

    words: int
    loss: Estimate
    top1: Estimate
    top3: Estimate

    @classmethod
    def of(cls, sums: NDArray[np.float64]) -> Self:
        """From the words, loss, hits and near hits of each message, `[messages, 4]`."""
        drawn = np.random.default_rng(_SEED).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), _RESAMPLES)
        totals = drawn @ sums
        low, high = np.percentile(totals[:, 1:] / np.maximum(totals[:, :1], 1), (2.5, 97.5), axis=0)
        value = sums[:, 1:].sum(axis=0) / max(sums[:, 0].sum(), 1)
        return cls(int(sums[:, 0].sum()), *(Estimate(*map(float, each)) for each in zip(value, low, high, strict=True)))


def measure(config: NextWordConfig, vector: NDArray[np.float32], messages: Sequence[Sequence[int]]) -> Figures:
    """Predict every word of the messages, given as ids, from what stands before it.

    Raises:
        ValueError: there is no message.
    """
    if not messages:
        raise ValueError("there are no messages to measure on")
    parameters = {name: tf.constant(value) for name, value in split(config, vector).items()}
    scores = tf.function(
        lambda *batch: _row_sums(parameters, *batch),
        input_signature=[tf.TensorSpec([None, _TIME], dtype) for dtype in (tf.int32, tf.int32, tf.float32)],
    )
    rows = [(number, row) for number, ids in enumerate(messages) for row in windows(ids, _TIME)]
    sums = np.zeros((len(messages), 4))
    for first in range(0, len(rows), _ROWS):
        chosen = rows[first : first + _ROWS]
        batch = [np.stack(each) for each in zip(*(row for _, row in chosen), strict=True)]
        np.add.at(sums, [number for number, _ in chosen], scores(*map(tf.constant, batch)).numpy())
    return Figures.of(sums)


def _row_sums(parameters: Parameters, tokens: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Words, loss (nats), hits and hits among three of each row, `[rows, 4]`."""
    scores = logits(parameters, tokens)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=scores)
    target = tf.gather(scores, targets, batch_dims=2)[..., None]
    rank = tf.reduce_sum(tf.cast(scores[..., FIRST_WORD:] > target, tf.float32), axis=-1)
    each = tf.stack([tf.ones_like(losses), losses, tf.cast(rank < 1, tf.float32), tf.cast(rank < 3, tf.float32)], -1)
    return tf.reduce_sum(each * mask[..., None], axis=1)
