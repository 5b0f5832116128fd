"""Devices that are lost at any step: a round that can finish does, with the exact sum, and any other costs nothing.

The server's own rounds on a database, real devices of the protocol, and a ledger on each of them. What should happen is
worked out here from who was lost where, by the sizes that the plan promises and nothing of the server's.
"""

from collections import Counter

import numpy as np
import pytest
from cohort import make_plan, share_work
from hypothesis import given, settings
from hypothesis import strategies as st
from rounds_with_ledgers import STEPS, Played, ledgers

from hushfold.ledger import ContributionState
from hushfold_protocol import messages
from hushfold_protocol.errors import Refused
from hushfold_protocol.graph import COMPLETE
from hushfold_server.database import Phase, charges, round_messages, sums
from hushfold_server.errors import NotFound

COUNT, FLOOR = 10, 6


@pytest.fixture(scope="module")
def budgets(tmp_path_factory):
    with ledgers(tmp_path_factory.mktemp("phones"), COUNT) as made:
        yield made


@pytest.fixture
def play(tmp_path_factory, budgets):
    """Plays a round, checks all that must hold of it, and gives it."""

    def checked(plan, lost, count=COUNT, with_ledgers=True):
        made = Played(tmp_path_factory.mktemp("server") / "server.db", plan, budgets if with_ledgers else (), count)
        row = made.play(lost)
        check(made, row, lost, count)
        made.database.close()
        return made, row

    return checked


def check(made, row, lost, count):
    """The round against what the plan promises."""
    gone = Counter({step: len(set(lost.get(step, ()))) for step in STEPS})
    joined = count - gone["join"]
    present = [joined - gone["share"]]  # who shared, who uploaded, who agreed, who gave shares
    for step in (("upload", "arrive"), ("agree",), ("unmask",)):
        present.append(present[-1] - sum(gone[one] for one in step))
    cohort = made.plan.cohort
    enough = max(cohort.floor, (joined + cohort.colluders) // 2 + 1) + cohort.graph(max(joined, 1)).strays
    agreed = joined >= cohort.floor and all(number >= enough for number in present[:3])
    in_the_sum = set(range(count)).difference(*(lost.get(step, ()) for step in ("join", "share", "upload", "arrive")))
    has_unmasked = present[3] >= cohort.graph(joined).threshold if agreed else False

    assert made.rows(round_messages) == []
    if agreed and has_unmasked:
        assert row.phase == Phase.SUMMED
        np.testing.assert_array_equal(made.opened(), made.cohort.expected(set(range(count)) - in_the_sum))
    else:
        assert row.phase == Phase.ABORTED
        assert made.rows(sums) == []
    # Shares are asked for only when enough have agreed: from then on the sum can be opened, and is paid for.
    assert made.charged_by_the_server() == (in_the_sum if agreed else set())
    assert len(made.rows(charges)) == (1 if agreed else 0)
    if made.budgets:
        masked = joined >= cohort.floor and present[0] >= enough
        sent = (in_the_sum | set(lost.get("arrive", ()))) if masked else set()
        assert made.charged_by_themselves() == sent >= made.charged_by_the_server()
        (charge,) = made.rows(charges) or [None]
        for number in made.charged_by_the_server():
            (mine,) = [c for c in made.budgets[number].contributions() if c.round_id == made.plan.round_id]
            assert mine.state is ContributionState.CHARGED
            # What a device pays for is the floor; what the server knows, who was really there, is never more.
            assert made.plan.curve().values == mine.curve.values
            assert charge.epsilon_after <= mine.epsilon


# ------------------------------------------------------------------ each step alone


PLAN = make_plan(floor=FLOOR, maximum=COUNT, dimension=20)


@pytest.mark.parametrize("step", STEPS)
def test_a_third_of_the_devices_lost_at_one_step(step, play):
    """35 % of twenty."""
    plan = make_plan(floor=13, maximum=20, dimension=20)
    _, row = play(plan, {step: range(5, 12)}, count=20, with_ledgers=False)
    assert row.phase == Phase.SUMMED


@pytest.mark.parametrize("step", STEPS)
def test_all_but_one_less_than_the_floor_lost_at_one_step(step, play):
    made, row = play(PLAN, {step: range(FLOOR - 1, COUNT)})
    assert row.phase == Phase.ABORTED
    assert row.reason
    assert made.charged_by_the_server() == (set(range(COUNT)) if step == "unmask" else set())


@pytest.mark.parametrize("step", STEPS)
def test_everybody_lost_at_one_step(step, play):
    _, row = play(PLAN, {step: range(COUNT)})
    assert row.phase == Phase.ABORTED


# ------------------------------------------------------------------ mixtures


def mixtures(most):
    """Who is lost at which step."""
    losses = st.dictionaries(st.integers(0, COUNT - 1), st.sampled_from(STEPS), max_size=most)
    return losses.map(lambda at: {step: [n for n, s in at.items() if s == step] for step in STEPS})


@settings(deadline=None, max_examples=15)
@given(lost=mixtures(COUNT * 35 // 100), bits=st.sampled_from([8, 20, 32]))
def test_up_to_a_third_of_the_devices_lost_wherever(play_any, lost, bits):
    _, row = play_any(make_plan(bits=bits, floor=FLOOR, maximum=COUNT, dimension=20), lost)
    assert row.phase == Phase.SUMMED


@settings(deadline=None, max_examples=15)
@given(lost=mixtures(COUNT), gamma=st.sampled_from([0.0, 0.1, 0.3]))
def test_any_number_of_devices_lost_wherever(play_any, lost, gamma):
    """It ends well or is aborted, as `check` works out."""
    play_any(make_plan(floor=FLOOR, maximum=COUNT, gamma=gamma, dimension=20), lost)


@pytest.fixture(scope="module")
def play_any(tmp_path_factory, budgets):
    """As `play`, for examples that hypothesis draws."""

    def checked(plan, lost):
        made = Played(tmp_path_factory.mktemp("server") / "server.db", plan, budgets)
        try:
            row = made.play(lost)
            check(made, row, lost, COUNT)
        finally:
            made.database.close()
        return made, row

    return checked


# ------------------------------------------------------------------ more than a hundred


@pytest.mark.slow
def test_devices_of_a_sparse_graph_lost_at_every_step(play, monkeypatch):
    share_work(monkeypatch)
    count, floor = COMPLETE + 10, 88
    plan = make_plan(floor=floor, maximum=count, gamma=0.05, dimension=16)
    assert not plan.cohort.graph(count - 3).complete
    lost = {step: range(3 * place, 3 * place + 3) for place, step in enumerate(STEPS)}
    _, row = play(plan, lost, count=count, with_ledgers=False)
    assert (row.phase, row.joined, row.sharers, row.survivors) == (Phase.SUMMED, count - 3, count - 6, count - 12)


# ------------------------------------------------------------------ more than a session takes


def test_who_finds_the_session_full_is_told_so_pays_nothing_and_takes_part_in_the_next_one(tmp_path, budgets):
    plan = make_plan(floor=FLOOR, maximum=8, dimension=20)
    made = Played(tmp_path / "server.db", plan, budgets, count=8)
    made.begin(made.plan, COUNT)
    for number in range(8):
        made.rounds.join(made.cohort.devices[number].join)
    for number in (8, 9):
        with pytest.raises(Refused, match="the session has begun without this device"):
            made.rounds.join(made.cohort.devices[number].join)
        assert made.rounds.next_message(made.id, made.ids[number]).ending == messages.Ending.LEFT_OUT
    for _ in range(4):
        for number in range(8):
            made.turn(number, arrives=True)
    assert made.row().phase == Phase.SUMMED
    np.testing.assert_array_equal(made.opened(), made.cohort.expected({8, 9}))
    assert made.charged_by_the_server() == made.charged_by_themselves() == set(range(8))
    for number in (8, 9):
        with pytest.raises(NotFound):
            made.rounds.join(made.cohort.devices[number].join)

    made.next_round(COUNT)
    assert isinstance(made.rounds.check_in(made.plan.population, made.ids[9]), messages.Invitation)
    order = [9, 8, *range(6)]
    for number in order:
        made.rounds.join(made.cohort.devices[number].join)
    for _ in range(4):
        for number in order:
            made.turn(number, arrives=True)
    np.testing.assert_array_equal(made.opened(), made.cohort.expected({6, 7}))
    assert made.charged_by_the_server() == set(order)
    assert made.charged_by_themselves() == set(range(COUNT))
    one, two = made.plan.curve().epsilon(1e-6), (2 * made.plan.curve()).epsilon(1e-6)
    spent = [budget.spent(made.plan.population) for budget in budgets]
    assert spent == [two] * 6 + [one] * 4
    made.database.close()
