"""Tests of the fleet, on phones whose participations are scripted."""

import threading
import time
from contextlib import contextmanager, suppress
from itertools import count

import pytest
from eventually import eventually

from hushfold.conditions import SimulatedConditions
from hushfold.participation import Outcome, OutcomeKind, Step
from hushfold_demo.errors import DemoError
from hushfold_demo.fleet import Fleet
from hushfold_demo.phone import StoppableClock, Stopped, Vanished
from hushfold_demo.rounds import Round
from hushfold_demo.server_process import Look

WITHIN = 10.0  # seconds; reached only by a test that fails


class ScriptedPhone:
    """Does what a list of outcomes and exceptions says, and then waits until it is stopped."""

    def __init__(self, name, script, stop):
        self.name, self.step = name, None
        self.conditions = SimulatedConditions()
        self.done = threading.Semaphore(0)  # counts participations that began
        self._script, self._clock = iter(script), StoppableClock(stop)

    def take_part(self):
        self.step = Step.TRAIN
        event = next(self._script, None)
        self.done.release()
        if event is None:
            self._clock.wait(WITHIN)
            raise AssertionError("nobody stopped the phone")
        if isinstance(event, BaseException):
            raise event
        return event


def look(number=1, *, rounds_done=0):
    rounds = tuple(Round(n, "open", "", 0, 0, 0, None) for n in range(1, number + 1))
    return Look("active", "", rounds_done, rounds, 0.0, 1e-5, None, None)


CONTRIBUTED = Outcome(OutcomeKind.CONTRIBUTED, round_number=1)


class Stage:
    """A fleet with scripted phones, and what it said."""

    def __init__(self, *scripts):
        self.stop, self.said = threading.Event(), []
        self.phones = [ScriptedPhone(f"phone {i}", script, self.stop) for i, script in enumerate(scripts, 1)]
        self.fleet = Fleet(self.phones, self.stop, self.said.append)


@contextmanager
def interrupted(fleet):
    """Runs the fleet during the block, and leaves as Ctrl-C does: phones are not waited for."""
    with suppress(KeyboardInterrupt), fleet:
        yield
        raise KeyboardInterrupt


def observe_until_it_raises(fleet):
    with fleet:
        while True:
            fleet.observe(look(), time.monotonic())


def test_phones_go_on_after_a_round():
    stage = Stage([CONTRIBUTED, CONTRIBUTED])
    with interrupted(stage.fleet):
        for _ in range(3):
            assert stage.phones[0].done.acquire(timeout=WITHIN)
        assert stage.fleet.steps() == {Step.TRAIN: 1}
        assert stage.fleet.activity() == "1 train"
    assert not any(thread.is_alive() for thread in threading.enumerate() if thread.name == "phone 1")


def test_a_phone_that_vanished_is_back_in_a_later_round():
    stage = Stage([Vanished(Step.UPLOAD)])
    phone = stage.phones[0]
    with interrupted(stage.fleet):
        assert phone.done.acquire(timeout=WITHIN)
        eventually(lambda: phone.conditions.current().unmetered is False)
        stage.fleet.observe(look(0), float("-inf"))  # asked before it disappeared: tells nothing of where it was
        for _ in range(5):
            stage.fleet.observe(look(1), time.monotonic())
        assert not phone.done.acquire(timeout=0.1)
        assert phone.conditions.current().unmetered is False
        for number in count(2):  # it may wake up late, and take a later round for the one in which it disappeared
            stage.fleet.observe(look(number), time.monotonic())
            if phone.done.acquire(timeout=0.05):
                break
        assert phone.conditions.current().unmetered is True
    assert stage.said == ["phone 1 disappears: secrets shared, nothing uploaded"]


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.CHECK_IN])
def test_every_step_that_a_phone_can_vanish_at_has_words(step):
    stage = Stage([Vanished(step)])
    with interrupted(stage.fleet):
        assert stage.phones[0].done.acquire(timeout=WITHIN)
    (said,) = stage.said  # its thread has ended
    assert said.startswith("phone 1 disappears: ")


def test_what_a_phone_cannot_cope_with_is_raised():
    stage = Stage([OSError("disk full")], [])
    with pytest.raises(OSError, match="disk full"):
        observe_until_it_raises(stage.fleet)


def test_a_fleet_that_refuses_ends_the_demo_with_the_reason():
    refusal = Outcome(OutcomeKind.REFUSED, "a floor of 2", round_number=1)
    stage = Stage([refusal], [refusal])
    with pytest.raises(DemoError, match="refuse to take part: a floor of 2"):
        observe_until_it_raises(stage.fleet)
    assert len(stage.said) == 1  # not once for each phone


def test_some_who_refuse_do_not_end_it():
    stage = Stage([Outcome(OutcomeKind.REFUSED, "spent", round_number=3)], [])
    with interrupted(stage.fleet):
        for phone in stage.phones:
            assert phone.done.acquire(timeout=WITHIN)
        stage.fleet.observe(look(rounds_done=2), time.monotonic())


def test_waiting_on_the_clock_ends_when_it_is_stopped():
    stop = threading.Event()
    clock = StoppableClock(stop)
    clock.wait(0)
    stop.set()
    with pytest.raises(Stopped):
        clock.wait(WITHIN)


def test_phones_between_two_participations_wait():
    stage = Stage([], [])
    assert stage.fleet.activity() == "2 wait"
    stage.phones[0].step = Step.UNMASK
    assert stage.fleet.activity() == "1 unmask, 1 wait"
