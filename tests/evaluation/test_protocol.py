"""Targets, hits, saved keys and perplexity, by hand and against the reference implementation."""

import math
import zlib

import pytest

from hushfold_evaluation.predictors import Predictor
from hushfold_evaluation.protocol import PERPLEXITY_WORDS, Score, Target, measure, targets, tokens
from hushfold_evaluation.texts import Person


class Canned(Predictor):
    """Suggests what a table says for a text, or the same always."""

    def __init__(self, table=(), always=()):
        self.table, self.always = dict(table), list(always)

    def suggest(self, text_before):
        return self.table.get(text_before, self.always)


class Whimsical(Predictor):
    """Some of the words that people write, by no rule that a test could share."""

    WORDS = ("i'll", "be", "see", "You", "at", "the", "harbour", "tonight", "ok", "keys", "20", "don't")

    def suggest(self, text_before):
        start = zlib.crc32(text_before.encode())
        return [self.WORDS[(start >> shift) % len(self.WORDS)] for shift in (0, 7, 11, 19)]


def writes(*messages):
    """Somebody whose last messages are these."""
    return Person("p", ("",) * math.ceil(len(messages) * 7 / 3) + messages)


def test_words_are_targets_and_nothing_else_is():
    assert list(targets(["Don't <time> go, 'tis 7 '!"])) == [
        Target("", "Don't"),
        Target("Don't <time> ", "go"),
        Target("Don't <time> go, ", "'tis"),
        Target("Don't <time> go, 'tis ", "7"),
    ]
    assert tokens("Don't <time> go, Ü") == ["don't", "<time>", "go", ",", "ü"]


def test_hits_are_counted_whatever_the_case():
    score = measure(
        Canned({"": ["SEE", "x"], "See ": ["a", "b", "YOU"], "See you ": ["a", "b", "c", "soon"]}),
        writes("See you soon"),
    )
    assert score.top1 == (True, False, False)
    assert score.top3 == (True, True, False)


@pytest.mark.parametrize(
    ("table", "pressed"),
    [
        ({}, 6),  # five letters and the space
        ({"": ["hello"]}, 1),
        ({"h": ["hello"]}, 2),
        ({"hell": ["Hello"]}, 5),
        ({"hello": ["hello"]}, 6),  # too late
    ],
)
def test_a_word_is_taken_as_soon_as_it_is_shown(table, pressed):
    score = measure(Canned(table), writes("hello"))
    assert (score.keys, score.saved) == (6, 6 - pressed)


def test_no_words_no_score():
    assert measure(Canned(), writes("... :)")) == Score((), (), 0, 0)


def test_perplexity_is_of_known_words_evenly_spaced():
    class Certain(Canned):
        def probability(self, text_before, word):
            asked.append(text_before)
            return 1 / len(word)

    asked = []
    score = measure(Certain(), writes("one three five nine"), {"one", "three", "nine"})
    assert score.scored == 3
    assert score.nats == pytest.approx(math.log(3) + math.log(5) + math.log(4))
    assert asked == ["", "one ", "one three five "]
    score = measure(Certain(), writes(" ".join(["one"] * (2 * PERPLEXITY_WORDS + 1))), {"one"})
    assert PERPLEXITY_WORDS / 2 < score.scored <= PERPLEXITY_WORDS


def test_a_word_held_impossible_costs_much_but_not_all():
    class Wrong(Canned):
        def probability(self, text_before, word):
            return 0.0

    assert 0 < measure(Wrong(), writes("one"), {"one"}).nats < math.inf


def test_without_probabilities_there_is_no_perplexity():
    assert measure(Canned(), writes("one"), {"one"}).scored == 0


def test_the_reference_gives_the_same_counts(yardstick, people):
    reference = yardstick.evaluate(Whimsical, {each.name: list(each.messages) for each in people}, progress=False)
    for person in people:
        score = measure(Whimsical(), person)
        ours = (sum(score.top1), sum(score.top3), len(score.top1), score.saved, score.keys)
        assert ours == reference[person.name]
    assert sum(counts[1] for counts in reference.values()) > 20
