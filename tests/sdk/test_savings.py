"""Keys that suggestions spare: counted as the evaluation counts them, kept as totals, and only if they may be."""

import pytest

from hushfold.keyboard import Keyboard
from hushfold.savings import Savings
from hushfold.suggestions import Kind, Suggestion


def a(kind, text):
    return Suggestion(text, kind, 0.5)


@pytest.mark.parametrize(
    ("kind", "word", "text", "taps"),
    [
        (Kind.NEXT_WORD, "tomorrow", "see you ", 8),
        (Kind.NEXT_WORD, "See", "", 3),
        (Kind.NEXT_WORD, "you", "see ", 3),
        (Kind.COMPLETION, "tomorrow", "see you tom", 5),
        (Kind.COMPLETION, "'tomorrow", "see you 'tom", 5),
        (Kind.COMPLETION, "tomorrow", "see you " * 2_000 + "tom", 5),
        (Kind.CORRECTION, "tomorrow", "see you tomoro", 2),
        (Kind.CORRECTION, "the", "teh", 0),
        (Kind.CORRECTION, "to", "tooo", 0),  # never less than nothing
        (Kind.CORRECTION, "see you", "seeyou", 1),
    ],
)
def test_what_a_suggestion_spares(keyboard, kind, word, text, taps):
    assert keyboard.accepted(a(kind, word), text) == taps
    assert keyboard.saved().taps == taps


def test_it_agrees_with_the_keys_that_the_evaluation_counts(keyboard):
    """A word takes its letters and a space; taken after i letters it takes i keys and one."""
    for typed in range(1, 8):
        keys = len("tomorrow") + 1
        used = typed + 1
        assert keyboard.accepted(a(Kind.COMPLETION, "tomorrow"), "tomorrow"[:typed]) == keys - used


def test_totals_are_kept_with_the_day_of_the_first(files, store, keyboard, clock):
    assert keyboard.saved() == Savings(0, 0, None)
    began = clock.now()
    keyboard.accepted(a(Kind.NEXT_WORD, "tomorrow"), "")
    clock.advance(86_400)
    keyboard.accepted(a(Kind.NEXT_WORD, "you"), "see ")
    assert keyboard.saved() == Savings(11, 2, began)
    assert Keyboard(files, files.weights, store, clock).saved() == Savings(11, 2, began)
    assert store.execute("SELECT * FROM savings") == [(1, 11, 2, began)]  # no word, and nothing of each


def test_nothing_is_counted_where_nothing_is_remembered(keyboard):
    suggestion = a(Kind.NEXT_WORD, "tomorrow")
    assert keyboard.accepted(suggestion, "", private=True) == 8
    keyboard.incognito = True
    assert keyboard.accepted(suggestion, "") == 8
    keyboard.incognito = False
    keyboard.learning_enabled = False
    assert keyboard.accepted(suggestion, "") == 8
    assert keyboard.saved() == Savings()


def test_a_wipe_takes_them_and_forgetting_a_word_does_not(keyboard):
    keyboard.learn("see you tomorrow")
    keyboard.accepted(a(Kind.NEXT_WORD, "tomorrow"), "see you ")
    keyboard.forget("tomorrow")
    assert keyboard.saved().taps == 8
    keyboard.wipe()
    assert keyboard.saved() == Savings()
