"""Rescaling: words that the user writes more often than the model expects become likelier, and the others less so."""

import numpy as np
import pytest

from hushfold import marginals
from hushfold.lexicon import Lexicon
from hushfold.model import SuggestionModel
from hushfold.suggestions import Habits, Suggester
from hushfold_format import BEGIN, FIRST_WORD, UNKNOWN, message_ids

MESSAGES = ["we go to the station", "the station is here", "meet me at the station"] * 4


@pytest.fixture(scope="module")
def model(files):
    return SuggestionModel(files, files.weights)


def scales(model, files, messages):
    return marginals.scales(
        model, [message_ids(message, files.vocabulary) for message in messages], len(files.vocabulary)
    )


def test_without_messages_nothing_changes(model, files):
    np.testing.assert_array_equal(scales(model, files, []), 1)


def test_the_ratio_is_that_of_what_was_seen_and_what_was_expected(model, files):
    first, second = (files.vocabulary.encode_word(word) for word in ("good", "morning"))
    before, state = model.step(BEGIN, model.initial_state())
    after, _ = model.step(first, state)
    expected = before + after
    seen = np.zeros(len(files.vocabulary))
    seen[[first, second]] = 1
    ratio = (seen + marginals.PRIOR) / (expected + marginals.PRIOR)
    np.testing.assert_allclose(scales(model, files, ["good morning"]), ratio, rtol=1e-5)


def test_what_is_written_more_often_than_expected_is_likelier(model, files):
    found = scales(model, files, MESSAGES)
    assert found[files.vocabulary.encode_word("station")] > 2
    assert found[files.vocabulary.encode_word("i")] < 1


def test_unknown_words_are_context_only(model, files):
    assert not (scales(model, files, ["qzxqzx"]) != 1).any()
    found = scales(model, files, ["qzxqzx station"] * 3)
    assert (found[[UNKNOWN, *range(FIRST_WORD)]] <= 1).all()
    assert found[files.vocabulary.encode_word("station")] > 1


def test_a_suggester_serves_them(model, files):
    plain, scaled = (
        Suggester(files, files.weights, Habits(Lexicon(files.vocabulary, hidden=["love"]), scales=by))
        for by in (None, scales(model, files, MESSAGES))
    )
    assert scaled.probability("we were at the ", "station") > plain.probability("we were at the ", "station")
    assert scaled.probability("we were at the ", "love") == 0
    assert sum(found.probability for found in scaled.suggest("we were at the ", 20_000)) == pytest.approx(1, abs=1e-3)
