"""Every word that can be offered, by number: the model's ids first, then the user's own words."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from hushfold_format import FIRST_WORD, Vocabulary

_LAST_CHARACTER = "\U0010ffff"
_NONE: Mapping[str, str] = MappingProxyType({})


class Lexicon:
    """The words of a vocabulary, and what a user adds to them and takes away. Immutable.

    Args:
        vocabulary: the model's.
        own: words that it does not have, lower-case, as the user writes them.
        forms: how the user writes words, own ones or not, where that differs from the usual.
        hidden: lower-case words that are not offered.

    Attributes:
        vocabulary: the model's.
        own: the user's words, in the order of their numbers.
        size: of the numbers: ids of the model, then those of own words.
        offered: whether each number may be suggested, `[size]`: no special tokens, no punctuation, nothing hidden.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        own: Mapping[str, str] = _NONE,
        forms: Mapping[str, str] = _NONE,
        hidden: Collection[str] = (),
    ) -> None:
        self.vocabulary = vocabulary
        self.own = tuple(word for word in own if word not in vocabulary)
        self._own_ids = {word: len(vocabulary) + rank for rank, word in enumerate(self.own)}
        self._forms = {**own, **forms}
        self.size = len(vocabulary) + len(self.own)
        self.offered: NDArray[np.bool_] = np.ones(self.size, np.bool_)
        self.offered[: len(vocabulary)] = [vocabulary.is_word(token_id) for token_id in range(len(vocabulary))]
        for word in hidden:
            if (number := self.number(word)) is not None:
                self.offered[number] = False
        model_words = [
            (vocabulary.words[int(i) - FIRST_WORD], int(i)) for i in np.flatnonzero(self.offered) if i < len(vocabulary)
        ]
        entries = sorted([*model_words, *((word, i) for word, i in self._own_ids.items() if self.offered[i])])
        self._sorted = [word for word, _ in entries]
        self._numbers: NDArray[np.int64] = np.array([number for _, number in entries], np.int64)

    def number(self, word: str) -> int | None:
        """Number of a lower-case word; None for what is neither the model's nor the user's."""
        found = self._own_ids.get(word)
        if found is None:
            token_id = self.vocabulary.encode_word(word)
            found = token_id if token_id >= FIRST_WORD else None
        return found

    def word(self, number: int) -> str:
        """The word of a number, lower-case."""
        known = len(self.vocabulary)
        return self.own[number - known] if number >= known else self.vocabulary.words[number - FIRST_WORD]

    def is_own(self, number: int) -> bool:
        """Whether the user brought the word, not the model."""
        return number >= len(self.vocabulary)

    def written(self, number: int) -> str:
        """The word of a number as this user writes it, or else as people do."""
        word = self.word(number)
        return self._forms.get(word) or (word if number >= len(self.vocabulary) else self.vocabulary.surface(number))

    def starting_with(self, prefix: str) -> NDArray[np.int64]:
        """Numbers of the offered words that begin with `prefix`, lower-case."""
        first = bisect_left(self._sorted, prefix)
        return self._numbers[first : bisect_left(self._sorted, prefix + _LAST_CHARACTER, first)]
