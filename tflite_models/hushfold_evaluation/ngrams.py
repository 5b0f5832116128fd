"""Counts of words, pairs and triples in sorted arrays: millions fit where dictionaries would fill the memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .protocol import is_word, tokens

Ids = NDArray[np.int64]

ORDER = 3
BEGIN = "<s>"
_LARGEST_VOCABULARY = 2**20  # so that a triple of ids fits into an int64


@dataclass(frozen=True, slots=True)
class _Level:
    """The n-grams of one length, each as one number, sorted, with their counts.

    The number of a triple (a, b, c) is (a * size + b) * size + c, so that all with one context stand together.
    """

    keys: Ids
    counts: Ids

    def following(self, context: int, size: int) -> tuple[Ids, Ids]:
        """Ids that came after a context, and how often."""
        low, high = np.searchsorted(self.keys, (context * size, (context + 1) * size))
        return self.keys[low:high] - context * size, self.counts[low:high]


@dataclass(frozen=True, slots=True)
class Ngrams:
    """What was seen after no, one and two words; make one with `count`. A message begins with two marks of that.

    Attributes:
        words: by id; what is not counted at all may be among them.
        by_frequency: ids of what was counted, the most frequent first, of equals the first seen.
        ids: of the words.
        is_word: of each id, whether it can be a target, `[words]`.
    """

    words: tuple[str, ...]
    by_frequency: Ids
    _levels: tuple[_Level, ...]  # by length of the context
    ids: Mapping[str, int] = field(init=False, repr=False)
    is_word: NDArray[np.bool_] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", {word: index for index, word in enumerate(self.words)})
        object.__setattr__(self, "is_word", np.array([is_word(word) for word in self.words], np.bool_))

    @classmethod
    def count(cls, messages: Iterable[str], known: Mapping[str, int] | None = None) -> Self:
        """Count messages.

        Args:
            known: words that have ids, consecutive from 0, and keep them; new words get the next ones.
        """
        ids = dict(known or {BEGIN: 0})
        sequences = [
            [ids.setdefault(token, len(ids)) for token in [BEGIN] * (ORDER - 1) + tokens(message)]
            for message in messages
        ]
        if len(ids) > _LARGEST_VOCABULARY:
            raise ValueError(f"{len(ids)} different words; {_LARGEST_VOCABULARY} can be counted")
        flat = np.fromiter(chain.from_iterable(sequences), np.int64)
        at = _targets([len(sequence) for sequence in sequences])
        keys = np.zeros(len(at), np.int64)
        levels = []
        for length in range(ORDER):  # of the context
            keys += flat[at - length] * len(ids) ** length
            found, counts = np.unique(keys, return_counts=True)
            levels.append(_Level(found, counts))
        found, first, counts = np.unique(flat[at], return_index=True, return_counts=True)
        return cls(tuple(ids), found[np.lexsort((first, -counts))], tuple(levels))

    def contexts(self, history: Sequence[int]) -> Iterator[tuple[Ids, Ids]]:
        """What followed nothing, the last word, the last two, where anything did: ids and counts.

        Args:
            history: ids of the last `ORDER - 1` words; -1 for one that has none.
        """
        size, context = len(self.words), 0
        for length in range(ORDER):
            if length:
                if history[-length] < 0:
                    return
                context += history[-length] * size ** (length - 1)
            ids, counts = self._levels[length].following(context, size)
            if len(ids):
                yield ids, counts

    def save(self, path: Path) -> None:
        """Write everything to a file that `load` reads."""
        arrays = {f"keys{length}": level.keys for length, level in enumerate(self._levels)}
        arrays |= {f"counts{length}": level.counts for length, level in enumerate(self._levels)}
        with path.open("wb") as file:
            np.savez(file, words=np.array("\n".join(self.words)), by_frequency=self.by_frequency, **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path) as file:
            levels = tuple(_Level(file[f"keys{length}"], file[f"counts{length}"]) for length in range(ORDER))
            return cls(tuple(str(file["words"]).split("\n")), file["by_frequency"], levels)


def _targets(lengths: Sequence[int]) -> Ids:
    """Positions, in sequences that follow one another, of all but the marks of a beginning."""
    counted = np.ones(sum(lengths), np.bool_)
    starts = np.cumsum([0, *lengths[:-1]], dtype=np.int64) if lengths else np.empty(0, np.int64)
    for mark in range(ORDER - 1):
        counted[starts + mark] = False
    return np.flatnonzero(counted)
