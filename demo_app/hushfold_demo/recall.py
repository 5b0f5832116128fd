"""How often a phone suggests the word that its user writes next.

Words are compared lower-case; numbers, links and other placeholders are no targets. Suggestions are asked for before
the first letter of each word, with everything that stands before it in the message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hushfold_format import tokenize

Suggest = Callable[[str], Sequence[str]]
"""Words for a text before the cursor, best first."""


@dataclass(frozen=True, slots=True)
class Recall:
    """Counts, so that phones can be added up."""

    words: int = 0
    top1: int = 0  # of them, suggested first
    top3: int = 0  # of them, among the first three

    def __add__(self, other: Recall) -> Recall:
        return Recall(self.words + other.words, self.top1 + other.top1, self.top3 + other.top3)

    @property
    def top1_percent(self) -> float:
        """NaN without words."""
        return 100 * self.top1 / self.words if self.words else float("nan")

    @property
    def top3_percent(self) -> float:
        """NaN without words."""
        return 100 * self.top3 / self.words if self.words else float("nan")


def measure(suggest: Suggest, messages: Iterable[str]) -> Recall:
    """Recall of `suggest` on the words of some messages."""
    total = Recall()
    for message in messages:
        for token in tokenize(message):
            if not _is_word(token.text):
                continue
            suggested = [word.lower() for word in suggest(message[: token.start])[:3]]
            word = token.text.lower()
            total += Recall(1, int(suggested[:1] == [word]), int(word in suggested))
    return total


def _is_word(token: str) -> bool:
    return token[0].isalnum() or (token[0] == "'" and len(token) > 1)
