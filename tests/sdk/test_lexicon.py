"""Which words can be offered, and how they are written."""

import numpy as np

from hushfold.lexicon import Lexicon
from hushfold_format import FIRST_WORD, Vocabulary

VOCABULARY = Vocabulary(("the", "london", ".", "they", "\U0001f600", "damn"), {"london": "London"})
LEXICON = Lexicon(
    VOCABULARY, own={"tmr": "tmr", "mcfly": "McFly", "the": "THE"}, forms={"they": "THEY"}, hidden=("damn", "tmr")
)


def words(numbers):
    return [LEXICON.word(int(number)) for number in numbers]


def test_the_models_ids_come_first_and_a_word_has_one_number():
    assert LEXICON.size == len(VOCABULARY) + 2
    assert LEXICON.number("the") == FIRST_WORD
    assert words([LEXICON.number("mcfly")]) == ["mcfly"]
    assert LEXICON.is_own(LEXICON.number("mcfly"))
    assert not LEXICON.is_own(LEXICON.number("they"))
    assert LEXICON.number("nobody") is None
    assert LEXICON.number("<number>") is None


def test_what_may_be_offered():
    assert words(np.flatnonzero(LEXICON.offered)) == ["the", "london", "they", "mcfly"]


def test_words_are_found_by_how_they_begin():
    assert words(LEXICON.starting_with("the")) == ["the", "they"]
    assert words(LEXICON.starting_with("m")) == ["mcfly"]
    assert words(LEXICON.starting_with("d")) == words(LEXICON.starting_with("tm")) == []


def test_words_are_written_as_the_user_writes_them():
    assert [LEXICON.written(LEXICON.number(w)) for w in ("london", "they", "mcfly")] == ["London", "THEY", "McFly"]
