"""The SDK's keyboard, as an app embeds it, with a folder and a store of its own for each person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hushfold import Device, KeyFile

from .predictors import Predictor
from .protocol import SHOWN


class BaseKeyboard(Predictor):
    """What the shipped model suggests to someone whom it does not know: nothing is learned."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="hushfold-evaluation-")
        folder = Path(self._folder.name)
        self._device = Device(folder, KeyFile(folder / "key"))
        self._vocabulary = frozenset(self._device.files.vocabulary.words)

    def suggest(self, text_before: str) -> Sequence[str]:
        return [suggestion.text for suggestion in self._device.keyboard.suggest(text_before, SHOWN)]

    def probability(self, text_before: str, word: str) -> float:
        total = found = 0.0
        for suggestion in self._device.keyboard.suggest(text_before, 2 * len(self._vocabulary)):
            suggested = suggestion.text.lower()
            if suggested in self._vocabulary:
                total += suggestion.probability
                found += suggestion.probability * (suggested == word)
        return found / total if total else 0.0

    def close(self) -> None:
        self._device.close()
        self._folder.cleanup()
