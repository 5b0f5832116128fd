"""Tests of what the demo says about rounds, and of when it gives up."""

from dataclasses import replace

import pytest

from hushfold_demo.errors import DemoError, UsageError
from hushfold_demo.rounds import Round, news
from hushfold_demo.scenario import ABORTS, require_learners, require_progress
from hushfold_demo.server_process import Look
from hushfold_demo.task import FEWEST_MESSAGES, FleetTask

OPEN = Round(1, "open", "", 3, 0, 0, None)
SUMMED = replace(OPEN, phase="summed", joined=3, survivors=2, epsilon_after=1490.4)
ABORTED = replace(OPEN, phase="aborted", reason="too few devices have joined", joined=1)


def look(*rounds, status="active", reason=""):
    return Look(status, reason, 0, rounds, 0.0, 1e-5, None, None)


def test_a_round_is_told_when_it_opens_and_when_it_ends():
    told = []
    before = ()
    for now in ((OPEN,), (replace(OPEN, phase="masking"),), (SUMMED,), (replace(SUMMED, phase="learned"),)):
        told += news(before, now)
        before = now
    assert told == [
        "Round 1 is open",
        "Round 1 is summed: 3 invited, 2 in the sum, 1 dropped out; epsilon 1,490 so far",
    ]


def test_rounds_that_nobody_looked_at_in_between_are_told_nevertheless():
    told = list(news((), (ABORTED, replace(OPEN, number=2))))
    assert told == ["Round 1 is open", "Round 1 is aborted: too few devices have joined", "Round 2 is open"]


@pytest.mark.parametrize("each", [OPEN, SUMMED, ABORTED, replace(ABORTED, joined=3, survivors=3)])
def test_an_update_is_in_the_sum_or_dropped(each):
    assert each.invited == each.reported + each.dropped
    assert each.summed or not each.reported


def test_too_many_aborted_rounds_end_the_demo_with_the_reason():
    """By their numbers: the next round is open when one looks again."""
    aborted = [replace(ABORTED, number=number) for number in range(1, ABORTS + 1)]
    require_progress(look(*aborted[:-1], replace(OPEN, number=ABORTS)))
    with pytest.raises(DemoError, match=r"3 rounds were aborted, .*: too few devices have joined"):
        require_progress(look(*aborted, replace(OPEN, number=ABORTS + 1)))


def test_a_halted_task_ends_the_demo_with_the_reason():
    with pytest.raises(DemoError, match="came to nothing: the budget is spent"):
        require_progress(look(OPEN, status="halted", reason="the budget is spent"))


def test_a_fleet_in_which_too_few_can_learn_is_refused():
    task, enough = FleetTask(5, 0, 1), FEWEST_MESSAGES
    require_learners([enough] * 3 + [0] * 2, task)
    with pytest.raises(UsageError, match=r"2 of 5 phones have 8 messages or more .*; a sum needs 3"):
        require_learners([enough] * 2 + [enough - 1] * 3, task)
    with pytest.raises(UsageError, match="no phone has a message that the English model can learn from"):
        require_learners([0] * 5, task)
