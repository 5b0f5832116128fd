"""The user's habits: what was written comes back, in its place, and only as far as it was seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushfold.lexicon import Lexicon
from hushfold.memory import Blend, NgramMemory
from hushfold_format import Vocabulary

VOCABULARY = Vocabulary(("see", "you", "later", "at", "the", "station", "harbour", ".", "hi"), {})
LEXICON = Lexicon(VOCABULARY, own={"lah": "lah"}, hidden=("station",))
FLAT = np.where(LEXICON.offered, 1 / LEXICON.offered.sum(), 0).astype(np.float32)


def after(context, *messages, blend=None):
    mixed = NgramMemory(messages).mix(FLAT, context.split(), LEXICON, blend or Blend())
    return lambda word: float(mixed[LEXICON.number(word)])


def test_without_messages_the_model_alone_speaks():
    np.testing.assert_array_equal(NgramMemory().mix(FLAT, ["see"], LEXICON, Blend()), FLAT)


def test_what_was_written_after_these_words_is_likelier_after_them():
    p = after("see you", "see you later", "hi you")
    assert p("later") > 0.2 > p("harbour")
    assert after("at the", "see you later")("later") < p("later")


def test_two_words_of_context_say_more_than_one():
    messages = ("see you later", "hi you harbour", "hi you harbour", "hi you harbour")
    assert after("see you", *messages)("later") > after("at you", *messages)("later")


def test_the_beginning_of_a_message_is_a_context():
    assert after("", "hi", "see you")("hi") > after("see", "hi", "see you")("hi")


def test_what_was_seen_more_often_counts_more():
    assert after("see you", *["see you later"] * 5)("later") > after("see you", "see you later")("later")


def test_an_own_word_comes_back_and_a_hidden_one_does_not():
    p = after("see you", "see you lah", "see you station")
    assert p("lah") > p("later")
    assert p("station") == 0


def test_words_that_nobody_may_see_are_context_only():
    p = after("<number>", "<number> later", "qzx later")
    assert p("later") > 0.1
    assert after("qzx", "qzx later")("later") > 0.1


def test_a_word_in_quotes_is_the_word():
    assert after("see", "see 'you'", "see you")("you") > after("see", "see you")("you")


def test_trust_says_how_soon_a_habit_is_believed():
    soon, late = (after("see you", "see you later", blend=Blend(trust=(t, t)))("later") for t in (1.0, 20.0))
    assert soon > late > FLAT.max()


WORDS = st.sampled_from(["see", "you", "later", "at", "the", "station", "lah", ".", "qzx", "<name>"])


@given(st.lists(st.lists(WORDS, max_size=6), max_size=6), st.lists(WORDS, max_size=4))
def test_a_mix_is_a_distribution_over_what_may_be_offered(messages, context):
    mixed = NgramMemory(map(" ".join, messages)).mix(FLAT, context, LEXICON, Blend())
    assert mixed.dtype == np.float32
    assert mixed.sum() == pytest.approx(1, abs=1e-5)
    assert (mixed >= 0).all()
    assert (mixed[~LEXICON.offered] == 0).all()
