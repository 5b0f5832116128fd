"""Slips: what it costs to have typed one word for another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushfold.spelling import LONGEST, Speller

WORDS = ["the", "they", "tomorrow", "don't", "because", "hello", "wait", "what", "caf\u00e9", "a", ""]


def cost(typed, word):
    return float(Speller([word]).costs(typed)[0])


def test_what_a_word_begins_with_costs_nothing():
    costs = Speller(WORDS).costs("the")
    assert [word for word, c in zip(WORDS, costs, strict=True) if c == 0] == ["the", "they"]


@pytest.mark.parametrize(
    ("likely", "unlikely", "word"),
    [
        ("wsit", "wlit", "wait"),  # a key that touches, and one that does not
        ("wiat", "wxzt", "wait"),  # letters swapped, and two wrong ones
        ("helo", "hllo", "hello"),  # one of two equal letters missed, and another letter
        ("dont", "dot", "don't"),  # the apostrophe missed, and a letter too
        ("waiit", "wairt", "wait"),  # a key that repeated, and a strange one
        ("wiit", "wbit", "wait"),  # a vowel for a vowel
        ("heklo", "eello", "hello"),  # people look at the first letter
        ("cafe", "cafr", "caf\u00e9"),  # an accent left out is hardly a slip
    ],
)
def test_common_slips_cost_less_than_rare_ones(likely, unlikely, word):
    assert 0 <= cost(likely, word) < cost(unlikely, word)


def test_a_word_with_a_slip_is_nearer_than_a_longer_one_with_the_same_slip():
    assert cost("teh", "the") < cost("teh", "they") < np.inf


def test_words_that_have_nothing_in_common_are_infinitely_far():
    assert cost("zzzzzz", "hello") == np.inf
    assert cost("hello", "") == np.inf


def test_each_key_costs_a_row_and_backspace_none(monkeypatch):
    rows = []
    following = Speller._next_row
    monkeypatch.setattr(Speller, "_next_row", lambda self, letter: rows.append(letter) or following(self, letter))
    speller = Speller(WORDS)
    for typed in ("h", "he", "hel", "he", "hel", "heo"):
        speller.costs(typed)
    assert "".join(rows) == "hello"  # the second l and the o are new after Backspace


@given(st.text("abcdeiou'", max_size=8), st.lists(st.text("abcdeiou'", max_size=8), min_size=1, max_size=5))
def test_costs_do_not_depend_on_what_was_typed_before(typed, words):
    speller = Speller(words)
    for at in range(len(typed) + 1):
        speller.costs(typed[:at])
    speller.costs("zz")
    np.testing.assert_array_equal(speller.costs(typed), Speller(words).costs(typed))


@given(st.text("abcdeiou", min_size=1, max_size=8), st.text("abcdeiou", min_size=1, max_size=8))
def test_only_a_beginning_is_free(typed, word):
    assert (cost(typed, word) == 0) == word.startswith(typed)


@given(st.text(max_size=40))
def test_any_text_is_taken(typed):
    costs = Speller([*WORDS, "x" * 60]).costs(typed)
    assert costs.shape == (len(WORDS) + 1,)
    assert (costs >= 0).all()


def test_long_words_are_compared_by_their_beginning():
    assert cost("x" * (LONGEST + 5), "x" * (LONGEST + 9)) == 0
