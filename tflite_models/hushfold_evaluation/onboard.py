"""The word prediction of Onboard, the on-screen keyboard of Debian's MATE, driven without a display.

Its n-gram models are a C++ extension of Python, `pypredict`, that needs nothing of the rest. They are put together as
Onboard does: a general model, here trained on the public texts, overlaid with one that the user fills and that prefers
what was written of late. The parameters are those of Onboard's WPEngine.py (version 1.4.1).
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from .predictors import Predictor
from .protocol import SHOWN

PACKAGES = ("onboard",)
_PACKAGE = Path("/usr/lib/python3/dist-packages/Onboard/pypredict")
_ORDER = 3
_SENTENCE = ". "  # in front of a text: that it begins a sentence
_MORE = 8  # times the suggestions shown, since some differ in case alone


def missing() -> bool:
    """Whether it is not installed, or built for another Python."""
    return not (_PACKAGE / f"lm{sysconfig.get_config_var('EXT_SUFFIX')}").exists()


def train(messages: Iterable[str], path: Path) -> None:
    """Make a general model from messages."""
    pypredict = _pypredict()
    model = pypredict.DynamicModel(_ORDER)
    ngrams: Counter[tuple[str, ...]] = Counter()
    for message in messages:
        tokens, _ = pypredict.tokenize_text(_SENTENCE + message)
        for at in range(len(tokens)):
            for length in range(1, min(_ORDER, len(tokens) - at) + 1):
                ngram = tuple(tokens[at : at + length])
                if "<s>" not in ngram[1:] and "<unk>" not in ngram:  # Onboard learns across neither
                    ngrams[ngram] += 1
    for ngram, count in ngrams.items():
        model.count_ngram(list(ngram), count, True)
    model.save(str(path))


class Onboard(Predictor):
    """Onboard's prediction with a general model made by `train`."""

    def __init__(self, path: Path) -> None:
        self._pypredict = _pypredict()
        general = _general(path)
        self._own = self._pypredict.CachedDynamicModel(_ORDER)
        for model in (general, self._own):
            model.smoothing = "abs-disc"
        self._own.recency_ratio = 0.811
        self._own.recency_halflife = 96
        self._own.recency_smoothing = "jelinek-mercer"
        self._own.recency_lambdas = [0.404, 0.831, 0.444]
        self._model = self._pypredict.overlay([general, self._own])

    def learn(self, message: str) -> None:
        tokens, _ = self._pypredict.tokenize_text(_SENTENCE + message)
        self._own.learn_tokens([token.removesuffix("'") or "<unk>" for token in tokens])

    def suggest(self, text_before: str) -> Sequence[str]:
        context, _ = self._pypredict.tokenize_context(_SENTENCE + text_before)
        found = self._model.predict(context, _MORE * SHOWN, options=self._pypredict.LanguageModel.CASE_INSENSITIVE)
        return list(dict.fromkeys(word.lower() for word in found if not word.startswith("<")))[:SHOWN]


@cache
def _general(path: Path) -> Any:
    model = _pypredict().DynamicModel()
    model.load(str(path))
    return model


@cache
def _pypredict() -> Any:
    """Onboard's package, from where Debian installs it."""
    spec = importlib.util.spec_from_file_location(
        "pypredict", _PACKAGE / "__init__.py", submodule_search_locations=[str(_PACKAGE)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"no package at {_PACKAGE}")
    path = list(sys.path)
    module = sys.modules["pypredict"] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = path  # it adds its own folder, which has modules of common names
    return module
