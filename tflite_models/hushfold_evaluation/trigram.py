"""The yardstick: an interpolated trigram, and the same with the user's own trigram mixed in.

Absolute discounting, interpolated (Ney, Essen and Kneser 1994, Computer Speech and Language 8:1, section 3): a word
that followed a context c times of n gets (c - D) / n, and D t / n of the next shorter context's probability, where t
is the number of different words that followed.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from .ngrams import BEGIN, ORDER, Ids, Ngrams
from .predictors import Predictor
from .protocol import SHOWN, tokens

DISCOUNT = 0.75
UNSEEN = 5e-5
"""Probability that everything falls back to, of any one word."""
OWN_SHARE = 0.4
"""Of the user's own trigram in the mixture."""
_TOP = 80  # most frequent tokens of each model: those that are words are offered in every context
_TYPED = re.compile(r"[A-Za-z0-9']+$")
_LAST_CHARACTER = "\U0010ffff"

Array = NDArray[np.float64]


class TrigramModel:
    """Probabilities from counts.

    Args:
        counts: of the n-grams.
        size: ids that there are in all, at least those of `counts`.
    """

    def __init__(self, counts: Ngrams, size: int) -> None:
        self.counts = counts
        self._unigrams = np.full(size, UNSEEN)
        for seen in list(counts.contexts((-1,) * (ORDER - 1))):
            _interpolate(self._unigrams, *seen)
        top = counts.by_frequency[:_TOP]
        self._top = top[counts.is_word[top]]

    def read(self, history: Sequence[int]) -> tuple[Array, Ids]:
        """After the last `ORDER - 1` ids: the probability of every id, `[size]`, and the ids to offer."""
        probabilities = self._unigrams.copy()
        offered = [self._top]
        for ids, seen in list(self.counts.contexts(history))[1:]:
            _interpolate(probabilities, ids, seen)
            offered.append(ids[self.counts.is_word[ids]])
        return probabilities, np.concatenate(offered)


def _interpolate(probabilities: Array, ids: Ids, counts: Ids) -> None:
    total = int(counts.sum())
    probabilities *= DISCOUNT * len(ids) / total
    probabilities[ids] += (counts - DISCOUNT) / total


class Trigram(Predictor):
    """A trigram over lower-cased words; with `personal`, what the user writes is mixed in.

    Args:
        public: counts that are there from the beginning.
        vocabulary: lower-case words among which `probability` is.
    """

    def __init__(self, public: Ngrams, vocabulary: Collection[str], *, personal: bool) -> None:
        self._public = public
        self._vocabulary = vocabulary
        self._personal = personal
        self._messages: list[str] = []
        self._build()

    def learn(self, message: str) -> None:
        self._messages.append(message)

    def settle(self) -> None:
        if self._personal:
            self._build()

    def suggest(self, text_before: str) -> Sequence[str]:
        typed = _TYPED.search(text_before)
        probabilities, offered = self._read(text_before[: typed.start()] if typed else text_before)
        if typed:
            offered = self._starting_with(typed.group().lower())
        best = offered[np.argsort(-probabilities[offered], kind="stable")[:SHOWN]]
        return [self._words[index] for index in best]

    def probability(self, text_before: str, word: str) -> float:
        probabilities, _ = self._read(text_before)
        return float(probabilities[self._ids[word]] / probabilities[self._known].sum())

    def _build(self) -> None:
        known = dict(self._public.ids)
        for word in self._vocabulary:
            known.setdefault(word, len(known))
        own = Ngrams.count(self._messages if self._personal else (), known)
        self._ids, self._words = own.ids, own.words
        self._known = np.array([self._ids[word] for word in self._vocabulary], np.int64)
        size = len(own.words)
        public = TrigramModel(self._public, size)
        self._mixed = [(public, 1.0)]
        if self._personal:
            self._mixed = [(public, 1 - OWN_SHARE), (TrigramModel(own, size), OWN_SHARE)]
        counted = {*self._public.by_frequency.tolist(), *own.by_frequency.tolist()}
        self._sorted = sorted((own.words[index], index) for index in counted if own.is_word[index])

    def _read(self, text: str) -> tuple[Array, Ids]:
        """After a text: the probability of every id, and the ids to offer where nothing is typed, sorted."""
        history = [self._ids.get(token, -1) for token in [BEGIN] * (ORDER - 1) + tokens(text)][1 - ORDER :]
        probabilities = np.zeros(len(self._words))
        offered = []
        for model, share in self._mixed:
            its, ids = model.read(history)
            probabilities += share * its
            offered.append(ids)
        return probabilities, np.unique(np.concatenate(offered))

    def _starting_with(self, prefix: str) -> Ids:
        low, high = (bisect_left(self._sorted, (end,)) for end in (prefix, prefix + _LAST_CHARACTER))
        return np.array([index for _, index in self._sorted[low:high]], np.int64)
