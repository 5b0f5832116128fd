"""The SDK's keyboard as an app embeds it, with a folder and a store of its own for each person."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from hushfold import Device, KeyFile
from hushfold.conditions import SimulatedConditions
from hushfold.errors import NotEligible, TrainingDiverged
from hushfold.keyboard import Keyboard
from hushfold.lexicon import Lexicon
from hushfold.personal import load, served
from hushfold.suggestions import Habits, Suggester

from .predictors import Predictor
from .protocol import SHOWN


class BaseKeyboard(Predictor):
    """What a model suggests to someone whom it does not know: nothing is learned.

    Args:
        model: folder of the model's files; by default the shipped one.
    """

    def __init__(self, model: Path | None = None) -> None:
        self._folder = TemporaryDirectory(prefix="hushfold-evaluation-")
        folder = Path(self._folder.name)
        self._device = Device(
            folder, KeyFile(folder / "key"), conditions=SimulatedConditions(), dwell=0, model_folder=model
        )

    def suggest(self, text_before: str) -> Sequence[str]:
        return [suggestion.text for suggestion in self._suggestions().suggest(text_before, SHOWN)]

    def probability(self, text_before: str, word: str) -> float:
        of = self._suggestions().probability
        others = sum(of(text_before, own) for own in self._device.keyboard.lexicon.own)
        return of(text_before, word) / (1 - others)

    def close(self) -> None:
        self._device.close()
        self._folder.cleanup()

    def _suggestions(self) -> Keyboard | Suggester:
        return self._device.keyboard


class WordsKeyboard(BaseKeyboard):
    """The shipped weights, and what the user writes after what."""

    def learn(self, message: str) -> None:
        self._device.keyboard.learn(message)


class PersonalKeyboard(WordsKeyboard):
    """The same, and what a night makes of it: weights, word frequencies and blend, as far as the device's test goes."""

    def settle(self) -> None:
        with suppress(NotEligible, TrainingDiverged):  # as on a phone: what was served stays
            self._device.personalize()


class WeightsKeyboard(PersonalKeyboard):
    """Weights and word frequencies of the user's own alone: what they write after what counts for training only."""

    def settle(self) -> None:
        super().settle()
        released = self._device.weights()
        own = load(self._device.store, released.size)
        self._suggester = served(self._device.files, released, own, Habits(Lexicon(self._device.files.vocabulary)))

    def _suggestions(self) -> Suggester:
        return self._suggester
