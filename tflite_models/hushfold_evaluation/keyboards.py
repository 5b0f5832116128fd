"""The SDK's keyboard as an app embeds it, with a folder and a store of its own for each person."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hushfold import Device, KeyFile, Suggestion
from hushfold.conditions import SimulatedConditions
from hushfold.errors import NotEligible, TrainingDiverged
from hushfold.personal import load
from hushfold.suggestions import Suggester

from .predictors import Predictor
from .protocol import SHOWN


class BaseKeyboard(Predictor):
    """What the shipped model suggests to someone whom it does not know: nothing is learned."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="hushfold-evaluation-")
        folder = Path(self._folder.name)
        self._device = Device(folder, KeyFile(folder / "key"), conditions=SimulatedConditions(), dwell=0)
        self._vocabulary = frozenset(self._device.files.vocabulary.words)

    def suggest(self, text_before: str) -> Sequence[str]:
        return [suggestion.text for suggestion in self._suggestions(text_before, SHOWN)]

    def probability(self, text_before: str, word: str) -> float:
        total = found = 0.0
        for suggestion in self._suggestions(text_before, 2 * len(self._vocabulary)):
            suggested = suggestion.text.lower()
            if suggested in self._vocabulary:
                total += suggestion.probability
                found += suggestion.probability * (suggested == word)
        return found / total if total else 0.0

    def close(self) -> None:
        self._device.close()
        self._folder.cleanup()

    def _suggestions(self, text_before: str, count: int) -> list[Suggestion]:
        return self._device.keyboard.suggest(text_before, count)


class WordsKeyboard(BaseKeyboard):
    """The shipped weights, and what the user writes after what."""

    def learn(self, message: str) -> None:
        self._device.keyboard.learn(message)


class PersonalKeyboard(WordsKeyboard):
    """The same, and weights of the user's own, if the device's own test has found them better."""

    def settle(self) -> None:
        with suppress(NotEligible, TrainingDiverged):  # as on a phone: what was served stays
            self._device.personalize()


class WeightsKeyboard(PersonalKeyboard):
    """The weights of the user's own alone: what they write after what counts for training only."""

    def settle(self) -> None:
        super().settle()
        released = self._device.weights()
        own = load(self._device.store, released.size)
        self._suggester = Suggester(self._device.files, own.applied(released) if own else released)

    def _suggestions(self, text_before: str, count: int) -> list[Suggestion]:
        return self._suggester.suggest(text_before, count)
