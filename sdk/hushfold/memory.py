"""What a user tends to write after what: counts of words, and of words after the one and the two before them.

Counted from the messages in the store and from nothing else, so that what is forgotten there is forgotten here.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hushfold_format import tokenize

from .lexicon import Lexicon

ORDER = 3
"""Words that an entry spans at most: the one that follows, and two before it."""
_BEGIN = ("<s>",) * (ORDER - 1)

Distribution = NDArray[np.float32]
Counts = NDArray[np.float32]


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

    def probability(
        self, model: Distribution, share: Distribution, shares: Distribution, after: Counts
    ) -> Distribution:
        """Of words, each in its context: what `NgramMemory.mix` gives them.

        Args:
            model: the model's, `[words]`.
            share, shares, after: what was seen of each of them, stacked: see `Sighting`.

        Returns:
            `[words]`.
        """
        mixed = (1 - self.words * shares) * model + self.words * share
        for length, trust in enumerate(self.trust):
            count, offered, different, total = after[..., length, :].T
            found = np.where(count > 0, count - self.discount, 0)
            mixed = mixed * (1 - (offered - self.discount * different) / (total + trust)) + found / (total + trust)
        return mixed


class Sighting(NamedTuple):
    """What was seen of one word, in one context, before it was written there.

    `share` is the word's part in all that was written and `shares` that of all words that can be offered. `after` has,
    after one word and after two: how often it followed, how often any word did that can be offered, how many different
    ones of these, and how often any at all, `[ORDER - 1, 4]`.
    """

    share: np.float32
    shares: np.float32
    after: Counts


class NgramMemory:
    """Counts of what follows what, in lower case. Safe to share between threads."""

    def __init__(self, messages: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._following: list[defaultdict[tuple[str, ...], Counter[str]]] = [defaultdict(Counter) for _ in range(ORDER)]
        self._frequencies: _Frequencies | None = None
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

    def sighting(self, context: Sequence[str], number: int, lexicon: Lexicon) -> Sighting:
        """What was seen so far of the word with this number of the lexicon, after a context as for `mix`."""
        with self._lock:
            seen = self._frequencies_in(lexicon)
            after = np.zeros((ORDER - 1, 4), np.float32)
            for row, following in zip(after, self._after(context), strict=True):
                if following is not None:
                    numbers, counts = self._offered(following, lexicon)
                    row[:] = counts[numbers == number].sum(), counts.sum(), len(counts), following.total()
            return Sighting(seen.share[number], seen.all, after)

    def _mixed(self, model: Distribution, context: Sequence[str], lexicon: Lexicon, blend: Blend) -> Distribution:
        seen = self._frequencies_in(lexicon)
        mixed: Distribution = (1 - np.float32(blend.words) * seen.all) * model
        mixed += np.float32(blend.words) * seen.share
        for following, trust in zip(self._after(context), blend.trust, strict=True):
            if following is not None:
                numbers, counts = self._offered(following, lexicon)
                found = (counts - np.float32(blend.discount)) / np.float32(following.total() + trust)
                mixed *= 1 - found.sum()
                mixed[numbers] += found
        return mixed

    def _after(self, context: Sequence[str]) -> list[Counter[str] | None]:
        """What was counted after the last word of a context, after the last two and so on; None if nothing was."""
        before = (*_BEGIN, *context)
        return [self._following[length].get(tuple(before[len(before) - length :])) for length in range(1, ORDER)]

    def _frequencies_in(self, lexicon: Lexicon) -> _Frequencies:
        if self._frequencies is None or self._frequencies.lexicon is not lexicon:
            numbers, counts = self._offered(self._following[0][()], lexicon)
            share = np.zeros(lexicon.size, np.float32)
            share[numbers] = (counts - np.float32(0.5)) / np.float32(self.words or 1)
            self._frequencies = _Frequencies(lexicon, share, share.sum())
        return self._frequencies

    @staticmethod
    def _offered(following: Counter[str], lexicon: Lexicon) -> tuple[NDArray[np.int64], Distribution]:
        """Numbers and counts of those words that may be suggested."""
        found: Counter[int] = Counter()
        for word, count in following.items():
            number = lexicon.number(word)
            if number is not None and lexicon.offered[number]:
                found[number] += count  # several spellings may share a number
        return np.fromiter(found.keys(), np.int64, len(found)), np.fromiter(found.values(), np.float32, len(found))


class _Frequencies(NamedTuple):
    """Share of each word in all that was counted, half a sighting less: what was seen once may not come again."""

    lexicon: Lexicon
    share: Distribution  # by number
    all: np.float32  # their sum
