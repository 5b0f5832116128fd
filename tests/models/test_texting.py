"""Public text respelt, and what an epoch is made of."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from hushfold_models.corpus import Source
from hushfold_models.mixture import RESPELT, Mixture
from hushfold_models.phrases import PHRASES
from hushfold_models.texting import respell

PUBLIC = Source("public", "Public", "somebody", "free")
SELDOM = PUBLIC._replace(name="seldom", times=0.4)
OFTEN = PUBLIC._replace(name="often", times=3, texted=True)


def _respelt(text: str, writers: int = 300) -> list[str]:
    return [respell(text, random.Random(writer)) for writer in range(writers)]


def test_words_get_the_forms_that_people_text() -> None:
    seen = Counter(word for text in _respelt("Are you coming tomorrow?") for word in re.findall(r"\w+", text))
    assert seen["u"] > 10 * seen["you"] > 0
    assert min(seen["tmr"], seen["comin"], seen["r"]) > 0


def test_phrases_are_shortened_as_a_whole() -> None:
    assert any("idk" in text for text in _respelt("I don't know by the way"))
    assert any("btw" in text for text in _respelt("I don't know by the way"))


def test_some_writers_leave_out_articles_and_subjects() -> None:
    texts = _respelt("I'm going to the party.")
    assert any(text.startswith("go") for text in texts)
    assert any(text.startswith("i") for text in texts)
    assert {"the" in text.split() or "d" in text.split() or "da" in text.split() for text in texts} == {True, False}


def test_placeholders_stay_and_all_is_lower_case() -> None:
    for text in _respelt("Meet <name> at <time> You and I"):
        assert "<name>" in text
        assert "<time>" in text
        assert text == text.lower()


def test_a_message_is_respelt_by_one_writer() -> None:
    """Whoever shortens much does so from end to end."""
    shortened = [text.split().count("frm") for text in _respelt("from from from from from from from from")]
    spread = sum((count - 4.8) ** 2 for count in shortened) / len(shortened)
    assert spread > 2.5  # of one rate for all it would be 8 * 0.6 * 0.4 = 1.9


@pytest.mark.parametrize("text", ["", " ", "...", "\u4f60\u597d", "\U0001f600", "a" * 5000])
def test_odd_messages_pass(text: str) -> None:
    assert isinstance(respell(text, random.Random(0)), str)


def test_an_epoch_reads_each_source_as_often_as_it_weighs() -> None:
    mixture = Mixture({SELDOM: ["qwxa"] * 1000, OFTEN: ["Qwxb"] * 100}, seed=1)
    epoch = mixture.epoch(0)
    assert epoch.count("Qwxb") == 300
    assert 330 < sum(text.startswith("qwxa") for text in epoch) < 470


def test_texted_messages_are_never_respelt_and_half_of_the_others_are() -> None:
    texts = [f"See you tomorrow number {number}" for number in range(1000)]
    assert Mixture({OFTEN: texts}, seed=1).epoch(0)[::3] == texts
    kept = set(Mixture({PUBLIC: texts}, seed=1).epoch(0)) & set(texts)
    assert abs(len(kept) / len(texts) - (1 - RESPELT)) < 0.05


def test_epochs_differ_and_come_again() -> None:
    mixture = Mixture({PUBLIC: PHRASES}, seed=1)
    assert mixture.epoch(0) != mixture.epoch(1)
    assert mixture.epoch(1) == Mixture({PUBLIC: PHRASES}, seed=1).epoch(1)
    assert mixture.epoch(1) != Mixture({PUBLIC: PHRASES}, seed=2).epoch(1)
