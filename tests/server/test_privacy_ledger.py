"""The privacy ledger: what is charged, to whom, what is refused, and that nothing is forgotten."""

from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import func, insert, select
from sqlalchemy import update as change
from task_files import task_file

from hushfold_protocol.plan import ModelReference
from hushfold_protocol.privacy import RdpCurve, round_curve
from hushfold_server import privacy_ledger
from hushfold_server.database import Database, charges, participations, rounds, states, tasks
from hushfold_server.errors import AccountantMismatch, BudgetSpent, NotFound, PrivacyError
from hushfold_server.planning import make_plan
from hushfold_server.privacy_ledger import PrivacyLedger
from hushfold_server.tasks import load_task

DELTA = 1e-6
TEXT = task_file()  # target 20, maximum 25, floor 13, one colluder, z = 4, budget 6
COLLUDERS = 1


def devices(count, start=0):
    return frozenset(number.to_bytes(16, "big") for number in range(start, start + count))


class Server:
    """A database with one task, and rounds to charge."""

    def __init__(self, path):
        self.path = path
        self.open()
        with self.database.begin() as connection:
            connection.execute(
                insert(tasks).values(name="words", population="en", spec=TEXT, status="active", created_at=1.0)
            )
            connection.execute(insert(states).values(task="words", number=0, object_sha256="", created_at=1.0))

    def open(self):
        self.database = Database(self.path)
        self.ledger = PrivacyLedger(self.database)

    def restart(self):
        self.database.close()
        self.open()

    def plan(self, number, **update):
        plan = make_plan(
            load_task(TEXT),
            round_id=number.to_bytes(16, "big"),
            round_number=number,
            model=ModelReference("next_word", "1", bytes(32), "adapter", bytes(32)),
            dimension=1_500,
            rotation_seed=(1, number),
            batch=4,
            time=12,
            now=100.0,
        )
        plan = replace(plan, update=replace(plan.update, **update))
        with self.database.begin() as connection:
            if connection.scalar(select(rounds.c.id).where(rounds.c.number == number)) is None:
                connection.execute(change(rounds).values(phase="summed"))  # one round at a time
                connection.execute(
                    insert(rounds).values(
                        id=plan.round_id.hex(),
                        task="words",
                        number=number,
                        base_state=0,
                        phase="agreeing",
                        invitation=b"",
                        deadline=0.0,
                        created_at=0.0,
                        updated_at=0.0,
                    )
                )
        return plan

    def charge(self, plan, survivors, now=100.0):
        with self.database.begin() as connection:
            return self.ledger.charge(connection, plan, survivors, now=now)

    def written(self):
        with self.database.read() as connection:
            return tuple(connection.scalar(select(func.count()).select_from(t)) for t in (charges, participations))


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path / "hushfold.db")
    yield server
    server.database.close()


def cost(plan, *survivor_counts):
    """Epsilon of one device that was in rounds of these sizes."""
    encoding = plan.update.encoding()
    total = sum((round_curve(encoding, count - COLLUDERS) for count in survivor_counts), RdpCurve.zero())
    return total.epsilon(DELTA)


def test_a_charge_is_what_the_survivors_less_the_colluders_cost(server):
    plan = server.plan(1)
    charge = server.charge(plan, devices(20), now=123.0)
    assert (charge.round_id, charge.survivors, charge.noise_contributors) == (plan.round_id.hex(), 20, 19)
    assert (charge.epsilon_after, charge.delta, charge.charged_at) == (cost(plan, 20), DELTA, 123.0)
    assert server.written() == (1, 20)


def test_more_drop_outs_cost_more_and_the_floor_costs_what_the_plan_said(server):
    plan = server.plan(1)
    epsilons = []
    for number, survivors in enumerate((25, 20, 16, 13), start=1):
        # Other devices every time, so that each charge but the last is below the next one's alone.
        epsilons.append(server.charge(server.plan(number), devices(survivors, 100 * number)).epsilon_after)
    assert epsilons == sorted(set(epsilons))
    assert epsilons[-1] == plan.curve().epsilon(DELTA)


@pytest.mark.parametrize("survivors", [0, 12, 26])
def test_a_sum_outside_what_the_plan_promised_is_refused(server, survivors):
    with pytest.raises(PrivacyError, match="between 13 and 25"):
        server.charge(server.plan(1), devices(survivors))
    assert server.written() == (0, 0)


def test_the_most_exposed_device_sets_the_epsilon(server):
    plan = server.plan(1)
    assert server.charge(plan, devices(20)).epsilon_after == cost(plan, 20)
    # Nobody takes part twice: the maximum is that of one round.
    assert server.charge(server.plan(2), devices(20, 20)).epsilon_after == cost(plan, 20)
    # One device takes part again, in a smaller round.
    assert server.charge(server.plan(3), devices(15, 39)).epsilon_after == pytest.approx(cost(plan, 20, 15))
    # A round of newcomers does not lower it.
    assert server.charge(server.plan(4), devices(25, 100)).epsilon_after == pytest.approx(cost(plan, 20, 15))


def test_the_maximum_over_devices_agrees_with_counting_by_hand(server):
    generator = np.random.default_rng(5)
    plan, history = server.plan(1), {}
    for number in range(1, 7):
        picked = generator.choice(40, size=int(generator.integers(13, 26)), replace=False)
        survivors = frozenset(int(device).to_bytes(16, "big") for device in picked)
        for device in survivors:
            history.setdefault(device, []).append(len(survivors))
        epsilon = server.charge(server.plan(number), survivors).epsilon_after
        assert epsilon == pytest.approx(max(cost(plan, *sizes) for sizes in history.values()))


def test_charging_the_same_again_changes_nothing(server):
    plan = server.plan(1)
    first = server.charge(plan, devices(20), now=100.0)
    assert server.charge(plan, devices(20), now=200.0) == first
    assert server.written() == (1, 20)


@pytest.mark.parametrize("others", [devices(19), devices(21), devices(20, 1)], ids=["fewer", "more", "others"])
def test_charging_a_round_to_others_is_refused(server, others):
    plan = server.plan(1)
    server.charge(plan, devices(20))
    with pytest.raises(PrivacyError, match="charged to other survivors already"):
        server.charge(plan, others)
    assert server.written() == (1, 20)


def test_charging_a_round_under_another_plan_is_refused(server):
    plan = server.plan(1)
    server.charge(plan, devices(20))
    with pytest.raises(PrivacyError, match="at another cost already"):
        server.charge(replace(plan, update=replace(plan.update, clip_norm=0.4)), devices(20))


def test_the_budget_stops_rounds_before_they_open_and_charges_past_it(server):
    affordable = 1
    while cost(server.plan(1), *[13] * (affordable + 1)) <= 6:
        affordable += 1
    assert affordable >= 2
    for number in range(1, affordable + 1):
        plan = server.plan(number)
        reached = server.ledger.may_open(plan)
        assert server.charge(plan, devices(13)).epsilon_after == pytest.approx(reached)
    plan = server.plan(affordable + 1)
    with pytest.raises(BudgetSpent, match="the budget is 6") as caught:
        server.ledger.may_open(plan)
    assert f"would bring epsilon to {cost(plan, *[13] * (affordable + 1)):.4g}" in str(caught.value)
    before = server.written()
    with pytest.raises(BudgetSpent):
        server.charge(plan, devices(13))
    assert server.written() == before
    # The same devices are spent; with others in the sum the charge would do.
    assert server.charge(plan, devices(13, 50)).epsilon_after == pytest.approx(cost(plan, *[13] * affordable))


def test_a_round_that_alone_exceeds_the_budget_is_never_opened(server):
    plan = server.plan(1)
    loud = replace(plan, update=replace(plan.update, local_stddev=plan.update.local_stddev / 10))
    with pytest.raises(BudgetSpent):
        server.ledger.may_open(loud)


def test_without_noise_epsilon_is_infinite_and_refused(server):
    silent = server.plan(1, local_stddev=0.0)
    with pytest.raises(BudgetSpent, match="epsilon to inf"):
        server.ledger.may_open(silent)
    with pytest.raises(BudgetSpent, match="epsilon to inf"):
        server.charge(silent, devices(25))
    assert server.written() == (0, 0)


def test_the_ledger_survives_a_restart(server):
    plan = server.plan(1)
    first = server.charge(plan, devices(20))
    reached = server.ledger.may_open(server.plan(2))
    server.restart()
    assert server.written() == (1, 20)
    assert server.ledger.may_open(server.plan(2)) == reached == pytest.approx(cost(plan, 20, 13))
    assert server.charge(plan, devices(20)) == first


def test_a_charge_whose_transaction_fails_was_not_made(server):
    plan = server.plan(1)

    def crash():
        with server.database.begin() as connection:
            server.ledger.charge(connection, plan, devices(20), now=1.0)
            raise RuntimeError("the process dies before it commits")

    with pytest.raises(RuntimeError):
        crash()
    assert server.written() == (0, 0)


def test_another_delta_than_the_budgets_is_refused(server):
    plan = replace(server.plan(1), delta=1e-5)
    with pytest.raises(PrivacyError, match="delta 1e-05, its budget is stated at 1e-06"):
        server.ledger.may_open(plan)
    with pytest.raises(PrivacyError, match="delta"):
        server.charge(plan, devices(20))


def test_an_unknown_task_is_not_found(server):
    with pytest.raises(NotFound):
        server.ledger.may_open(replace(server.plan(1), task="none"))


def test_an_epsilon_that_dp_accounting_does_not_confirm_is_refused(server, monkeypatch):
    exact = RdpCurve.epsilon
    monkeypatch.setattr(RdpCurve, "epsilon", lambda curve, delta: 0.999 * exact(curve, delta))
    with pytest.raises(AccountantMismatch, match=r"by hushfold_protocol and .* by dp_accounting"):
        server.charge(server.plan(1), devices(20))
    assert server.written() == (0, 0)


def test_a_curve_below_that_of_gaussian_noise_is_refused(server, monkeypatch):
    def halved(encoding, contributors):
        return RdpCurve(tuple(value / 2 for value in round_curve(encoding, contributors).values))

    monkeypatch.setattr(privacy_ledger, "round_curve", halved)
    with pytest.raises(AccountantMismatch, match="Gaussian noise of the same variance"):
        server.charge(server.plan(1), devices(20))
    assert server.written() == (0, 0)
