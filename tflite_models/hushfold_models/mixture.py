"""What an epoch is made of: every source at its weight, and messages respelt as people text them, anew each time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from .corpus import Source
from .texting import respell

RESPELT = 0.4
"""Share of the messages that nobody texted which are respelt."""


class Mixture:
    """The texts to train on, epoch by epoch: the same for the same seed.

    Args:
        texts: messages of each source.
        seed: of what is left out and respelt.
    """

    def __init__(self, texts: Mapping[Source, Sequence[str]], seed: int) -> None:
        self._texts = texts
        self._seed = seed

    def epoch(self, number: int) -> list[str]:
        """Messages of an epoch, one source after the other."""
        chance = random.Random(self._seed * 1000 + number)
        return [text for source, texts in self._texts.items() for text in self._read(source, texts, chance)]

    @staticmethod
    def _read(source: Source, texts: Sequence[str], chance: random.Random) -> Iterator[str]:
        for text in texts:
            for _ in range(int(source.times + chance.random())):
                yield text if source.texted or chance.random() >= RESPELT else respell(text, chance)
