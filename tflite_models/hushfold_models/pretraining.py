"""Train the base model on public text: Adam, full softmax, batches of messages of similar length."""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hushfold_format import Batch, batches

from . import gradients as model
from .config import ADAPTER, NextWordConfig, initial_vector, layout, split

_log = logging.getLogger(__name__)

_LENGTHS = (8, 14, 20, 32)  # static times to train with; longer messages are cut into windows of the last
_TOKENS = 640  # per batch
_SAVE_EVERY = 500  # steps


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train: the rate rises over `warmup` steps and then falls to zero linearly."""

    epochs: int = 4
    rate: float = 2e-3
    warmup: int = 200  # steps
    clip: float = 1.0  # global norm
    seed: int = 7

    def rate_at(self, step: int, steps: int) -> float:
        return self.rate * min((step + 1) / self.warmup, (steps - step) / max(1, steps - self.warmup))


@dataclass(frozen=True, slots=True)
class Figures:
    """Quality over the predictable words of a set of messages."""

    loss: float  # nats per word
    top1: float
    top3: float
    words: int


def by_length(messages: Sequence[Sequence[int]], *, seed: int | None) -> list[Batch]:
    """Batches of messages of similar length, in a random order for a seed."""
    groups: dict[int, list[Sequence[int]]] = {time: [] for time in _LENGTHS}
    for ids in messages:
        groups[next((time for time in _LENGTHS if len(ids) <= time), _LENGTHS[-1])].append(ids)
    found = [batch for time, group in groups.items() for batch in batches(group, _TOKENS // time, time, seed=seed)]
    if seed is not None:
        np.random.default_rng(seed).shuffle(found)
    return found


def pretrain(
    config: NextWordConfig,
    messages: Sequence[Sequence[int]],
    held_out: Sequence[Sequence[int]],
    folder: Path,
    schedule: Schedule,
) -> NDArray[np.float32]:
    """Train and return the vector with the lowest held-out loss of all epochs.

    A run that was stopped goes on from its last checkpoint in `folder`; the adapter stays the identity.
    """
    variables = {
        name: tf.Variable(value) for name, value in split(config, initial_vector(config, schedule.seed)).items()
    }
    trained = [name for name in variables if name not in ADAPTER]
    optimizer = tf.keras.optimizers.Adam(schedule.rate, global_clipnorm=schedule.clip)
    optimizer.build([variables[name] for name in trained])
    done = tf.Variable(0, dtype=tf.int64)
    best_loss = tf.Variable(np.inf)
    best = tf.Variable(initial_vector(config, schedule.seed))
    checkpoint = tf.train.Checkpoint(
        variables=variables, optimizer=optimizer, done=done, best=best, best_loss=best_loss
    )
    manager = tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), max_to_keep=1)
    checkpoint.restore(manager.latest_checkpoint)

    @tf.function(reduce_retracing=False)
    def train_step(tokens: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        loss, gradient = model.gradients(variables, tokens, targets, mask)
        optimizer.apply_gradients([(gradient[name], variables[name]) for name in trained])
        return loss

    per_epoch = len(by_length(messages, seed=schedule.seed))
    steps = per_epoch * schedule.epochs
    for epoch in range(int(done) // per_epoch, schedule.epochs):
        start, losses = clock.monotonic(), []
        for batch in by_length(messages, seed=schedule.seed + epoch)[int(done) % per_epoch :]:
            optimizer.learning_rate.assign(schedule.rate_at(int(done), steps))
            losses.append(float(train_step(*map(tf.constant, batch))))
            done.assign_add(1)
            if int(done) % _SAVE_EVERY == 0:
                manager.save()
                rate = len(losses) / (clock.monotonic() - start)
                _log.info("step %d of %d, loss %.3f, %.1f steps/s", done, steps, np.mean(losses[-_SAVE_EVERY:]), rate)
        vector = np.concatenate([variables[p.name].numpy().ravel() for p in layout(config)[0]])
        figures = measure(config, vector, held_out)
        _log.info("epoch %d of %d, held out: %s", epoch + 1, schedule.epochs, figures)
        if figures.loss < float(best_loss):
            best_loss.assign(figures.loss)
            best.assign(vector)
        manager.save()
    return best.numpy()


def measure(config: NextWordConfig, vector: NDArray[np.float32], messages: Sequence[Sequence[int]]) -> Figures:
    """Loss and accuracy of a vector, ranked over the whole vocabulary without special tokens."""
    parameters = {name: tf.constant(value) for name, value in split(config, vector).items()}
    evaluate = tf.function(lambda *batch: model.evaluate(parameters, *batch))
    totals = {"loss_sum": 0.0, "count": 0.0, "top1": 0.0, "top3": 0.0}
    for batch in _tensors(by_length(messages, seed=None)):
        for name, value in evaluate(*batch).items():
            totals[name] += float(value)
    count = max(1.0, totals["count"])
    return Figures(totals["loss_sum"] / count, totals["top1"] / count, totals["top3"] / count, int(totals["count"]))


def _tensors(found: Sequence[Batch]) -> Iterator[list[tf.Tensor]]:
    return ([tf.constant(values) for values in batch] for batch in found)
