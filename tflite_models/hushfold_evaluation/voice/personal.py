"""Words that a speaker has taught, by the first 1, 3 or 5 takes of each; tested on takes 6 and later.

    closest    percent of the test takes to which the right word is the nearest, whatever the threshold
    accuracy   percent that are recognised as what they are at the product's threshold
    at 1 %     the same, with the threshold at which 1 % of foreign clips are taken for a taught word: one threshold for
               all speakers and words
    false accepts, percent of clips that are taken for a taught word at the product's threshold:
      foreign  clips of the base words, by speakers whom the base was not trained on, drawn for each speaker
      others   the same words, said by others
      untaught the speaker's own words, each while it is the one that is not taught

Figures are of all clips of all speakers, each of whom has as many; the worst speaker stands beside them. Intervals are
over speakers, with the threshold for 1 % as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..statistics import Estimate, resamples
from .clips import Clip
from .figures import FALSE_ACCEPTS, Share, overall, threshold_at, worst
from .recognisers import Guess, Teachable

TAKES = (1, 3, 5)
FIRST_TESTED = 5
"""Index of the first take that is tested on, of each word."""
FOREIGN, OTHERS = 300, 100
"""Clips drawn for each speaker, at most."""

Takes = Mapping[str, Sequence[Clip]]
"""Of one speaker, by word, in the order in which they were said."""


@dataclass(frozen=True, slots=True)
class PersonalTrial:
    """One speaker who has taught words by so many takes: guesses for clips of each kind.

    `own` are the test takes with whether the guess was right.
    """

    speaker: str
    takes: int
    own: tuple[tuple[bool, Guess], ...]
    foreign: tuple[Guess, ...]
    others: tuple[Guess, ...]
    untaught: tuple[Guess, ...]
    refused: int


@dataclass(frozen=True, slots=True)
class PersonalFigures:
    """Of all speakers, with so many takes; see the module. Percentages. `threshold` is the distance for 1 %."""

    takes: int
    speakers: int
    clips: int
    closest: Estimate
    accuracy: Estimate
    worst: float
    at_one_percent: Estimate
    worst_at_one_percent: float
    threshold: float
    foreign: Estimate
    others: Estimate
    untaught: Estimate
    others_at_one_percent: Estimate
    untaught_at_one_percent: Estimate
    refused: int
    by_speaker: dict[str, float]
    by_speaker_at_one_percent: dict[str, float]


def measure(
    teachable: Teachable, speaker: str, said: Takes, foreign: Sequence[Clip], others: Sequence[Clip], takes: int
) -> PersonalTrial:
    """Teach all words of a speaker and try them."""
    taught = teachable.teach({word: clips[:takes] for word, clips in said.items()})
    tested = [(word, clip) for word, clips in said.items() for clip in clips[FIRST_TESTED:]]
    own = []
    for word, clip in tested:
        guess = taught.guess(clip)
        own.append((guess.word == word, guess))
    untaught = []
    for word in said:
        rest = taught.without(word)
        untaught += [rest.guess(clip) for tested_word, clip in tested if tested_word == word]
    return PersonalTrial(
        speaker,
        takes,
        tuple(own),
        tuple(map(taught.guess, foreign)),
        tuple(map(taught.guess, others)),
        tuple(untaught),
        taught.refused,
    )


def figures(trials: Sequence[PersonalTrial], seed: int) -> PersonalFigures:
    """Of all speakers who taught words by the same number of takes."""
    samples = resamples(len(trials), seed)
    limit = threshold_at(FALSE_ACCEPTS, np.array([guess.distance for trial in trials for guess in trial.foreign]))
    right = [Share.of([hit and guess.accepted for hit, guess in trial.own]) for trial in trials]
    strict = [Share.of([hit and guess.distance <= limit for hit, guess in trial.own]) for trial in trials]
    return PersonalFigures(
        takes=trials[0].takes,
        speakers=len(trials),
        clips=sum(len(trial.own) for trial in trials),
        closest=overall([Share.of([hit for hit, _ in trial.own]) for trial in trials], samples),
        accuracy=overall(right, samples),
        worst=worst(right),
        at_one_percent=overall(strict, samples),
        worst_at_one_percent=worst(strict),
        threshold=limit,
        foreign=_accepted([trial.foreign for trial in trials], samples),
        others=_accepted([trial.others for trial in trials], samples),
        untaught=_accepted([trial.untaught for trial in trials], samples),
        others_at_one_percent=_within(limit, [trial.others for trial in trials], samples),
        untaught_at_one_percent=_within(limit, [trial.untaught for trial in trials], samples),
        refused=sum(trial.refused for trial in trials),
        by_speaker={trial.speaker: share.percent for trial, share in zip(trials, right, strict=True)},
        by_speaker_at_one_percent={trial.speaker: share.percent for trial, share in zip(trials, strict, strict=True)},
    )


def _accepted(guesses: Sequence[Sequence[Guess]], samples: NDArray[np.int64]) -> Estimate:
    return overall([Share.of([guess.accepted for guess in each]) for each in guesses], samples)


def _within(limit: float, guesses: Sequence[Sequence[Guess]], samples: NDArray[np.int64]) -> Estimate:
    return overall([Share.of([guess.distance <= limit for guess in each]) for each in guesses], samples)
