"""The ledger: charged before sending, never refunded, never twice, never in part."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushfold.errors import BudgetExhausted, ChargeConflict, StoreMismatch
from hushfold.ledger import Contribution, ContributionState, DeviceBudget
from hushfold.store import Store
from hushfold_protocol.encoding import EncodingParameters
from hushfold_protocol.plan import CohortParameters, ModelReference, Plan, TrainingParameters, UpdateParameters
from hushfold_protocol.privacy import ORDERS, RdpCurve

NOW = 1_700_000_000.0
DELTA = 1e-5
PAYLOAD = b"a masked update"


def plan(number=1, noise_multiplier=2.0, population="en-phones"):
    encoding = EncodingParameters.for_cohort(
        dimension=1000,
        clip_norm=0.5,
        noise_multiplier=noise_multiplier,
        bits=32,
        cohort_max=200,
        noise_contributors=110,
        rotation_seed=(1, 2),
    )
    update = UpdateParameters(1000, 0.5, encoding.scale, 32, encoding.local_stddev, 1, 2, encoding.beta)
    return Plan(
        population=population,
        task="words",
        round_id=number.to_bytes(16, "big"),
        round_number=number,
        model=ModelReference("next_word", "1.0.0", b"m" * 32, "adapter", b"p" * 32),
        training=TrainingParameters(10, 8, 12, 0.1, 500, 0),
        update=update,
        cohort=CohortParameters(target=150, maximum=200, floor=120, gamma=0.05),
        delta=DELTA,
        join_delay_ms=1000,
        expires=int(NOW) + 3600,
    )


def contribution(number=1, payload=PAYLOAD, at=NOW, **options):
    return Contribution.to_plan(plan(number, **options), payload, cohort=160, at=at)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def store(path):
    with Store(path, bytes(32)) as opened:
        yield opened


@pytest.fixture
def budget(store):
    return DeviceBudget(store, limit=8.0, delta=DELTA)


def test_a_contribution_says_what_left_and_what_it_cost():
    made, its_plan = contribution(), plan()
    assert made.epsilon == its_plan.curve().epsilon(DELTA)
    assert (made.clip_norm, made.cohort, made.floor, made.bytes_sent) == (0.5, 160, 120, len(PAYLOAD))
    # All honest devices at the floor together make the noise of the multiplier: 110 shares of variance s^2.
    assert made.noise_stddev * math.sqrt(110) == pytest.approx(2.0 * 0.5, rel=0.01)
    assert made.state is ContributionState.CHARGED


def test_a_charge_is_recorded_and_counted(budget, store):
    assert budget.spent("en-phones") == 0
    first = contribution()
    budget.charge(first)
    assert budget.spent("en-phones") == pytest.approx(first.epsilon)
    assert budget.contributions() == [first]
    assert DeviceBudget(store, limit=8.0, delta=DELTA).contributions() == [first]


def test_rounds_compose_as_curves_not_as_epsilons(budget):
    for number in range(1, 4):
        budget.charge(contribution(number))
    one = contribution()
    assert budget.spent("en-phones") == (3 * one.curve).epsilon(DELTA) < 3 * one.epsilon


def test_populations_have_budgets_of_their_own(budget):
    budget.charge(contribution(1))
    budget.charge(contribution(2, population="de-phones"))
    assert budget.spent("en-phones") == budget.spent("de-phones") == pytest.approx(contribution().epsilon)
    assert [(c.round_number, c.population) for c in budget.contributions()] == [(1, "en-phones"), (2, "de-phones")]


def test_a_spent_budget_refuses_and_changes_nothing(store):
    one = contribution()
    budget = DeviceBudget(store, limit=(2 * one.curve).epsilon(DELTA), delta=DELTA)
    budget.charge(contribution(1))
    budget.charge(contribution(2))  # exactly at the limit
    before = budget.spent("en-phones")
    with pytest.raises(BudgetExhausted, match="limit"):
        budget.charge(contribution(3))
    assert budget.spent("en-phones") == before
    assert len(budget.contributions()) == 2


def test_a_release_without_noise_never_fits(budget):
    infinite = RdpCurve((math.inf,) * len(ORDERS))
    with pytest.raises(BudgetExhausted, match="inf"):
        budget.charge(replace(contribution(), curve=infinite))


def test_a_retransmission_is_charged_once(budget):
    budget.charge(contribution())
    before = budget.spent("en-phones")
    budget.advance(contribution().round_id, ContributionState.SENT)
    budget.charge(contribution(at=NOW + 60))
    assert budget.spent("en-phones") == before
    assert [(c.charged_at, c.state) for c in budget.contributions()] == [(NOW, ContributionState.SENT)]


def test_a_retransmission_passes_when_the_budget_is_spent(store):
    budget = DeviceBudget(store, limit=contribution().epsilon, delta=DELTA)
    budget.charge(contribution())
    budget.charge(contribution())
    assert len(budget.contributions()) == 1


@pytest.mark.parametrize(
    "other",
    [
        contribution(payload=b"other bytes"),
        contribution(noise_multiplier=4.0),
        contribution(population="de-phones"),
    ],
    ids=["payload", "noise", "population"],
)
def test_a_second_contribution_to_a_round_is_refused(budget, other):
    budget.charge(contribution())
    before = budget.spent("en-phones"), budget.spent("de-phones"), budget.contributions()
    with pytest.raises(ChargeConflict, match="Stay out"):
        budget.charge(other)
    assert (budget.spent("en-phones"), budget.spent("de-phones"), budget.contributions()) == before


def test_a_clock_set_back_gives_nothing_back(budget):
    budget.charge(contribution(1, at=NOW))
    budget.charge(contribution(2, at=NOW - 1e9))
    assert budget.spent("en-phones") == (2 * contribution().curve).epsilon(DELTA)
    assert [c.round_number for c in budget.contributions()] == [1, 2]


def test_a_wipe_gives_nothing_back(budget, store):
    budget.charge(contribution())
    store.wipe()
    assert budget.spent("en-phones") == pytest.approx(contribution().epsilon)
    assert len(budget.contributions()) == 1


def test_states_only_move_on(budget):
    budget.charge(contribution())
    round_id = contribution().round_id
    budget.advance(round_id, ContributionState.MAYBE_OPENED)
    budget.advance(round_id, ContributionState.SENT)
    assert budget.contributions()[0].state is ContributionState.MAYBE_OPENED
    with pytest.raises(KeyError, match="never charged"):
        budget.advance(bytes(16), ContributionState.SENT)
    with pytest.raises(ValueError, match="charged before"):
        budget.charge(replace(contribution(2), state=ContributionState.SENT))


def test_a_crash_between_the_two_writes_leaves_neither(budget, store):
    store.execute("CREATE TRIGGER crash BEFORE INSERT ON budget BEGIN SELECT RAISE(ABORT, 'power failure'); END")
    with pytest.raises(Exception, match="power failure"):
        budget.charge(contribution())
    store.execute("DROP TRIGGER crash")
    assert budget.contributions() == []
    assert budget.spent("en-phones") == 0


def test_a_curve_of_other_orders_is_refused(budget, store):
    budget.charge(contribution())
    store.execute("UPDATE budget SET curve = ?", (bytes(8 * (len(ORDERS) - 1)),))
    with pytest.raises(StoreMismatch, match="another version"):
        budget.spent("en-phones")
    with pytest.raises(StoreMismatch, match="Update the app"):
        budget.charge(contribution(2))
    assert len(budget.contributions()) == 1


@pytest.mark.parametrize(("limit", "delta"), [(0, DELTA), (-1, DELTA), (math.nan, DELTA), (1, 0), (1, 1)])
def test_a_limit_must_make_sense(store, limit, delta):
    with pytest.raises(ValueError):
        DeviceBudget(store, limit=limit, delta=delta)


curves = st.floats(0, 2).map(lambda rate: RdpCurve(tuple(rate * order / 10 for order in ORDERS)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), curves, st.floats(0, 2e9)), max_size=12))
def test_the_total_is_the_sum_of_the_ledger_and_within_the_limit(tmp_path_factory, attempts):
    with Store(tmp_path_factory.mktemp("ledger") / "store.db", bytes(32)) as store:
        budget = DeviceBudget(store, limit=3.0, delta=DELTA)
        for number, curve, at in attempts:
            before = budget.spent("en-phones")
            try:
                budget.charge(replace(contribution(number, at=at), curve=curve))
            except (BudgetExhausted, ChargeConflict):
                assert budget.spent("en-phones") == before
            assert before <= budget.spent("en-phones") <= 3.0
        total = sum((c.curve for c in budget.contributions()), RdpCurve.zero())
        assert budget.spent("en-phones") == total.epsilon(DELTA)
