"""Conditions: unknown does not hold, starting takes patience, stopping none."""

from collections import namedtuple

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushfold.conditions import Conditions, Gate, HostConditions, Reason, Requirements, SimulatedConditions
from hushfold.errors import ConditionsLost

ALL = Conditions(idle=True, external_power=True, unmetered=True)
STATES = (Reason.IDLE, Reason.EXTERNAL_POWER, Reason.UNMETERED)
tristate = st.sampled_from([True, False, None])


@given(tristate, tristate, tristate, st.sets(st.sampled_from(STATES)), st.tuples(*[st.booleans()] * 3))
def test_missing_is_what_is_required_and_does_not_hold(idle, power, unmetered, accepted, required):
    conditions = Conditions(idle, power, unmetered)
    missing = Requirements(*required, frozenset(accepted)).missing(conditions)
    for reason, needed, state in zip(STATES, required, (idle, power, unmetered), strict=True):
        holds = state is True or (state is None and reason in accepted)
        assert (reason in missing) == (needed and not holds)


def test_nothing_is_known_and_everything_required_by_default():
    assert Requirements().missing(Conditions()) == STATES
    assert Requirements().missing(ALL) == ()


def test_reasons_are_words_for_people():
    assert Reason.EXTERNAL_POWER.text == "waiting for external power"
    assert len({reason.text for reason in Reason}) == len(Reason)
    with pytest.raises(ValueError, match="not a state"):
        ALL.state(Reason.DWELL)


def test_simulated_conditions_are_set_by_name():
    source = SimulatedConditions()
    assert source.current() == ALL
    source.set(idle=None, external_power=False)
    assert source.current() == Conditions(None, False, True)
    with pytest.raises(TypeError):
        source.set(charging=True)


Battery = namedtuple("Battery", "percent secsleft power_plugged")


@pytest.mark.parametrize(
    ("battery", "expected"),
    [(None, True), (Battery(50, 1, True), True), (Battery(50, 1, False), False), (Battery(50, 1, None), None)],
    ids=["no battery", "plugged", "on battery", "not told"],
)
def test_external_power_of_the_host(monkeypatch, battery, expected):
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)
    assert HostConditions().current() == Conditions(None, expected, None)


def test_a_host_without_the_sensor_is_unknown(monkeypatch):
    monkeypatch.delattr(psutil, "sensors_battery", raising=False)
    assert HostConditions().current().external_power is None


def test_adapters_tell_what_psutil_cannot():
    def broken():
        raise OSError("no bus")

    conditions = HostConditions(idle=lambda: True, unmetered=broken).current()
    assert (conditions.idle, conditions.unmetered) == (True, None)


@pytest.fixture
def source():
    return SimulatedConditions()


@pytest.fixture
def gate(source, clock):
    return Gate(source, Requirements(), clock, dwell=60)


def test_work_starts_when_conditions_have_held_for_the_dwell(gate, clock):
    assert gate.waiting_for() == (Reason.DWELL,)
    clock.advance(59)
    assert gate.waiting_for() == (Reason.DWELL,)
    clock.advance(1)
    assert gate.waiting_for() == ()


def test_a_loss_is_seen_at_once_and_the_dwell_starts_anew(gate, source, clock):
    gate.waiting_for()
    clock.advance(60)
    assert gate.waiting_for() == ()
    gate.require()
    source.set(external_power=False, idle=False)
    with pytest.raises(ConditionsLost, match="external power") as caught:
        gate.require()
    assert caught.value.reasons == (Reason.IDLE, Reason.EXTERNAL_POWER)
    assert gate.waiting_for() == (Reason.IDLE, Reason.EXTERNAL_POWER)
    source.set(external_power=True, idle=True)
    gate.require()  # running work may go on; new work waits
    assert gate.waiting_for() == (Reason.DWELL,)
    clock.advance(60)
    assert gate.waiting_for() == ()


def test_a_loss_within_the_dwell_counts(gate, source, clock):
    gate.waiting_for()
    clock.advance(30)
    source.set(unmetered=False)
    assert gate.waiting_for() == (Reason.UNMETERED,)
    source.set(unmetered=True)
    clock.advance(30)
    assert gate.waiting_for() == (Reason.DWELL,)


def test_without_a_dwell_work_starts_at_once(source, clock):
    assert Gate(source, Requirements(), clock, dwell=0).waiting_for() == ()
