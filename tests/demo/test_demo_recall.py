"""Tests of the demo's measure, against counts by hand."""

import math

from hushfold_demo.recall import Recall, measure


def test_hits_are_counted_by_place():
    asked = []

    def suggest(before):
        asked.append(before)
        return {"": ["hello", "no", "the"], "Hello ": ["you", "There", "x"], "Hello there ": ["a", "b", "c", "friend"]}[
            before
        ]

    assert measure(suggest, ["Hello there friend!"]) == Recall(words=3, top1=1, top3=2)
    assert asked == ["", "Hello ", "Hello there "]


def test_only_words_are_targets():
    assert measure(lambda _: ["42", "<number>", "!", "ok"], ["42 <name> www.x.org a@b.org ... ❤️ :)"]).words == 0
    assert measure(lambda _: ["don't"], ["don’t"]) == Recall(1, 1, 1)


def test_a_message_does_not_see_the_one_before():
    asked = []
    measure(lambda before: asked.append(before) or [], ["one two", "three"])
    assert asked == ["", "one ", ""]


def test_recalls_add_up_to_percent():
    total = Recall(3, 1, 2) + Recall(1, 0, 1)
    assert (total.top1_percent, total.top3_percent) == (25.0, 75.0)
    assert math.isnan(Recall().top1_percent)
