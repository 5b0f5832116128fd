"""Base words, said by speakers who were not trained on.

    closest    percent of the clips of base words to which the right one is the nearest, whatever the threshold
    accuracy   percent that are recognised as what they are at the product's threshold
    missed     percent that are taken for nothing
    worst      accuracy of the speaker with the lowest, among those with five clips or more
    foreign    percent of clips of other words, by speakers of other sets, that are taken for a base word
    at 1 %     accuracy at the threshold at which 1 % of these are
    alone      the same clips, their words cut out and put between silence (`composing.alone`)

Intervals are over speakers, with the threshold for 1 % as it is. Peers have the same clips: pocketsphinx as it comes,
and MFCC with a support-vector machine that has learned from the speakers the base has learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..statistics import Estimate, resamples
from .clips import COMMANDS, Clip
from .composing import alone
from .figures import FALSE_ACCEPTS, NO_ESTIMATE, Share, overall, threshold_at, worst
from .recognisers import Commands

NOTHING = "nothing"
LEAST_CLIPS = 5
"""Clips that a speaker must have to be looked at alone."""


@dataclass(frozen=True, slots=True)
class Alone:
    """What one recogniser makes of words without a room around them. Percentages; see the module."""

    closest: Estimate
    accuracy: Estimate
    foreign: Estimate


@dataclass(frozen=True, slots=True)
class Base:
    """What one recogniser makes of base words, and of other words; see the module. Percentages.

    Attributes:
        confusions: clips of each word and what they were taken for, `[COMMANDS, COMMANDS + nothing]`.
        by_speaker: accuracy.
        foreign_clips: how many there were.
        alone: of the same clips without their rooms.
    """

    confusions: NDArray[np.int64]
    by_speaker: dict[str, Share]
    closest: Estimate
    accuracy: Estimate
    missed: float
    worst: float
    foreign: Estimate
    at_one_percent: Estimate
    foreign_clips: int
    alone: Alone


def measure(recogniser: Commands, clips: Sequence[Clip], foreign: Sequence[Clip], seed: int) -> Base:
    """Have a recogniser hear clips of base words, and of words that are none; the seed is of the intervals."""
    guesses = [recogniser.guess(clip) for clip in clips]
    others = [recogniser.guess(clip) for clip in foreign]
    columns = (*COMMANDS, NOTHING)
    confusions = np.zeros((len(COMMANDS), len(columns)), np.int64)
    for clip, guess in zip(clips, guesses, strict=True):
        confusions[COMMANDS.index(clip.word), columns.index(guess.word if guess.accepted else NOTHING)] += 1
    hits = [guess.word == clip.word for clip, guess in zip(clips, guesses, strict=True)]
    right = _by_speaker(clips, [hit and guess.accepted for hit, guess in zip(hits, guesses, strict=True)])
    distances = np.array([guess.distance for guess in others])
    limit = threshold_at(FALSE_ACCEPTS, distances)
    strict = _by_speaker(clips, [hit and guess.distance <= limit for hit, guess in zip(hits, guesses, strict=True)])
    return Base(
        confusions,
        right,
        closest=_percent(_by_speaker(clips, hits), seed),
        accuracy=_percent(right, seed),
        missed=Share.of([not guess.accepted for guess in guesses]).percent,
        worst=worst(list(right.values()), LEAST_CLIPS),
        foreign=_percent(_by_speaker(foreign, [guess.accepted for guess in others]), seed),
        at_one_percent=NO_ESTIMATE if np.isnan(distances).any() else _percent(strict, seed),
        foreign_clips=len(foreign),
        alone=_alone(recogniser, clips, foreign, seed),
    )


def _alone(recogniser: Commands, clips: Sequence[Clip], foreign: Sequence[Clip], seed: int) -> Alone:
    guesses = [recogniser.guess(alone(clip)) for clip in clips]
    hits = [guess.word == clip.word for clip, guess in zip(clips, guesses, strict=True)]
    right = [hit and guess.accepted for hit, guess in zip(hits, guesses, strict=True)]
    accepted = [recogniser.guess(alone(clip)).accepted for clip in foreign]
    closest, accuracy = (_percent(_by_speaker(clips, truths), seed) for truths in (hits, right))
    return Alone(closest, accuracy, _percent(_by_speaker(foreign, accepted), seed))


def sample(clips: Sequence[Clip], most: int, seed: int) -> list[Clip]:
    """At most so many of the clips, drawn by the seed, in their order."""
    if len(clips) <= most:
        return list(clips)
    drawn = np.random.default_rng(seed).choice(len(clips), most, replace=False)
    return [clips[at] for at in np.sort(drawn)]


def _by_speaker(clips: Sequence[Clip], truths: Sequence[bool]) -> dict[str, Share]:
    grouped: dict[str, list[bool]] = {}
    for clip, truth in zip(clips, truths, strict=True):
        grouped.setdefault(clip.speaker, []).append(truth)
    return {speaker: Share.of(each) for speaker, each in grouped.items()}


def _percent(shares: dict[str, Share], seed: int) -> Estimate:
    return overall(list(shares.values()), resamples(len(shares), seed))
