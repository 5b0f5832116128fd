"""Base words that are digits, before and after a speaker's own recordings of them.

Of each speaker the first 1, 3 and 5 takes of zero, one, five and eight are said and then confirmed or corrected, as a
user would; takes 6 and later are the test. Error is the percent of test takes that are not recognised as what they are,
nothing among them. `ratio` is the error after over the error before, of the same takes. `other digits` are those that
are no base words, takes 6 and later: the percent that is taken for one must not grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..statistics import Estimate, resamples
from .clips import COMMANDS
from .figures import NO_ESTIMATE, Share, overall, ratio
from .personal import FIRST_TESTED, TAKES, Takes
from .recognisers import Corrected

BEFORE = 0  # takes


@dataclass(frozen=True, slots=True)
class DigitTrial:
    """One speaker, after so many takes of each word: test takes that were not recognised, and other digits that were
    taken for a base word."""

    speaker: str
    takes: int
    errors: Share
    others: Share


@dataclass(frozen=True, slots=True)
class DigitFigures:
    """Of all speakers, after so many takes. Percentages, but for `ratio`."""

    takes: int
    speakers: int
    clips: int
    error: Estimate
    ratio: Estimate
    others: Estimate
    by_speaker: dict[str, float]


def measure(corrected: Corrected, speaker: str, said: Takes) -> list[DigitTrial]:
    """One speaker before, and after more and more takes."""
    own = {word: takes for word, takes in said.items() if word in COMMANDS}
    others = [clip for word, takes in said.items() if word not in COMMANDS for clip in takes[FIRST_TESTED:]]
    trials = []
    given = 0
    for count in (BEFORE, *TAKES):
        for word, takes in own.items():
            for clip in takes[given:count]:
                corrected.correct(clip, word)
        given = count
        errors = [corrected.recognise(clip) != word for word, takes in own.items() for clip in takes[FIRST_TESTED:]]
        taken = [corrected.recognise(clip) is not None for clip in others]
        trials.append(DigitTrial(speaker, count, Share.of(errors), Share.of(taken)))
    return trials


def figures(trials: Sequence[DigitTrial], seed: int) -> list[DigitFigures]:
    """Of all speakers, for each number of takes."""
    by_takes = {count: [trial for trial in trials if trial.takes == count] for count in (BEFORE, *TAKES)}
    before = [trial.errors for trial in by_takes[BEFORE]]
    samples = resamples(len(before), seed)
    found = []
    for count, some in by_takes.items():
        errors = [trial.errors for trial in some]
        found.append(
            DigitFigures(
                takes=count,
                speakers=len(some),
                clips=sum(share.clips for share in errors),
                error=overall(errors, samples),
                ratio=ratio(errors, before, samples) if count else NO_ESTIMATE,
                others=overall([trial.others for trial in some], samples),
                by_speaker={trial.speaker: trial.errors.percent for trial in some},
            )
        )
    return found
