"""Suggestions off the UI's thread: the newest text is answered, stale answers are not delivered, errors are not lost.

The keyboard of these tests answers only when it is allowed to, so that every interleaving can be made without waiting
for time to pass.
"""

import queue
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushfold.keyboard import Keyboard
from hushfold.live import LiveSuggestions
from hushfold.store import Store
from hushfold.suggestions import Kind, Suggestion

PATIENCE = 60  # seconds after which a test fails that waits for another thread


class HeldKeyboard:
    """Answers a text with itself, one for each `allow`."""

    def __init__(self):
        self.asked = queue.Queue()  # texts that the worker has taken up
        self._allowed = threading.Semaphore(0)

    def allow(self, answers=1):
        self._allowed.release(answers)

    def suggest(self, text_before_cursor, count=3):
        self.asked.put(text_before_cursor)
        assert self._allowed.acquire(timeout=PATIENCE)
        if isinstance(text_before_cursor, Exception):
            raise text_before_cursor
        return [Suggestion(text_before_cursor, Kind.NEXT_WORD, 1.0)] * count


class Answers:
    """What was delivered, and what failed, in order."""

    def __init__(self):
        self._delivered, self._errors = queue.Queue(), queue.Queue()

    def deliver(self, text, suggestions):
        assert [suggestion.text for suggestion in suggestions] == [text] * 3
        self._delivered.put(text)

    def failed(self, error):
        self._errors.put(error)

    def next(self):
        return self._delivered.get(timeout=PATIENCE)

    def next_error(self):
        return self._errors.get(timeout=PATIENCE)

    def rest(self):
        found = []
        while not self._delivered.empty():
            found.append(self._delivered.get())
        return found


@pytest.fixture
def keyboard():
    return HeldKeyboard()


@pytest.fixture
def answers():
    return Answers()


@pytest.fixture
def live(keyboard, answers):
    with LiveSuggestions(keyboard, answers.deliver, answers.failed) as live:
        yield live
        keyboard.allow(1_000)


def taken_up(keyboard):
    return keyboard.asked.get(timeout=PATIENCE)


def test_typing_returns_before_it_is_answered(live, keyboard, answers):
    live.type("a")
    assert taken_up(keyboard) == "a"  # and is held there
    live.type("ab")
    assert answers.rest() == []


def test_what_waits_is_replaced_and_a_stale_answer_is_not_delivered(live, keyboard, answers):
    live.type("a")
    taken_up(keyboard)
    for text in ("ab", "abc", "abcd"):
        live.type(text)
    keyboard.allow(2)
    assert answers.next() == "abcd"
    assert taken_up(keyboard) == "abcd"
    assert keyboard.asked.empty()  # "ab" and "abc" were never asked for
    assert answers.rest() == []  # nor was "a" delivered


def test_the_same_text_typed_again_is_answered_again(live, keyboard, answers):
    keyboard.allow(2)
    live.type("a")
    assert answers.next() == "a"
    live.type("a")
    assert answers.next() == "a"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["type", "allow", "wait until it is taken up"]), max_size=20))
def test_however_keys_and_answers_meet_the_last_text_is_answered(steps):
    keyboard, answers, typed, held = HeldKeyboard(), Answers(), [], 0
    with LiveSuggestions(keyboard, answers.deliver) as live:
        for step in [*steps, "type"]:
            if step == "type":
                typed.append(len(typed))
                live.type(typed[-1])
                held += 1
            elif step == "allow":
                keyboard.allow()
            elif held:  # the newest one is being answered or was: the worker has come to it
                keyboard.allow(held)
                held = 0
                while taken_up(keyboard) != typed[-1]:
                    pass
        keyboard.allow(len(typed) + 1)
        delivered = [answers.next()]
        while delivered[-1] != typed[-1]:
            delivered.append(answers.next())
    assert answers.rest() == []
    assert delivered == sorted(set(delivered))  # in the order of typing, none twice


def test_many_threads_may_type(keyboard, answers):
    keyboard.allow(1_000)
    with LiveSuggestions(keyboard, answers.deliver) as live:
        threads = [threading.Thread(target=lambda: [live.type("x") for _ in range(100)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        live.type("last")
        while answers.next() != "last":
            pass
    assert answers.rest() == []


def test_an_error_is_reported_and_the_next_text_is_answered(live, keyboard, answers):
    keyboard.allow(2)
    error = ValueError("no model")
    live.type(error)
    assert answers.next_error() is error
    live.type("a")
    assert answers.next() == "a"


def test_an_error_of_who_shows_the_answer_is_reported_too(keyboard, answers):
    def deliver(text, suggestions):
        if text == "a":
            raise RuntimeError("the window is gone")
        answers.deliver(text, suggestions)

    keyboard.allow(2)
    with LiveSuggestions(keyboard, deliver, answers.failed) as live:
        live.type("a")
        assert "window" in str(answers.next_error())
        live.type("b")
        assert answers.next() == "b"


def test_without_a_callback_an_error_is_logged(keyboard, answers, caplog):
    keyboard.allow(2)
    with LiveSuggestions(keyboard, answers.deliver) as live:
        live.type(ValueError("no model"))
        taken_up(keyboard)
        live.type("a")
        answers.next()
    (record,) = caplog.records
    assert "no model" in record.getMessage()
    assert record.exc_info


def test_a_callback_that_fails_does_not_end_the_worker(keyboard, answers, caplog):
    keyboard.allow(2)

    def failed(error):
        raise OSError("no dialog")

    with LiveSuggestions(keyboard, answers.deliver, failed) as live:
        live.type(ValueError("no model"))
        taken_up(keyboard)
        live.type("a")
        assert answers.next() == "a"
    assert "no model" in caplog.text
    assert "no dialog" in caplog.text


def type_until_closed(live):
    while True:
        live.type("abc")


def test_closing_waits_for_the_worker_and_delivers_nothing_more(keyboard, answers):
    live = LiveSuggestions(keyboard, answers.deliver)
    live.type("a")
    taken_up(keyboard)
    live.type("ab")
    closing = threading.Thread(target=live.close)
    closing.start()
    with pytest.raises(RuntimeError, match="make new"):
        type_until_closed(live)
    assert closing.is_alive()  # it waits for the answer that is under way
    keyboard.allow()
    closing.join(PATIENCE)
    assert not closing.is_alive()
    assert answers.rest() == []
    live.close()


def test_it_may_be_closed_and_typed_into_from_where_answers_are_shown(keyboard, answers):
    def deliver(text, suggestions):
        answers.deliver(text, suggestions)
        if text == "a":
            live.type("b")
        else:
            live.close()

    keyboard.allow(2)
    live = LiveSuggestions(keyboard, deliver)
    live.type("a")
    assert answers.next() == "a"
    assert answers.next() == "b"
    live.close()


def test_a_real_keyboard_is_typed_on(files, tmp_path):
    found = queue.Queue()
    with Store(tmp_path / "store.db", bytes(32)) as store:
        keyboard = Keyboard(files, files.weights, store)
        with LiveSuggestions(keyboard, lambda *answer: found.put(answer)) as live:
            for end in range(len("thank yo") + 1):
                live.type("thank yo"[:end])
            while (answer := found.get(timeout=PATIENCE))[0] != "thank yo":
                pass
    assert answer[1] == keyboard.suggest("thank yo")
