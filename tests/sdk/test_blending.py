"""The blend follows the user: whoever repeats themselves is believed sooner; who has written little changes little."""

import numpy as np
import pytest

from hushfold import blending
from hushfold.blending import Evidence, tuned
from hushfold.lexicon import Lexicon
from hushfold.memory import Blend, NgramMemory
from hushfold.suggestions import Habits, Suggester
from hushfold_format import tokenize

REPEATED = ["see you at the station then", "we go to the station", "the train is here lah"]


@pytest.fixture(scope="module")
def model(files):
    return Suggester(files, files.weights, Habits(Lexicon(files.vocabulary, own={"lah": "lah"})))


def test_evidence_gives_the_probabilities_that_would_have_been_served(model):
    """Word for word those of a keyboard that had learned the messages before, for any blend."""
    messages = [*REPEATED, *REPEATED, "see you at the train"]
    blend = Blend(0.3, 0.6, (2.0, 5.0))
    lexicon, expected = model.habits.lexicon, []
    for number, message in enumerate(messages):
        served = Suggester.__new__(Suggester)  # the same model, so that it is not read again
        served.__dict__.update(model.__dict__)
        served.habits = Habits(lexicon, NgramMemory(messages[:number]), blend)
        known = [token for token in tokenize(message) if lexicon.number(token.text) is not None]
        expected += [served.probability(message[: token.start], token.text) for token in known]
    assert len(expected) > 30
    found = blend.probability(*Evidence.of(model, messages))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_who_repeats_themselves_is_believed_sooner(model):
    blend = tuned(Evidence.of(model, REPEATED * 20))
    assert blend.discount < Blend().discount
    assert all(new < old for new, old in zip(blend.trust, Blend().trust, strict=True))


def test_whose_words_follow_no_order_are_believed_later(model, files):
    words = [files.vocabulary.words[int(rank)] for rank in np.random.default_rng(0).integers(100, 130, 2_000)]
    messages = [" ".join(words[at : at + 5]) for at in range(0, len(words), 5)]
    blend = tuned(Evidence.of(model, messages))
    assert blend.trust[0] > Blend().trust[0]


def test_the_tuned_blend_is_no_worse_on_what_it_was_tuned_on(model):
    evidence = Evidence.of(model, REPEATED * 5)

    def likelihood(blend):
        return np.log(np.maximum(blend.probability(*evidence), 1e-12)).sum()

    assert likelihood(tuned(evidence)) > likelihood(Blend())


def test_few_messages_change_little_and_none_nothing(model):
    none = tuned(Evidence.of(model, []))
    assert (none.words, none.discount, *none.trust) == pytest.approx((Blend().words, Blend().discount, *Blend().trust))
    few, many = (tuned(Evidence.of(model, REPEATED * times)) for times in (1, 20))
    assert abs(few.words - Blend().words) < 0.1
    assert abs(few.trust[1] - 3) < abs(many.trust[1] - 3)


def test_certainty_in_the_defaults_holds_the_blend(model, monkeypatch):
    evidence = Evidence.of(model, REPEATED * 20)
    monkeypatch.setattr(blending, "CONFIDENCE", 1e6)
    assert tuned(evidence).discount == pytest.approx(Blend().discount)
