"""Base words, said by speakers who were not trained on.

    accuracy   percent of the clips of base words that are recognised as what they are; one that is taken for nothing
               counts as missed
    worst      accuracy of the speaker with the lowest, among those with five clips or more
    foreign    percent of clips of other words, by speakers of other sets, that are taken for a base word

Intervals are over speakers. Peers have the same clips: pocketsphinx as it comes, and MFCC with a support-vector machine
that has learned from the speakers the base has learned from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..statistics import Estimate, resamples
from .clips import COMMANDS, Clip
from .figures import Share, overall, worst
from .recognisers import Commands

NOTHING = "nothing"
LEAST_CLIPS = 5
"""Clips that a speaker must have to be looked at alone."""


@dataclass(frozen=True, slots=True)
class Base:
    """What one recogniser makes of base words, and of other words.

    Attributes:
        confusions: clips of each word and what they were taken for, `[COMMANDS, COMMANDS + nothing]`.
        by_speaker: hits.
        foreign: what was taken for a base word, by speaker.
    """

    confusions: NDArray[np.int64]
    by_speaker: dict[str, Share]
    foreign: dict[str, Share]

    def accuracy(self, seed: int) -> Estimate:
        return _percent(self.by_speaker, seed)

    def accepted(self, seed: int) -> Estimate:
        """The figure `foreign`."""
        return _percent(self.foreign, seed)

    def missed(self) -> float:
        """Percent of the clips that were taken for nothing."""
        return 100 * float(self.confusions[:, -1].sum() / self.confusions.sum())

    def worst(self) -> float:
        return worst(list(self.by_speaker.values()), LEAST_CLIPS)


def measure(recogniser: Commands, clips: Sequence[Clip], foreign: Sequence[Clip]) -> Base:
    """Have a recogniser hear clips of base words, and of words that are none."""
    columns = (*COMMANDS, NOTHING)
    confusions = np.zeros((len(COMMANDS), len(columns)), np.int64)
    hits: dict[str, list[bool]] = {}
    for clip in clips:
        heard = recogniser.recognise(clip) or NOTHING
        confusions[COMMANDS.index(clip.word), columns.index(heard)] += 1
        hits.setdefault(clip.speaker, []).append(heard == clip.word)
    taken: dict[str, list[bool]] = {}
    for clip in foreign:
        taken.setdefault(clip.speaker, []).append(recogniser.recognise(clip) is not None)
    return Base(confusions, _shares(hits), _shares(taken))


def sample(clips: Sequence[Clip], most: int, seed: int) -> list[Clip]:
    """At most so many of the clips, drawn by the seed, in their order."""
    if len(clips) <= most:
        return list(clips)
    drawn = np.random.default_rng(seed).choice(len(clips), most, replace=False)
    return [clips[at] for at in np.sort(drawn)]


def _shares(truths: dict[str, list[bool]]) -> dict[str, Share]:
    return {speaker: Share.of(each) for speaker, each in truths.items()}


def _percent(shares: dict[str, Share], seed: int) -> Estimate:
    return overall(list(shares.values()), resamples(len(shares), seed))
