"""Train the base of the voice model: labels of windows, and the phonemes in them by the way.

The second loss (connectionist temporal classification, Graves et al. 2006) has a layer of its own on the same features,
which is thrown away. It is what makes frames of unknown words comparable: labels alone need only tell twelve words
apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hushfold_format.logmel import log_mel

from ..pretraining import Point
from . import network
from .augmentation import disturb, mask, silence, splice
from .config import SILENCE, UNKNOWN, VoiceConfig, initial_vector, layout, split

_HISTORY = "history.json"
_LONGEST = 16  # phonemes of a word that are learned from
_REPORT_EVERY = 20  # steps


class Example(NamedTuple):
    """A word to learn from: `pcm` is at 16 kHz, float32 or int16; it has at least one phoneme."""

    pcm: NDArray[np.float32] | NDArray[np.int16]
    label: int
    phonemes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to train: the rate rises over `warmup` steps and then falls to zero as a cosine."""

    epochs: int = 100
    rate: float = 3e-3
    warmup: int = 200  # steps
    clip: float = 5.0  # global norm
    words: int = 48  # of a batch
    reversed: int = 6  # words of a batch that are heard backwards too: speech, and no command
    spliced: int = 10  # pairs of commands, the beginning of one before the end of the other: no command either
    silent: int = 4  # windows of a batch without speech
    synthetic: float = 1.0  # synthetic words for each recorded one
    unknown: float = 0.4  # weight of a window without a command
    phonemes: float = 0.3  # weight of the second loss
    seed: int = 11

    def rate_at(self, step: int, progress: float) -> float:
        """Learning rate of a step, with `progress` from 0 to 1 behind it."""
        return self.rate * min((step + 1) / self.warmup, 0.5 + 0.5 * float(np.cos(np.pi * progress)))


class Batch(NamedTuple):
    """What a step learns from: `features[b, t, bands]` and `labels[b]`, and the `phonemes[w, _LONGEST]` of the first w
    windows, of which as many as `lengths[w]` says count."""

    features: NDArray[np.float32]
    labels: NDArray[np.int32]
    phonemes: NDArray[np.int32]
    lengths: NDArray[np.int32]


def pretrain(
    config: VoiceConfig,
    recorded: Sequence[Example],
    synthetic: Sequence[Example],
    noises: Sequence[NDArray[np.float32]],
    phonemes: int,
    held_out: tuple[NDArray[np.float32], NDArray[np.int32]],
    folder: Path,
    schedule: Schedule,
    report: Callable[[Point], None] = lambda _: None,
) -> tuple[NDArray[np.float32], list[Point]]:
    """Train; the vector after the last epoch, and the loss curve.

    A run that was stopped goes on from its last epoch in `folder`.

    Args:
        config: sizes.
        recorded: words by real people; each is heard once an epoch.
        synthetic: words by made-up speakers, of which as many are drawn as the schedule says.
        noises: sounds of at least a second.
        phonemes: how many there are.
        held_out: features `[n, t, bands]` and labels `[n]` of speakers in neither; they only tell how far it is.
        folder: for checkpoints.
        schedule: how long and how fast.
        report: told now and then how far it is.

    Raises:
        ValueError: the words are less than a batch.
    """
    drawn = min(len(synthetic), round(schedule.synthetic * len(recorded)))
    steps = (len(recorded) + drawn) // schedule.words
    if not steps:
        raise ValueError(f"{len(recorded) + drawn} words are no batch of {schedule.words}")
    run = _Run(config, phonemes, folder, schedule)
    for epoch in range(int(run.epoch), schedule.epochs):
        chance = np.random.default_rng([schedule.seed, epoch])
        lesson = [*recorded, *(synthetic[at] for at in chance.permutation(len(synthetic))[:drawn])]
        losses: list[float] = []
        for number, batch in enumerate(_batches(lesson, noises, schedule, chance)):
            losses.append(run.train(batch, (epoch + number / steps) / schedule.epochs))
            if int(run.step) % _REPORT_EVERY == 0:
                report(
                    run.note(
                        Point(int(run.step), epoch + (number + 1) / steps, float(np.mean(losses[-_REPORT_EVERY:])))
                    )
                )
        run.epoch.assign_add(1)
        report(run.note(Point(int(run.step), epoch + 1, float(np.mean(losses)), run.loss(*held_out))))
        run.save()
    return run.vector(), run.history


def _batches(
    lesson: Sequence[Example], noises: Sequence[NDArray[np.float32]], schedule: Schedule, chance: np.random.Generator
) -> Iterator[Batch]:
    order = chance.permutation(len(lesson))
    for first in range(0, len(lesson) - schedule.words + 1, schedule.words):
        chosen = [lesson[at] for at in order[first : first + schedule.words]]
        sounds = [disturb(_as_float(example.pcm), noises, chance) for example in chosen]
        labels = [example.label for example in chosen]
        sounds += [sound[::-1] for sound in sounds[: schedule.reversed]]
        sounds += [disturb(sound, noises, chance) for sound in _spliced(chosen, schedule.spliced, chance)]
        labels += [UNKNOWN] * (len(sounds) - len(labels))
        sounds += [silence(noises, chance) for _ in range(schedule.silent)]
        labels += [SILENCE] * schedule.silent
        features = np.stack([log_mel(np.ascontiguousarray(sound)) for sound in sounds])
        mask(features, chance)
        phonemes = np.zeros((len(chosen), _LONGEST), np.int32)
        lengths = np.array([min(len(example.phonemes), _LONGEST) for example in chosen], np.int32)
        for row, length, example in zip(phonemes, lengths, chosen, strict=True):
            row[:length] = example.phonemes[:length]
        yield Batch(features, np.array(labels, np.int32), phonemes, lengths)


def _spliced(chosen: Sequence[Example], most: int, chance: np.random.Generator) -> Iterator[NDArray[np.float32]]:
    """Pieces of different commands put together, at most so many: fewer if there are few commands."""
    commands = [example for example in chosen if example.label != UNKNOWN]
    order = chance.permutation(len(commands))
    pairs = [(commands[one], commands[other]) for one, other in zip(order, np.roll(order, 1), strict=True)]
    different = [(one, other) for one, other in pairs if one.label != other.label]
    for one, other in different[:most]:
        yield splice(_as_float(one.pcm), _as_float(other.pcm), chance)


def _as_float(pcm: NDArray[np.float32] | NDArray[np.int16]) -> NDArray[np.float32]:
    scale = np.float32(1 if pcm.dtype == np.float32 else 1 / 32_768)
    return pcm.astype(np.float32) * scale


class _Run:
    """The state of a training run, which is kept in a folder."""

    def __init__(self, config: VoiceConfig, phonemes: int, folder: Path, schedule: Schedule) -> None:
        self._config, self._schedule = config, schedule
        start = initial_vector(config, schedule.seed)
        self._variables = {name: tf.Variable(value) for name, value in split(config, start).items()}
        self._spelling = [tf.Variable(tf.zeros([config.width3, phonemes + 1])), tf.Variable(tf.zeros([phonemes + 1]))]
        self._trained = [*self._variables.values(), *self._spelling]
        self._optimizer = tf.keras.optimizers.Adam(schedule.rate, global_clipnorm=schedule.clip)
        self._optimizer.build(self._trained)
        self.step, self.epoch = (tf.Variable(0, dtype=tf.int64) for _ in range(2))
        checkpoint = tf.train.Checkpoint(
            variables=self._variables,
            spelling=self._spelling,
            optimizer=self._optimizer,
            step=self.step,
            epoch=self.epoch,
        )
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder / "checkpoints"), max_to_keep=1)
        checkpoint.restore(self._manager.latest_checkpoint)
        folder.mkdir(parents=True, exist_ok=True)
        self._history_file = folder / _HISTORY
        points = json.loads(self._history_file.read_text()) if int(self.step) else []
        self.history = [Point(**point) for point in points if point["step"] <= int(self.step)]
        self._train_step = tf.function(self._step)

    def train(self, batch: Batch, progress: float) -> float:
        """One step, with `progress` from 0 to 1 behind it; the loss of the labels."""
        self._optimizer.learning_rate.assign(self._schedule.rate_at(int(self.step), progress))
        loss = float(self._train_step(*map(tf.constant, batch)))
        self.step.assign_add(1)
        return loss

    def loss(self, features: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
        """Mean loss of windows, nats."""
        scores = network.logits(self._config, self._variables, tf.constant(features))
        return float(network.masked_loss(scores, tf.constant(labels), tf.ones(len(labels))))

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

    def _step(self, features: tf.Tensor, labels: tf.Tensor, phonemes: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            _, frames = network.embed(self._config, self._variables, features)
            scores = tf.reduce_mean(frames, axis=1) @ self._variables["head"] + self._variables["head_bias"]
            weights = tf.where(labels == UNKNOWN, self._schedule.unknown, 1.0)
            label_loss = network.masked_loss(scores, labels, weights)
            loss = label_loss + self._schedule.phonemes * self._spelling_loss(
                frames[: self._schedule.words], phonemes, lengths
            )
        self._optimizer.apply_gradients(zip(tape.gradient(loss, self._trained), self._trained, strict=True))
        return label_loss

    def _spelling_loss(self, frames: tf.Tensor, phonemes: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """Mean over words of the nats per phoneme."""
        scores = frames @ self._spelling[0] + self._spelling[1]
        losses = tf.compat.v1.nn.ctc_loss(
            labels=tf.RaggedTensor.from_tensor(phonemes, lengths).to_sparse(),
            inputs=scores,
            sequence_length=tf.fill([scores.shape[0]], scores.shape[1]),
            time_major=False,
            ignore_longer_outputs_than_inputs=True,
        )
        return tf.reduce_mean(losses / tf.cast(lengths, tf.float32))
