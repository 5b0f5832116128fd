"""Reading a text word by word, as it is typed.

One step of the model for each word that is finished. What was read is kept with the state after each word, so that a
key that finishes no word costs no step, and Backspace goes back instead of starting anew.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .model import State, SuggestionModel

CONTEXT_WORDS = 64
"""Words before the cursor that the model reads at most."""
_CONTEXT_STRIDE = 32  # words; the window moves in strides, so that most keys find what was read before
_CONTEXT_CHARACTERS = 512  # of the text before the cursor, the last 512 to 1,024 are looked at
_LONGEST_WORD = 64  # characters in which a space to cut at is looked for
_SPACE = re.compile(r"\s")


class Reader:
    """Feeds token ids to the model, and goes on from what it has read before."""

    def __init__(self, model: SuggestionModel) -> None:
        self._model = model
        self._lock = threading.Lock()
        self._ids: list[int] = []
        self._states: list[State] = []  # after each of the ids
        self._probabilities: NDArray[np.float32] = np.empty(0, np.float32)  # after the last of them

    def read(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Probabilities of the token after `ids`, which are not empty: `[vocabulary]`, not to be changed."""
        with self._lock:
            if ids != self._ids:
                try:
                    self._go_on(ids)
                except BaseException:
                    self._forget_after(0)
                    raise
            return self._probabilities

    def _go_on(self, ids: Sequence[int]) -> None:
        both = min(len(ids), len(self._ids))
        known = next((at for at in range(both) if ids[at] != self._ids[at]), both)
        self._forget_after(min(known, len(ids) - 1))  # the last one is read again, for its probabilities
        for token_id in ids[len(self._ids) :]:
            state = self._states[-1] if self._states else self._model.initial_state()
            self._probabilities, state = self._model.step(token_id, state)
            self._ids.append(token_id)
            self._states.append(state)

    def _forget_after(self, length: int) -> None:
        del self._ids[length:]
        del self._states[length:]


def tail(text: str) -> str:
    """The end of a text, from a place that stays the same over many keys and is between words where there is one."""
    if len(text) <= 2 * _CONTEXT_CHARACTERS:
        return text
    start = (len(text) // _CONTEXT_CHARACTERS - 1) * _CONTEXT_CHARACTERS
    space = _SPACE.search(text, start, start + _LONGEST_WORD)
    return text[space.start() if space else start :]


def window(ids: Sequence[int]) -> Sequence[int]:
    """At most `CONTEXT_WORDS` ids after the first, which marks the beginning and stays."""
    surplus = len(ids) - 1 - CONTEXT_WORDS
    if surplus <= 0:
        return ids
    dropped = math.ceil(surplus / _CONTEXT_STRIDE) * _CONTEXT_STRIDE
    return [ids[0], *ids[1 + dropped :]]
