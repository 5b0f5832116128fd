"""What a user tends to write after what: counts of words, and of words after the one and the two before them.

Counted from the messages in the store and from nothing else, so that what is forgotten there is forgotten here.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hushfold_format import tokenize

from .lexicon import Lexicon

ORDER = 3
"""Words that an entry spans at most: the one that follows, and two before it."""
_BEGIN = ("<s>",) * (ORDER - 1)

Distribution = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Blend:
    """How much a user's own habits count beside the model.

    `words` is the share of the user's own word frequencies in the distribution that everything falls back to. In a
    context that was seen n times, with t different words after it, a word that came after it c times gets (c -
    discount) / (n + trust), and the rest, (trust + discount t) / (n + trust), goes to the next shorter context. These
    are the predictions of the Pitman-Yor language model (Teh 2006, ACL, equation 3) with one table for each word.
    """

    words: float = 0.4
    discount: float = 0.8
    trust: tuple[float, ...] = (3.0, 3.0)  # after one word, after two: the larger, the later it is believed


class NgramMemory:
    """Counts of what follows what, in lower case. Safe to share between threads."""

    def __init__(self, messages: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._following: list[defaultdict[tuple[str, ...], Counter[str]]] = [defaultdict(Counter) for _ in range(ORDER)]
        self._frequencies: tuple[Lexicon, Distribution] | None = None
        for message in messages:
            self.add(message)

    def add(self, message: str) -> None:
        """Count a message. Names, numbers, links and addresses are context only, as they are for the model."""
        tokens = [*_BEGIN, *(token.text.lower() for token in tokenize(message))]
        with self._lock:
            for at in range(len(_BEGIN), len(tokens)):
                if tokens[at][0].isalnum() or tokens[at][0] == "'":
                    for length in range(ORDER):
                        self._following[length][tuple(tokens[at - length : at])][tokens[at]] += 1
            self._frequencies = None

    def count(self, word: str) -> int:
        """How often a lower-case word was written."""
        with self._lock:
            return self._following[0][()][word]

    @property
    def words(self) -> int:
        """Words counted."""
        return self._following[0][()].total()

    def mix(self, model: Distribution, context: Sequence[str], lexicon: Lexicon, blend: Blend) -> Distribution:
        """The model's distribution with what this user writes mixed in.

        Args:
            model: of the word that comes next, `[size of the lexicon]`, of sum 1.
            context: the tokens before it, lower-case, from the beginning of the text.

        Returns:
            another array of the same shape and sum.
        """
        with self._lock:
            return self._mixed(model, context, lexicon, blend) if self.words else model

    def _mixed(self, model: Distribution, context: Sequence[str], lexicon: Lexicon, blend: Blend) -> Distribution:
        frequencies = self._frequencies_in(lexicon)
        mixed: Distribution = (1 - np.float32(blend.words * frequencies.sum())) * model
        mixed += np.float32(blend.words) * frequencies
        before = (*_BEGIN, *context)
        for length in range(1, ORDER):
            following = self._following[length].get(tuple(before[len(before) - length :]))
            if following is None:
                continue
            numbers, counts = self._offered(following, lexicon)
            found = (counts - np.float32(blend.discount)) / np.float32(following.total() + blend.trust[length - 1])
            mixed *= 1 - found.sum()
            mixed[numbers] += found
        return mixed

    def _frequencies_in(self, lexicon: Lexicon) -> Distribution:
        """Share of each word in all that was counted, half a sighting less: what was seen once may not come again."""
        if self._frequencies is None or self._frequencies[0] is not lexicon:
            numbers, counts = self._offered(self._following[0][()], lexicon)
            shares = np.zeros(lexicon.size, np.float32)
            shares[numbers] = (counts - np.float32(0.5)) / np.float32(self.words)
            self._frequencies = (lexicon, shares)
        return self._frequencies[1]

    @staticmethod
    def _offered(following: Counter[str], lexicon: Lexicon) -> tuple[NDArray[np.int64], Distribution]:
        """Numbers and counts of those words that may be suggested."""
        found: Counter[int] = Counter()
        for word, count in following.items():
            number = lexicon.number(word)
            if number is not None and lexicon.offered[number]:
                found[number] += count  # several spellings may share a number
        return np.fromiter(found.keys(), np.int64, len(found)), np.fromiter(found.values(), np.float32, len(found))
