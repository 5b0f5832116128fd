"""What can be measured: anything that suggests words."""

from __future__ import annotations

from collections.abc import Sequence


class Predictor:
    """Suggests words to one person, and may learn from what they write. Close it after use.

    Derive from it and write `suggest`; the other methods do nothing until they are written.
    """

    def suggest(self, text_before: str) -> Sequence[str]:
        """Words for the place after a text, best first: next ones or, if it ends within a word, whole words for it."""
        raise NotImplementedError

    def learn(self, message: str) -> None:
        """Take note of a message that the person has sent."""

    def settle(self) -> None:
        """Do what is left to do with the messages so far, as a phone does at night."""

    def probability(self, text_before: str, word: str) -> float | None:
        """Of the lower-case `word`, among those of the base's vocabulary; None if this predictor has no such thing."""
        return None

    def close(self) -> None:
        """Let go of files and libraries."""
