"""Words for the suggestion bar: the next one, the rest of the one being typed, or what it is a slip of.

A word's rank is its probability in context, the model's with the user's habits mixed in, times the probability of
having typed for it what was typed: the noisy channel of Kernighan, Church and Gale 1990 (COLING).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from hushfold_format import FIRST_WORD, NextWordFiles, Vocabulary, context_ids

from .lexicon import Lexicon
from .memory import Blend, Distribution, NgramMemory
from .model import SuggestionModel, Vector
from .reading import Reader, tail, window
from .spelling import LONGEST, Speller

_FEWEST_FOR_SLIPS = 2  # letters from which on a word may be a slip of another
_BEGUN = 4  # letters before which a word is more likely to go on than to be a slip ...
_EARLY = 1.0  # ... by this many nats for each letter that is not there yet
_UNLIKELY = 0.005  # corrections below this probability are noise, not help
_MISSED_SPACE = 0.02  # probability
_NEW_WORD = 0.05  # probability of a word that nobody knows yet; each of its letters may be any
_ONE_LETTER_WORDS = ("a", "i", "u")
_SENTENCE_ENDS = tuple(".!?\u2026\u3002\uff01\uff1f\u061f\u0964")  # also Chinese, Arabic and Hindi
_CLOSING = "\"')]}\u201d\u2019\u00bb"
_TINY = np.finfo(np.float32).tiny


class Kind(StrEnum):
    """Where a suggestion belongs, and what it is."""

    NEXT_WORD = "next_word"  # after the text
    COMPLETION = "completion"  # in place of the word that touches the cursor, which it begins with
    CORRECTION = "correction"  # in place of the word that touches the cursor, which may be a slip of it


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A word to offer, written as it should appear.

    `probability` is that of the word coming next or, while a word is being typed, of this being what is meant, among
    all words that could be. `own` says that the user, not the model, brought it.
    """

    text: str
    kind: Kind
    probability: float
    own: bool = False


@dataclass(frozen=True, slots=True)
class Habits:
    """What is known of the user: their words, what they write after what, and how much that counts.

    Attributes:
        lexicon: the words that can be offered.
        memory: what the user writes after what.
        blend: how much that counts.
        trusted: lower-case words of the user's own that are never taken for slips.
        scales: by which the model's probability of each token is multiplied for this user, `[vocabulary]`; see
            `marginals`. None leaves them as they are.
    """

    lexicon: Lexicon
    memory: NgramMemory = field(default_factory=NgramMemory)
    blend: Blend = field(default_factory=Blend)
    trusted: Collection[str] = ()
    scales: Distribution | None = None


class Suggester:
    """Suggestions of one model for one user. Safe to share between threads; they read one after the other.

    Args:
        files: the model.
        vector: its weights, `[size]`.
        habits: of the user; by default nothing is known.

    Raises:
        ModelError: the vector is not this model's.
    """

    def __init__(self, files: NextWordFiles, vector: Vector, habits: Habits | None = None) -> None:
        self.vocabulary = files.vocabulary
        self._reader = Reader(SuggestionModel(files, vector))
        self._model_speller = Speller([_spelt(files.vocabulary, token_id) for token_id in range(len(files.vocabulary))])
        self.habits = habits or Habits(Lexicon(files.vocabulary))

    @property
    def habits(self) -> Habits:
        """What is known of the user; exchanged as a whole, between two suggestions."""
        return self._known.habits

    @habits.setter
    def habits(self, habits: Habits) -> None:
        scales = habits.lexicon.offered[: len(self.vocabulary)].astype(np.float32)
        if habits.scales is not None:
            scales *= habits.scales
        self._known = _Known(habits, Speller(habits.lexicon.own), scales)

    def suggest(self, text_before_cursor: str, count: int = 3) -> list[Suggestion]:
        """At most `count` suggestions, best first: next words or, while a word is being typed, what it may become.

        Only words are suggested: no special tokens, no punctuation, nor what is typed already. There may be none.

        Raises:
            ModelError: the runtime failed.
        """
        if count < 1:
            return []
        place = self._look_at(text_before_cursor)
        if place is None:
            return []
        if place.typed:
            found = self._in_place_of(place, count)
        else:
            starts_sentence = not place.opening and _starts_sentence(tail(text_before_cursor))
            found = self._next_words(place, count, starts_sentence)
        if place.opening:
            kind = {Kind.NEXT_WORD: Kind.COMPLETION}  # of the word that has begun with a quote
            return [replace(s, text=place.opening + s.text, kind=kind.get(s.kind, s.kind)) for s in found]
        return found

    def probability(self, text_before_cursor: str, word: str) -> float:
        """Probability that `word`, in any case, comes next or, while a word is being typed, that it is what is meant.

        Zero for what cannot be offered. The words that can be offered come to 1 after a text, and to less within a
        word, which may also become two words or one that nobody knows.

        Raises:
            ModelError: the runtime failed.
        """
        place = self._look_at(text_before_cursor)
        number = place.habits.lexicon.number(word.lower()) if place else None
        if place is None or number is None:
            return 0.0
        return float(place.meant[number]) / place.total

    def _look_at(self, text_before_cursor: str) -> _Place | None:
        """What there is to know before anything is suggested; None within a word that is too long for any."""
        known = self._known
        habits = known.habits
        ids, words, partial = context_ids(tail(text_before_cursor), self.vocabulary)
        typed = partial.lstrip("'")
        if len(typed) > LONGEST:
            return None
        lexicon = habits.lexicon
        meant = habits.memory.mix(self._read(ids, known), words, lexicon, habits.blend)
        total, two, of_two = 1.0, "", 0.0
        if typed:
            two, of_two = _two_words(typed.lower(), meant, lexicon)
            meant = meant * np.exp(-self._costs(typed.lower(), known))
            total = float(meant.sum()) + of_two + _NEW_WORD * 26.0 ** -len(typed)
        return _Place(habits, partial[: len(partial) - len(typed)], typed, meant, total, two, of_two / total)

    def _read(self, ids: Sequence[int], known: _Known) -> Distribution:
        """The model's probabilities of the words that can be offered, `[size of the lexicon]`, of sum 1."""
        offered = np.zeros(known.habits.lexicon.size, np.float32)
        np.multiply(self._reader.read(window(ids)), known.scales, out=offered[: len(known.scales)])
        offered /= max(offered.sum(), _TINY)
        return offered

    def _next_words(self, place: _Place, count: int, starts_sentence: bool) -> list[Suggestion]:
        lexicon = place.habits.lexicon
        return [
            Suggestion(
                _cased(lexicon.written(number), "", starts_sentence),
                Kind.NEXT_WORD,
                float(place.meant[number]),
                lexicon.is_own(number),
            )
            for number in _largest(place.meant, count)
            if place.meant[number] > 0
        ]

    def _costs(self, typed: str, known: _Known) -> NDArray[np.float32]:
        """Nats by which what is typed differs from each word or its beginning; infinite for what it cannot be."""
        habits = known.habits
        begun = habits.lexicon.starting_with(typed)
        if len(typed) < _FEWEST_FOR_SLIPS or typed in habits.trusted or not typed.replace("'", "").isalnum():
            costs = np.full(habits.lexicon.size, np.inf, np.float32)
        else:
            costs = np.concatenate([self._model_speller.costs(typed), known.speller.costs(typed)])
            costs += np.float32(_EARLY * max(0, _BEGUN - len(typed)))
        costs[begun] = 0  # whatever characters they are of
        return costs

    def _in_place_of(self, place: _Place, count: int) -> list[Suggestion]:
        """What the word at the cursor may become, the likeliest first."""
        lexicon, typed, found = place.habits.lexicon, place.typed, []
        for number in _largest(place.meant, count + 1):  # one may turn out to be what is typed
            word, probability = _cased(lexicon.written(number), typed, False), float(place.meant[number]) / place.total
            kind = Kind.COMPLETION if lexicon.word(number).startswith(typed.lower()) else Kind.CORRECTION
            if word != typed and probability > (_UNLIKELY if kind is Kind.CORRECTION else 0):
                found.append(Suggestion(word, kind, probability, lexicon.is_own(number)))
        if place.of_two > _UNLIKELY:
            found.append(Suggestion(_cased(place.two, typed, False), Kind.CORRECTION, place.of_two))
        return sorted(found, key=lambda suggestion: -suggestion.probability)[:count]


@dataclass(frozen=True, slots=True)
class _Known:
    """The user's habits, and what follows from them for every suggestion."""

    habits: Habits
    speller: Speller  # of the user's own words
    scales: Distribution  # of the model's probabilities, `[vocabulary]`; 0 for what is not offered


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in a text, and what may be meant there.

    Attributes:
        opening: quotes before the word that is being typed.
        typed: the word that is being typed, without them.
        meant: of each number of the lexicon, its share of `total`.
        two, of_two: the likeliest two words that are meant by one, and their probability.
    """

    habits: Habits
    opening: str
    typed: str
    meant: Distribution
    total: float
    two: str
    of_two: float


def _spelt(vocabulary: Vocabulary, token_id: int) -> str:
    """The word of an id as the speller compares it; nothing for what is no word."""
    return vocabulary.words[token_id - FIRST_WORD] if vocabulary.is_word(token_id) else ""


def _two_words(typed: str, probabilities: Distribution, lexicon: Lexicon) -> tuple[str, float]:
    """The likeliest two words without the space between them, and the probability of the two and of the slip.

    The second word is not read in context, which would cost a step of the model: it counts by its frequency, which
    falls with its rank as Zipf's law says.
    """
    best, highest = "", 0.0
    for at in range(1, len(typed)):
        left, right = typed[:at], typed[at:]
        if all(len(word) > 1 or word in _ONE_LETTER_WORDS for word in (left, right)):
            first, second = lexicon.number(left), lexicon.number(right)
            if first is not None and second is not None and lexicon.offered[first] and lexicon.offered[second]:
                probability = float(probabilities[first]) * 0.1 / (second + 3) * _MISSED_SPACE
                if probability > highest:
                    best, highest = f"{lexicon.written(first)} {lexicon.written(second)}", probability
    return best, highest


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
