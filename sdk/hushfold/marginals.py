"""How often a user writes each word, against how often the model expects them to.

A model of other people expects their words: some far too often, some too seldom, whatever the context. Each word's
probability is therefore multiplied by the ratio of the two: unigram rescaling, the first step of Kneser, Peters and
Klakow 1997 (Eurospeech, "Language Model Adaptation Using Dynamic Marginals").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hushfold_format import BEGIN, FIRST_WORD

from .model import SuggestionModel

PRIOR = 2.0
"""Sightings that are added to both counts, so that few of them change little."""


def scales(model: SuggestionModel, messages: Iterable[Sequence[int]], size: int) -> NDArray[np.float32]:
    """By what the model's probability of each token is to be multiplied, `[vocabulary]`.

    Args:
        model: as it is served.
        messages: token ids of each, without the mark of its beginning. What the vocabulary does not have is context
            only.
        size: of the vocabulary.
    """
    seen, expected = np.zeros(size), np.zeros(size)
    for ids in messages:
        token_id, state = BEGIN, model.initial_state()
        for following in ids:
            probabilities, state = model.step(token_id, state)
            if following >= FIRST_WORD:
                seen[following] += 1
                expected += probabilities
            token_id = following
    ratio: NDArray[np.float32] = ((seen + PRIOR) / (expected + PRIOR)).astype(np.float32)
    return ratio
