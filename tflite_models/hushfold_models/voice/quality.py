"""How well weights recognise speakers that they were not trained on, and how often noise is taken for a command."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.stats import chi2

from hushfold_format.logmel import SAMPLE_RATE, log_mel

from ..quality import Estimate
from .clips import Clip
from .config import COMMANDS, LABELS, VoiceConfig, split
from .network import logits

_RESAMPLES = 2000
_SEED = 1  # of the intervals
_SURE = 0.6  # probability above which the SDK takes a command for said
_HOP = SAMPLE_RATE // 10  # samples between two windows of noise
_LEVELS = (0.02, 0.1, 0.5)  # peaks at which each noise is heard


@dataclass(frozen=True, slots=True)
class Figures:
    """Quality on held-out speakers and noise.

    `accuracy` is the share of the clips whose most probable label is right, with a 95 % interval over speakers;
    `confusion[said][heard]` counts clips by label; `speakers` are the accuracies of those with at least three clips.
    `alarms` counts commands heard in `noise_hours` of noise, and `alarms_per_hour_at_most` is the upper end of the 95 %
    interval of a Poisson rate.
    """

    clips: int
    accuracy: Estimate
    speakers: list[float]
    confusion: list[list[int]]
    noise_hours: float
    alarms: int
    alarms_per_hour_at_most: float

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Inverse of `dataclasses.asdict`."""
        return cls(**{**document, "accuracy": Estimate(**document["accuracy"])})


def measure(
    config: VoiceConfig, vector: NDArray[np.float32], spoken: Sequence[Clip], noises: Sequence[NDArray[np.float32]]
) -> Figures:
    """Recognise every clip and listen to all noise."""
    parameters = {name: tf.constant(value) for name, value in split(config, vector).items()}

    def probabilities(sounds: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        features = np.stack([log_mel(sound) for sound in sounds])
        return tf.nn.softmax(logits(config, parameters, tf.constant(features))).numpy()

    confusion = np.zeros((len(COMMANDS), len(LABELS)), int)
    by_speaker: defaultdict[str, list[bool]] = defaultdict(list)
    for clip, heard in zip(spoken, probabilities([clip.pcm for clip in spoken]).argmax(axis=1), strict=True):
        said = LABELS.index(clip.label)
        confusion[said, heard] += 1
        by_speaker[clip.speaker].append(bool(said == heard))
    alarms, samples = 0, 0
    for noise in noises:
        for level in _LEVELS:
            sound = noise * np.float32(level / max(float(np.abs(noise).max()), 1e-6))
            starts = range(0, len(sound) - SAMPLE_RATE + 1, _HOP)
            each = probabilities([sound[at : at + SAMPLE_RATE] for at in starts])[:, : len(COMMANDS)].max(axis=1)
            # An alarm is a run of windows: neighbours overlap.
            alarms += int(each[0] >= _SURE) + sum(bool(before < _SURE <= after) for before, after in pairwise(each))
            samples += len(sound)
    hours = samples / SAMPLE_RATE / 3600
    return Figures(
        clips=len(spoken),
        accuracy=_over_speakers(list(by_speaker.values())),
        speakers=sorted(float(np.mean(right)) for right in by_speaker.values() if len(right) >= 3),
        confusion=confusion.tolist(),
        noise_hours=hours,
        alarms=alarms,
        alarms_per_hour_at_most=float(chi2.ppf(0.975, 2 * alarms + 2) / 2 / hours),
    )


def _over_speakers(right: Sequence[Sequence[bool]]) -> Estimate:
    """Share of right clips, and its interval by resampling speakers."""
    sums = np.array([(sum(each), len(each)) for each in right])
    drawn = np.random.default_rng(_SEED).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), _RESAMPLES) @ sums
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], (2.5, 97.5))
    return Estimate(float(sums[:, 0].sum() / sums[:, 1].sum()), float(low), float(high))
