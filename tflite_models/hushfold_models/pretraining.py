"""Train the base model on public text: Adam, full softmax, batches of messages of similar length."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hushfold_format import FIRST_WORD, UNKNOWN, Batch, batches

from . import gradients as model
from .config import ADAPTER, NextWordConfig, initial_vector, layout, split
from .quality import measure

_LENGTHS = (8, 14, 20, 32)  # static times to train with; longer messages are cut into windows of the last
_TOKENS = 640  # per batch
_SAVE_EVERY = 500  # steps
_REPORT_EVERY = 50  # steps
_HISTORY = "history.json"


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train: the rate rises over `warmup` steps and then falls to zero linearly."""

    epochs: int = 4
    rate: float = 2e-3
    warmup: int = 200  # steps
    clip: float = 1.0  # global norm
    hidden: float = 0.05  # share of the input words that are hidden, so that unknown words mean something
    seed: int = 7

    def rate_at(self, step: int, progress: float) -> float:
        """Learning rate of a step, with `progress` from 0 to 1 behind it."""
        return self.rate * min((step + 1) / self.warmup, 1 - progress)


@dataclass(frozen=True, slots=True)
class Point:
    """Where training is: a point of the loss curve.

    `loss` (nats per word) is the mean over the last training steps, `held_out` that of unseen messages, once an epoch.
    """

    step: int
    epochs: float  # done, out of those of the schedule
    loss: float
    held_out: float | None = None


def by_length(messages: Sequence[Sequence[int]], *, seed: int) -> list[Batch]:
    """Batches of messages of similar length, in a random order for a seed."""
    groups: dict[int, list[Sequence[int]]] = {time: [] for time in _LENGTHS}
    for ids in messages:
        groups[next((time for time in _LENGTHS if len(ids) <= time), _LENGTHS[-1])].append(ids)
    found = [batch for time, group in groups.items() for batch in batches(group, _TOKENS // time, time, seed=seed)]
    np.random.default_rng(seed).shuffle(found)
    return found


def pretrain(
    config: NextWordConfig,
    lesson: Callable[[int], Sequence[Sequence[int]]],
    held_out: Sequence[Sequence[int]],
    folder: Path,
    schedule: Schedule,
    report: Callable[[Point], None] = lambda _: None,
) -> tuple[NDArray[np.float32], list[Point]]:
    """Train; the vector with the lowest held-out loss of all epochs, and the loss curve.

    A run that was stopped goes on from its last checkpoint in `folder`; the adapter stays the identity.

    Args:
        config: sizes.
        lesson: the messages of an epoch, as ids; the same for the same number.
        held_out: messages that are in no lesson.
        folder: for checkpoints.
        schedule: how long and how fast.
        report: told now and then how far it is.
    """
    run = _Run(config, folder, schedule)
    for epoch in range(int(run.epoch), schedule.epochs):
        lessons = by_length(lesson(epoch), seed=schedule.seed + epoch)
        hide = np.random.default_rng([schedule.seed, epoch])
        losses: list[float] = []
        for number, batch in enumerate(lessons):
            shown = _hidden(batch, schedule.hidden, hide)  # drawn for skipped ones too, so that the rest is the same
            if number < int(run.within):
                continue
            losses.append(run.train(shown, epoch + number / len(lessons)))
            if int(run.step) % _REPORT_EVERY == 0:
                done = epoch + (number + 1) / len(lessons)
                report(run.note(Point(int(run.step), done, float(np.mean(losses[-_REPORT_EVERY:])))))
            if int(run.step) % _SAVE_EVERY == 0:
                run.save()
        loss = measure(config, run.vector(), held_out).loss.value
        run.end_epoch(loss)
        report(run.note(Point(int(run.step), epoch + 1, float(np.mean(losses or [np.nan])), loss)))
        run.save()
    return run.best.numpy(), run.history


class _Run:
    """The state of a training run, which is kept in a folder."""

    def __init__(self, config: NextWordConfig, folder: Path, schedule: Schedule) -> None:
        self._config, self._schedule = config, schedule
        start = initial_vector(config, schedule.seed)
        self._variables = {name: tf.Variable(value) for name, value in split(config, start).items()}
        self._trained = [name for name in self._variables if name not in ADAPTER]
        self._optimizer = tf.keras.optimizers.Adam(schedule.rate, global_clipnorm=schedule.clip)
        self._optimizer.build([self._variables[name] for name in self._trained])
        self.step, self.epoch, self.within = (tf.Variable(0, dtype=tf.int64) for _ in range(3))
        self.best, self._best_loss = tf.Variable(start), tf.Variable(np.inf)
        checkpoint = tf.train.Checkpoint(
            variables=self._variables,
            optimizer=self._optimizer,
            step=self.step,
            epoch=self.epoch,
            within=self.within,
            best=self.best,
            best_loss=self._best_loss,
        )
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), max_to_keep=1)
        checkpoint.restore(self._manager.latest_checkpoint)
        folder.mkdir(parents=True, exist_ok=True)
        self._history_file = folder / _HISTORY
        points = json.loads(self._history_file.read_text()) if int(self.step) else []
        self.history = [Point(**point) for point in points if point["step"] <= int(self.step)]
        self._train_step = tf.function(self._step, reduce_retracing=False)

    def train(self, batch: Batch, epochs: float) -> float:
        """One step on a batch, `epochs` into the schedule; its loss."""
        rate = self._schedule.rate_at(int(self.step), epochs / self._schedule.epochs)
        self._optimizer.learning_rate.assign(rate)
        loss = float(self._train_step(*map(tf.constant, batch)))
        self.step.assign_add(1)
        self.within.assign_add(1)
        return loss

    def end_epoch(self, held_out_loss: float) -> None:
        if held_out_loss < float(self._best_loss):
            self._best_loss.assign(held_out_loss)
            self.best.assign(self.vector())
        self.epoch.assign_add(1)
        self.within.assign(0)

    def vector(self) -> NDArray[np.float32]:
        return np.concatenate([self._variables[p.name].numpy().ravel() for p in layout(self._config)[0]])

    def note(self, point: Point) -> Point:
        self.history.append(point)
        return point

    def save(self) -> None:
        """The curve first: points beyond the checkpoint are dropped when it is restored."""
        draft = self._history_file.with_suffix(".unfinished")
        draft.write_text(json.dumps([asdict(point) for point in self.history]))
        draft.replace(self._history_file)
        self._manager.save()

    def _step(self, tokens: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        loss, gradient = model.gradients(self._variables, tokens, targets, mask)
        self._optimizer.apply_gradients([(gradient[name], self._variables[name]) for name in self._trained])
        return loss


def _hidden(batch: Batch, share: float, chance: np.random.Generator) -> Batch:
    """The batch with some of the input words unknown; what is to be predicted stays."""
    hidden = (chance.random(batch.tokens.shape) < share) & (batch.tokens >= FIRST_WORD)
    return batch._replace(tokens=np.where(hidden, np.int32(UNKNOWN), batch.tokens))
