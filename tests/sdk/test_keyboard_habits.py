"""What the keyboard offers to a user whom it has come to know, and that the user decides."""

import pytest

from hushfold.keyboard import Keyboard
from hushfold.offensive import OFFENSIVE
from hushfold.words import LEARN_AT


def texts(found):
    return [suggestion.text for suggestion in found]


def test_what_a_user_writes_often_is_suggested_in_its_place(keyboard):
    assert "zorkle" not in texts(keyboard.suggest("see you "))
    for _ in range(3):
        keyboard.learn("see you zorkle")
    (first, *_) = keyboard.suggest("see you ")
    assert (first.text, first.own) == ("zorkle", True)
    assert "zorkle" in texts(keyboard.suggest("see you z"))


def test_a_users_own_word_is_not_corrected(keyboard):
    assert "from" in texts(keyboard.suggest("it is frm"))
    keyboard.words.teach("frm")
    assert texts(keyboard.suggest("it is frm")) == []


def test_a_blocked_word_is_not_suggested_and_may_be_unblocked(keyboard):
    assert "you" in texts(keyboard.suggest("thank "))
    keyboard.words.block("you")
    assert "you" not in texts(keyboard.suggest("thank ", 50) + keyboard.suggest("thank y", 50))
    keyboard.words.reset("you")
    assert "you" in texts(keyboard.suggest("thank "))


def test_a_forgotten_word_stays_forgotten(keyboard):
    for _ in range(3):
        keyboard.learn("meet me at Zorkville")
    assert "Zorkville" in texts(keyboard.suggest("meet me at "))
    assert keyboard.forget("zorkville") == 3
    for _ in range(3):
        keyboard.learn("meet me at Zorkville")
    assert "Zorkville" not in texts(keyboard.suggest("meet me at ", 50))


def test_offensive_words_are_offered_only_to_who_writes_them(keyboard):
    offered = keyboard.suggest("", 20_000) + keyboard.suggest("what the ", 20_000) + keyboard.suggest("fuc", 50)
    assert not {text.lower() for text in texts(offered)} & OFFENSIVE
    for _ in range(LEARN_AT):
        keyboard.learn("what the fuck")
    assert "fuck" in texts(keyboard.suggest("what the "))


def test_a_wipe_takes_habits_and_words(keyboard):
    before = keyboard.suggest("see you ", 50)
    for _ in range(3):
        keyboard.learn("see you zorkle")
    keyboard.words.teach("frm")
    keyboard.wipe()
    assert keyboard.suggest("see you ", 50) == before
    assert keyboard.words.all() == []


def test_habits_are_there_after_a_restart(files, store, keyboard):
    for _ in range(3):
        keyboard.learn("see you zorkle")
    assert Keyboard(files, files.weights, store).suggest("see you ") == keyboard.suggest("see you ")


@pytest.mark.parametrize("private", [True, False])
def test_nothing_of_a_private_field_or_of_incognito_is_suggested_later(keyboard, private):
    keyboard.incognito = not private
    before = keyboard.suggest("see you ", 50)
    for _ in range(5):
        assert not keyboard.learn("see you zorkle", private=private)
    assert keyboard.suggest("see you ", 50) == before
    assert keyboard.words.all() == []


def test_what_was_just_learned_is_in_the_lexicon_before_anything_is_suggested(keyboard):
    """A night may follow upon messages without a suggestion between them."""
    for _ in range(3):
        keyboard.learn("see you lah")
    assert keyboard.lexicon.number("lah") is not None
