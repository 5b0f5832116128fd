"""Tests of the demo's typist: keys add up with what the SDK counts, and what is told is the proof of the device."""

import io
import subprocess
import sys
import threading

import pytest
from rich.console import Console

from hushfold.device import EPSILON_LIMIT, DevicePolicy
from hushfold.errors import ModelError
from hushfold_demo.errors import UsageError
from hushfold_demo.narration import Narration
from hushfold_demo.personas import personas
from hushfold_demo.phone import Phone, StoppableClock
from hushfold_demo.texts import Person, find
from hushfold_demo.typist import Typist, type_and_prove

COMMAND = [sys.executable, "-m", "hushfold_demo.cli", "type"]


@pytest.fixture
def phone_of(tmp_path):
    phones = []

    def made(*messages):
        person, clock = Person("ann", messages), StoppableClock(threading.Event())
        phones.append(Phone("ann", person, tmp_path, policy=DevicePolicy(), epsilon_limit=EPSILON_LIMIT, clock=clock))
        return phones[-1]

    yield made
    for phone in phones:
        phone.close()


@pytest.fixture
def told():
    """A narration, and what it has said."""
    screen = io.StringIO()
    return Narration(Console(file=screen, width=200)), screen


def test_every_key_is_accounted_for(phone_of):
    phone = phone_of()
    with Typist(phone) as typist:
        for message in ("see you at the park tomorrow, ok?", "Thank you so much!!", "\U0001f602 lol", "qzxqzx"):
            typist.write(message)
    letters = "see you at the park tomorrow , ok ? Thank you so much !! \U0001f602 lol qzxqzx "
    assert typist.keys == len(letters)
    assert typist.keys - typist.pressed == phone.device.keyboard.saved().taps > 0
    assert [message.text for message in phone.device.keyboard.messages()][-1] == "see you at the park tomorrow, ok?"


def test_a_user_who_repeats_themselves_presses_fewer_keys(phone_of):
    with Typist(phone_of()) as typist:
        pressed = []
        for _ in range(4):
            before = typist.pressed
            typist.write("da zorkville bus lah")
            pressed.append(typist.pressed - before)
    assert pressed[-1] < pressed[0]


def test_an_error_of_the_keyboard_is_not_waited_for(phone_of, monkeypatch):
    phone = phone_of()

    def fail(*_):
        raise ModelError("the model is gone")

    monkeypatch.setattr(phone.device.keyboard, "suggest", fail)
    with Typist(phone) as typist, pytest.raises(ModelError, match="gone"):
        typist.write("see you")


def test_the_night_and_its_proof_are_told(phone_of, told):
    narration, screen = told
    phone = phone_of(*(f"c u at da park {word}" for word in ("lah", "mah", "leh", "lor") * 12))
    type_and_prove(phone, narration)
    text = screen.getvalue()
    assert "after 12 messages: 40 messages are needed to prove anything; 12 so far" in text
    assert f"The proof: {phone.device.proof()}" in text
    assert "% before, " in text


def test_a_user_of_few_words_is_told_that_nothing_is_proven(phone_of, told):
    narration, screen = told
    type_and_prove(phone_of("see you", "thank you"), narration)
    assert "Nothing is trained: 2 messages to learn from, 40 needed" in screen.getvalue()
    assert "The proof: 40 messages are needed to prove anything; 2 so far" in screen.getvalue()


def test_who_has_written_nothing_cannot_type(phone_of, told):
    with pytest.raises(UsageError, match="ann has written nothing"):
        type_and_prove(phone_of(), told[0])


def test_a_person_is_found_by_name_and_else_the_one_who_writes_most():
    assert find(personas(), "bea").name == "bea"
    assert len(find(personas(), None).messages) == max(len(person.messages) for person in personas())
    with pytest.raises(UsageError, match=r"nobody is called 'x'\. There are amina, "):
        find(personas(), "x")


def test_the_command_shows_the_proof_and_leaves_nothing_behind(tmp_path):
    done = subprocess.run(COMMAND, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert "The proof: top-3 right: " in " ".join(done.stdout.split())
    assert "XNNPACK" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_is_told_in_a_sentence(tmp_path):
    done = subprocess.run([*COMMAND, "--person", "x"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: nobody is called 'x'")
