"""The table of steps fits the database's table of phases."""

from hushfold_server.database import LIVE_PHASES, TRANSITIONS, Phase, rounds
from hushfold_server.steps import STEP_OF, STEPS


def test_every_phase_in_which_devices_wait_has_a_step_and_the_steps_form_a_chain():
    assert set(STEPS) == LIVE_PHASES
    assert [step.following for step in STEPS.values()] == [*list(STEPS)[1:], Phase.SUMMED]
    for phase, step in STEPS.items():
        assert TRANSITIONS[phase] == {step.following, Phase.ABORTED}


def test_every_step_has_a_message_and_a_name_of_its_own_and_counts_in_a_column():
    assert len(STEP_OF) == len({step.stored for step in STEPS.values()}) == len(STEPS)
    counted = [step.counted for step in STEPS.values() if step.counted]
    assert len(set(counted)) == len(counted) == 3
    assert set(counted) <= set(rounds.columns.keys())
