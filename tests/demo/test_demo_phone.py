"""Tests of a simulated phone: a real device, whose participation in rounds is acted out step by step."""

import threading

import pytest

from hushfold.errors import BudgetExhausted
from hushfold.participation import Outcome, OutcomeKind, Step
from hushfold_demo.personas import personas
from hushfold_demo.phone import Phone, StoppableClock, Stopped, Vanished
from hushfold_demo.task import POPULATION, FleetTask

DIMENSION = 576
TASK = FleetTask(24, 5, 3)


class ActedParticipation:
    """Goes through the steps of one round, as the SDK's own announces them."""

    def __init__(self, phone):
        self._phone = phone

    def run_once(self):
        for step in Step:
            self._phone._before(step)
        return Outcome(OutcomeKind.CONTRIBUTED, round_number=1, bytes_sent=100, bytes_received=50)


@pytest.fixture
def stop():
    return threading.Event()


@pytest.fixture
def phone(tmp_path, stop):
    policy, limit = TASK.policy(DIMENSION), TASK.budget(DIMENSION)
    clock = StoppableClock(stop)
    with Phone("phone 1", personas()[0], tmp_path, policy=policy, epsilon_limit=limit, clock=clock) as phone:
        yield phone


def act(phone, fates=None, training=None):
    phone._participation = ActedParticipation(phone)
    phone._fates, phone._training = fates or {}, training


def test_only_what_may_be_learned_is_typed(phone):
    kept = phone.type_messages()
    stored = {message.text for message in phone.device.keyboard.messages()}
    assert kept == len(phone.person.learned) == len(phone.device.keyboard.messages())
    assert not stored & set(phone.person.held_out) - set(phone.person.learned)


def test_recall_is_measured_on_the_later_messages(phone):
    recall = phone.recall()
    assert 50 < recall.words < 400
    assert 0 < recall.top1 <= recall.top3 < recall.words
    assert phone.recall() == recall


def test_what_is_stored_is_encrypted(phone, tmp_path):
    phone.type_messages()
    words = phone.person.learned[0].encode()
    assert len(words) > 8
    assert not any(words in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_phone_trains_at_once_and_spends_nothing_by_itself(phone):
    assert phone.device.gate.waiting_for() == ()
    assert phone.spent(POPULATION) == 0


def test_a_whole_round_is_counted(phone):
    act(phone)
    phone.take_part()
    phone.take_part()
    assert (phone.invited, phone.reported, phone.bytes_sent, phone.bytes_received) == (2, 2, 200, 100)
    assert phone.step is None


@pytest.mark.parametrize("step", [step for step in Step if step is not Step.CHECK_IN])
def test_a_phone_vanishes_where_and_when_its_fate_says(phone, step):
    act(phone, {2: step})
    phone.take_part()
    with pytest.raises(Vanished) as vanished:
        phone.take_part()
    assert vanished.value.step is step
    assert phone.step is None
    phone.take_part()
    in_the_sum = step in (Step.AGREE, Step.UNMASK)
    assert (phone.invited, phone.reported) == (3, 3 if in_the_sum else 2)
    assert phone.vanished == [step]


def test_the_place_to_train_is_held_while_training_only(phone):
    places = threading.Semaphore(1)
    act(phone, training=places)
    held = {}
    before = phone._before

    def watched(step):
        before(step)
        held[step] = not places.acquire(blocking=False)
        if not held[step]:
            places.release()

    phone._before = watched
    phone.take_part()
    assert held == {step: step is Step.TRAIN for step in Step}


def test_the_place_is_given_back_by_a_phone_that_fails(phone):
    places = threading.Semaphore(1)

    class Failing:
        def run_once(self):
            phone._before(Step.TRAIN)
            raise BudgetExhausted("spent")

    act(phone, training=places)
    phone._participation = Failing()
    with pytest.raises(BudgetExhausted):
        phone.take_part()
    assert places.acquire(blocking=False)


def test_waiting_for_a_place_ends_when_the_demo_does(phone, stop):
    act(phone, training=threading.Semaphore(0))
    stop.set()
    with pytest.raises(Stopped):
        phone.take_part()


def test_a_phone_is_connected_first(phone):
    with pytest.raises(RuntimeError, match="connected"):
        phone.take_part()
