"""A user's own words: a ladder for what is typed, and a last word for what is decided."""

import threading
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushfold import words as words_module
from hushfold.clock import ManualClock
from hushfold.errors import WordRefused
from hushfold.store import Store
from hushfold.words import LONGEST, PersonalWords, Standing
from hushfold_format import Vocabulary

VOCABULARY = Vocabulary(("see", "you", "at", "the", "."), {})
KEY = bytes(range(32))


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store.db", KEY) as store:
        yield store


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def words(store, clock):
    return PersonalWords(store, VOCABULARY, clock)


def write(words, message, times):
    for _ in range(times):
        words.observe(message)


@pytest.mark.parametrize(("times", "offered", "trusted"), [(1, False, False), (2, True, False), (3, True, True)])
def test_the_ladder(words, times, offered, trusted):
    write(words, "see you tmr", times)
    assert ("tmr" in words.offered()) == offered
    assert ("tmr" in words.trusted()) == trusted


def test_the_ladder_can_be_adjusted(store, clock):
    words = PersonalWords(store, VOCABULARY, clock, offer_at=1, learn_at=5)
    write(words, "tmr", 4)
    assert "tmr" in words.offered()
    assert not words.trusted()


def test_what_is_never_a_word(words):
    write(words, "see you <number> 12 5551234 a@b.example https://x.example/abc :) \U0001f600 the", 5)
    assert words.all() == []


@pytest.mark.parametrize(
    ("messages", "form"),
    [
        (["see McFly", "at McFly"], "McFly"),
        (["Tmr see you", "Tmr"], "tmr"),  # the capital is the sentence's
        (["see you. Tmr", "Tmr"], "tmr"),
        (["SEE YOU TMR", "SEE TMR"], "tmr"),  # the capitals are the shout's
        (["see O\u2019Brien", "O\u2019Brien", "see O\u2019Brien"], "O'Brien"),
    ],
)
def test_a_word_is_written_as_the_user_writes_it(words, messages, form):
    for message in messages:
        words.observe(message)
    assert list(words.offered().values()) == [form]


def test_a_taught_word_is_there_at_once_and_as_it_was_taught(words):
    words.teach(" iPhone ")
    assert words.offered() == {"iphone": "iPhone"}
    assert words.trusted() == {"iphone"}
    assert words.forms() == {"iphone": "iPhone"}


def test_a_blocked_word_stays_blocked_however_often_it_is_written(words):
    write(words, "lah", 3)
    words.block("Lah")
    write(words, "lah", 5)
    assert words.blocked() == {"lah"}
    assert not words.offered()
    assert not words.trusted()


def test_a_forgotten_word_stays_forgotten_until_it_is_taught(words, store):
    write(words, "see Zork", 3)
    words.forget("zork")
    write(words, "see Zork", 5)
    assert not words.offered()
    assert "Zork" not in str(store.execute("SELECT form FROM personal_words"))
    words.teach("Zork")
    assert words.offered() == {"zork": "Zork"}


def test_a_decision_can_be_taken_back(words):
    words.block("the")
    words.reset("the")
    assert words.all() == []


def test_a_word_of_the_model_can_be_blocked_and_taught_another_form(words):
    words.block("you")
    words.teach("THE")
    assert words.blocked() == {"you"}
    assert words.forms() == {"the": "THE"}
    assert words.offered() == {}  # the model offers it


@pytest.mark.parametrize(
    "word",
    ["", "  ", "two words", "a@b.example", "https://x.example", "5551234567", "12", "x" * (LONGEST + 1), "<s>", "a\nb"],
)
def test_what_cannot_be_taught_is_refused_with_advice(words, word):
    for decide in (words.teach, words.block, words.forget, words.reset):
        with pytest.raises(WordRefused) as caught:
            decide(word)
        assert caught.value.advice
    assert words.all() == []


def test_words_outlive_the_process_and_not_a_wipe(words, store, clock):
    write(words, "see McFly", 3)
    words.block("lah")
    again = PersonalWords(store, VOCABULARY, clock)
    assert again.all() == words.all()
    store.wipe()
    again.reload()
    assert again.all() == []


def test_the_revision_grows_with_what_suggestions_depend_on(words):
    revisions = [words.revision]
    for _ in range(5):
        words.observe("tmr")
        revisions.append(words.revision)
    first, hidden, offered, learned, fourth, fifth = revisions
    assert first < hidden < offered < learned == fourth == fifth
    words.block("tmr")
    assert words.revision > fifth


def test_beyond_the_quota_the_rarest_and_oldest_go(words, clock, monkeypatch):
    monkeypatch.setattr(words_module, "MOST_WORDS", 3)
    for word, times in (("aaa", 2), ("bbb", 1), ("ccc", 1), ("ddd", 1)):
        clock.advance(1)
        write(words, word, times)
    words.teach("zzz")
    clock.advance(1)
    words.observe("eee")
    assert {word.form for word in words.all()} == {"aaa", "zzz", "eee"}
    assert {word.standing for word in words.all()} == {Standing.SEEN, Standing.TAUGHT}


def test_writing_and_deciding_at_once(words):
    def write_all():
        for number in range(50):
            words.observe(f"word{number}x tmr")

    writers = [threading.Thread(target=write_all) for _ in range(3)]
    for writer in writers:
        writer.start()
    for _ in range(50):
        words.teach("lah")
        words.offered()
    for writer in writers:
        writer.join()
    assert {word.form: word.sightings for word in words.all()}["tmr"] == 150


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=60), max_size=4))
def test_any_message_and_any_word_is_taken_or_refused(texts):
    with TemporaryDirectory() as folder, Store(Path(folder) / "store.db", KEY) as store:
        words = PersonalWords(store, VOCABULARY, ManualClock())
        for text in texts:
            words.observe(text)
            with suppress(WordRefused):
                words.teach(text)
                assert words.is_own(text)
        assert PersonalWords(store, VOCABULARY, ManualClock()).all() == words.all()
