"""Words for the suggestion bar: the next one, or the rest of the one being typed.

The model is read as text is typed: one step for each word that is finished. What it has read is kept with the state
after each word, so that a key that finishes no word costs a ranking and Backspace goes back instead of starting anew.
"""

from __future__ import annotations

import math
import re
import threading
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hushfold_format import FIRST_WORD, ModelFiles, Vocabulary, context_ids

from .model import State, SuggestionModel, Vector

CONTEXT_WORDS = 64
"""Words before the cursor that the model reads at most."""
_CONTEXT_STRIDE = 32  # words; the window moves in strides, so that most keys find what was read before
_CONTEXT_CHARACTERS = 512  # of the text before the cursor, the last 512 to 1,024 are looked at
_LONGEST_WORD = 64  # characters in which a space to cut at is looked for
_SPACE = re.compile(r"\s")

_SENTENCE_ENDS = tuple(".!?\u2026\u3002\uff01\uff1f\u061f\u0964")  # also Chinese, Arabic and Hindi
_CLOSING = "\"')]}\u201d\u2019\u00bb"
_LAST_CHARACTER = "\U0010ffff"
_TINY = np.finfo(np.float32).tiny


class Kind(StrEnum):
    """Where a suggestion belongs."""

    NEXT_WORD = "next_word"  # after the text
    COMPLETION = "completion"  # in place of the word that touches the cursor


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A word to offer, written as it should appear.

    `probability` is the model's: of the word coming next, or, for a completion, of the word among those that begin
    with what is typed.
    """

    text: str
    kind: Kind
    probability: float


class Suggester:
    """Suggestions of one model. Safe to share between threads; they read one after the other.

    Args:
        files: the model.
        vector: its weights, `[size]`.

    Raises:
        ModelError: the vector is not this model's.
    """

    def __init__(self, files: ModelFiles, vector: Vector) -> None:
        self.vocabulary = files.vocabulary
        self._words = _WordIndex(files.vocabulary)
        self._reader = _Reader(SuggestionModel(files, vector))

    def suggest(self, text_before_cursor: str, count: int = 3) -> list[Suggestion]:
        """At most `count` suggestions, best first: completions while a word is being typed, else next words.

        Only words are suggested: no special tokens, no punctuation, nor what is typed already. There may be none.

        Raises:
            ModelError: the runtime failed.
        """
        text = _tail(text_before_cursor)
        ids, partial = context_ids(text, self.vocabulary)
        typed = partial.lstrip("'")
        candidates = self._words.starting_with(typed.lower()) if typed else self._words.all
        if count < 1 or not len(candidates):
            return []
        probabilities = self._reader.read(_window(ids))[candidates]
        if partial:
            kind = Kind.COMPLETION
            probabilities = probabilities / max(np.float32(probabilities.sum()), _TINY)
        else:
            kind = Kind.NEXT_WORD
        starts_sentence = not typed and _starts_sentence(text)
        opening = partial[: len(partial) - len(typed)]
        suggestions = []
        for position in _largest(probabilities, count + 1):  # one may turn out to be what is typed
            word = _cased(self.vocabulary.surface(int(candidates[position])), typed, starts_sentence)
            if word != typed:
                suggestions.append(Suggestion(opening + word, kind, float(probabilities[position])))
        return suggestions[:count]


class _WordIndex:
    """The words of a vocabulary, findable by how they begin."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        entries = sorted(
            (word, FIRST_WORD + rank)
            for rank, word in enumerate(vocabulary.words)
            if vocabulary.is_word(FIRST_WORD + rank)
        )
        self._words = [word for word, _ in entries]
        self.all: NDArray[np.int64] = np.array([token_id for _, token_id in entries], np.int64)

    def starting_with(self, prefix: str) -> NDArray[np.int64]:
        """Ids of the words that begin with `prefix`, lower-case."""
        first = bisect_left(self._words, prefix)
        return self.all[first : bisect_left(self._words, prefix + _LAST_CHARACTER, first)]


class _Reader:
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


def _tail(text: str) -> str:
    """The end of a text, from a place that stays the same over many keys and is between words where there is one."""
    if len(text) <= 2 * _CONTEXT_CHARACTERS:
        return text
    start = (len(text) // _CONTEXT_CHARACTERS - 1) * _CONTEXT_CHARACTERS
    space = _SPACE.search(text, start, start + _LONGEST_WORD)
    return text[space.start() if space else start :]


def _window(ids: list[int]) -> list[int]:
    """At most `CONTEXT_WORDS` ids after the first, which marks the beginning and stays."""
    surplus = len(ids) - 1 - CONTEXT_WORDS
    if surplus <= 0:
        return ids
    dropped = math.ceil(surplus / _CONTEXT_STRIDE) * _CONTEXT_STRIDE
    return [ids[0], *ids[1 + dropped :]]


def _largest(values: NDArray[np.float32], count: int) -> list[int]:
    """Positions of the `count` largest values, largest first."""
    count = min(count, len(values))
    found = np.argpartition(values, -count)[-count:]
    order: list[int] = found[np.argsort(-values[found], kind="stable")].tolist()
    return order


def _starts_sentence(text: str) -> bool:
    """Whether the next word after `text` begins a sentence or a line."""
    written = text.rstrip()
    return not written or "\n" in text[len(written) :] or written.rstrip(_CLOSING).endswith(_SENTENCE_ENDS)


def _cased(word: str, typed: str, starts_sentence: bool) -> str:
    """`word` as it should appear: capitals that were typed are kept, and a sentence starts with one."""
    letters = [character for character in typed if character.isalpha()]
    if len(letters) > 1 and all(character.isupper() for character in letters):
        return word.upper()
    if starts_sentence or typed[:1].isupper():
        return word[:1].upper() + word[1:]
    return word
