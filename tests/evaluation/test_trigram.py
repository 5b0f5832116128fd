"""Counts, the interpolated trigram, and the same with the user's own mixed in."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest

from hushfold_evaluation.ngrams import BEGIN, Ngrams
from hushfold_evaluation.protocol import measure, targets, tokens
from hushfold_evaluation.trigram import Trigram


def naive(messages):
    """Counts of each length of context, in dictionaries."""
    counts = [defaultdict(Counter) for _ in range(3)]
    for message in messages:
        padded = [BEGIN, BEGIN, *tokens(message)]
        for at in range(2, len(padded)):
            for length in range(3):
                counts[length][tuple(padded[at - length : at])][padded[at]] += 1
    return counts


@pytest.fixture(scope="module")
def counted(public):
    return Ngrams.count(public)


def test_counts_are_those_of_dictionaries(public, counted):
    expected = naive(public)
    for context, words in expected[2].items():
        history = [counted.ids[word] for word in context]
        for length, (ids, counts) in enumerate(counted.contexts(history)):
            found = {counted.words[index]: count for index, count in zip(ids, counts, strict=True)}
            assert found == expected[length][context[2 - length :]]
        assert length == 2
        assert words


def test_a_context_that_was_never_seen_falls_back(counted):
    you = counted.ids["you"]
    assert len(list(counted.contexts([-1, -1]))) == 1
    assert len(list(counted.contexts([-1, you]))) == 2
    assert len(list(counted.contexts([you, you]))) == 2  # no "you you"


def test_of_equally_frequent_words_the_first_seen_comes_first():
    counted = Ngrams.count(["b a c a", "d"])
    assert [counted.words[index] for index in counted.by_frequency] == ["a", "b", "c", "d"]


def test_nothing_can_be_counted():
    assert list(Ngrams.count([]).contexts([0, 0])) == []
    assert list(Ngrams.count(["", " "]).contexts([0, 0])) == []


def test_known_words_keep_their_ids():
    known = {BEGIN: 0, "a": 1, "b": 2}
    counted = Ngrams.count(["c b"], known)
    assert dict(counted.ids) == {**known, "c": 3}
    assert counted.by_frequency.tolist() == [3, 2]


def test_a_file_gives_back_what_was_counted(tmp_path, counted):
    counted.save(tmp_path / "counts")
    loaded = Ngrams.load(tmp_path / "counts")
    assert loaded.words == counted.words
    np.testing.assert_array_equal(loaded.by_frequency, counted.by_frequency)
    for history in ([0, 0], [0, counted.ids["see"]], [-1, counted.ids["at"]]):
        for ours, theirs in zip(loaded.contexts(history), counted.contexts(history), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_what_somebody_writes_is_suggested_once_it_has_settled(counted):
    trigram = Trigram(counted, (), personal=True)
    for _ in range(5):
        trigram.learn("see you at Guillemot cottage")
    assert "guillemot" not in trigram.suggest("see you at ")
    trigram.settle()
    assert trigram.suggest("see you at ")[0] == "guillemot"
    assert "guillemot" in trigram.suggest("x Gu")
    assert trigram.suggest("see you at guillemotx") == []


def test_the_public_trigram_learns_nothing(counted):
    trigram = Trigram(counted, (), personal=False)
    before = trigram.suggest("see you ")
    for _ in range(50):
        trigram.learn("see you guillemot")
    trigram.settle()
    assert trigram.suggest("see you ") == before


@pytest.mark.parametrize("personal", [True, False])
def test_probabilities_are_of_the_vocabulary_alone(counted, personal):
    vocabulary = ["harbour", "the", "nowhere", "guillemot"]
    trigram = Trigram(counted, vocabulary, personal=personal)
    trigram.learn("the guillemot")
    trigram.settle()
    for before in ("", "see you at the ", "nothing like this "):
        probabilities = {word: trigram.probability(before, word) for word in vocabulary}
        assert sum(probabilities.values()) == pytest.approx(1)
        assert 0 < probabilities["nowhere"] < probabilities["the"]


def trained(yardstick, public):
    model = yardstick.Trigram()
    for message in public:
        model.learn(message)
    return model


@pytest.mark.parametrize("personal", [False, True])
def test_the_reference_suggests_words_of_the_same_probability(yardstick, public, people, counted, personal):
    """Compared by probability, bit for bit: of equals, the reference takes what a set of strings happens to give."""
    base, compared = trained(yardstick, public), 0
    for person in people[:3]:
        reference = yardstick.Trigram(base) if personal else base
        ours = Trigram(counted, (), personal=personal)
        for message in person.learned if personal else ():
            reference.learn(message)
            ours.learn(message)
        ours.settle()
        for target in list(targets(person.held_out))[:60]:
            for before in (target.before, target.before + target.word[:1], target.before + target.word[:2]):
                expected = probabilities(reference, before, reference.suggest(before))
                assert probabilities(reference, before, ours.suggest(before)) == expected
                compared += len(expected)
    assert compared > 500


def probabilities(reference, before, words):
    """What the reference gives to words after a text."""
    prefix = re.search(r"[A-Za-z0-9']*$", before).group()
    history = ([BEGIN, BEGIN, *tokens(before[: len(before) - len(prefix)])])[-2:]
    mixed = [(reference, 1.0)] if reference.base is None else [(reference.base, 0.6), (reference, 0.4)]
    return [sum(share * model._p(model._ctx(history), word) for model, share in mixed) for word in words]


def test_the_reference_gives_the_same_figures_where_no_two_words_are_equal(yardstick, people):
    """Each word of the public texts has a frequency of its own, and follows anything."""
    words = sorted({word for person in people for word in tokens(" ".join(person.messages))})
    public = [word for rank, word in enumerate(words, 1) for _ in range(rank)]
    base, counted = trained(yardstick, public), Ngrams.count(public)
    reference = yardstick.evaluate(
        lambda: base, {each.name: list(each.messages) for each in people}, learn=False, progress=False
    )
    for person in people:
        score = measure(Trigram(counted, (), personal=False), person)
        ours = (sum(score.top1), sum(score.top3), len(score.top1), score.saved, score.keys)
        assert ours == reference[person.name]
