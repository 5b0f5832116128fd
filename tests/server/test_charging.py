"""Each way in which the server could say less than a round has cost its devices. On devices: `sdk/test_charged`.

What is charged is held against Gaussian noise as strong as what was really in the sum, computed by dp_accounting:
Skellam noise never costs less.
"""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from cohort import AUTHORITY, NOW, make_plan
from dp_accounting import GaussianDpEvent, rdp
from rounds_with_ledgers import Played, ledgers
from sqlalchemy import select

from hushfold.errors import BudgetExhausted
from hushfold_protocol.encoding import encode
from hushfold_protocol.privacy import ORDERS
from hushfold_protocol.signing import device_id, issue_certificate
from hushfold_server.database import Phase, charges, participations

COUNT, FLOOR = 10, 6
PLAN = make_plan(floor=FLOOR, maximum=COUNT, gamma=0.1, dimension=20)  # one colluder


def gaussian(*noise_multipliers):
    """Epsilon of rounds with Gaussian noise as strong as that, for one who is in all of them."""
    accountant = rdp.RdpAccountant(ORDERS)
    for multiplier in noise_multipliers:
        accountant.compose(GaussianDpEvent(multiplier))
    return accountant.get_epsilon(PLAN.delta)


def multiplier(plan, contributors, sensitivity=None):
    """Of the noise of so many devices; the sensitivity, in grid steps, is by default that of a clipped update."""
    return np.sqrt(contributors) * plan.update.local_stddev / (sensitivity or plan.update.scale * plan.update.clip_norm)


@pytest.fixture
def server(tmp_path):
    return Played(tmp_path / "server.db", PLAN)


def charged(server):
    (charge,) = server.rows(charges)
    return charge


def everything(server, table):
    with server.database.read() as c:
        return c.execute(select(table)).all()


def test_drop_outs_add_no_noise_and_who_falls_silent_after_its_upload_is_charged(server):
    row = server.play({"share": [0], "upload": [1, 2], "agree": [3]})
    assert row.phase == Phase.SUMMED
    charge = charged(server)
    assert (charge.survivors, charge.noise_contributors) == (7, 6)
    assert charge.epsilon_after >= gaussian(multiplier(PLAN, 6)) > 1.1 * gaussian(multiplier(PLAN, 9))
    assert server.charged_by_the_server() == {3, 4, 5, 6, 7, 8, 9}


def test_the_fewer_are_left_the_more_the_round_costs(tmp_path):
    epsilons = []
    for lost in range(COUNT - FLOOR + 1):
        server = Played(tmp_path / f"{lost}.db", PLAN)
        server.play({"upload": range(lost)})
        epsilons.append(charged(server).epsilon_after)
    assert epsilons == sorted(set(epsilons))
    assert epsilons[-1] == PLAN.curve().epsilon(PLAN.delta)  # at the floor, what the devices pay


@pytest.mark.parametrize(("gamma", "colluders"), [(0.0, 0), (0.1, 1), (0.3, 3), (0.39, 3)])
def test_colluders_add_no_noise(tmp_path, gamma, colluders):
    plan = replace(PLAN, cohort=replace(PLAN.cohort, gamma=gamma))
    server = Played(tmp_path / "server.db", plan)
    assert server.play({}).phase == Phase.SUMMED
    charge = charged(server)
    assert charge.noise_contributors == COUNT - colluders
    sensitivity = plan.update.encoding().l2_bound
    assert charge.epsilon_after >= gaussian(multiplier(plan, COUNT - colluders, sensitivity))


def test_rounding_makes_updates_longer(tmp_path):
    """On a grid that is coarse beside the clip norm."""
    plan = replace(PLAN, update=replace(PLAN.update, scale=3.0, local_stddev=1.0))
    quiet = replace(plan.update.encoding(), local_stddev=0.0)
    longest = 0.0
    for seed in range(50):
        update = np.random.default_rng(seed).standard_normal(quiet.dimension).astype(np.float32)
        vector = encode(update, quiet).astype(np.int64)
        vector[vector >= quiet.modulus // 2] -= quiet.modulus
        longest = max(longest, float(np.sqrt((vector**2).sum())))
    assert longest > 1.2 * plan.update.scale * plan.update.clip_norm
    server = Played(tmp_path / "server.db", plan)
    assert server.play({}).phase == Phase.SUMMED
    assert charged(server).epsilon_after >= gaussian(multiplier(plan, COUNT - 1, longest))
    assert charged(server).epsilon_after > 1.2 * gaussian(multiplier(plan, COUNT - 1))


def test_repeated_participation_adds_up_for_who_was_in_most_rounds(server):
    server.play({"upload": [0, 1]})
    server.next_round(COUNT)
    server.play({"upload": [2]})
    server.next_round(COUNT)
    server.play({"join": [3, 4]})
    last = charged(server)
    # Device 5 was in all three: with 8, 9 and 8 survivors, each less a colluder.
    rounds = [multiplier(PLAN, contributors, PLAN.update.encoding().l2_bound) for contributors in (7, 8, 7)]
    assert last.epsilon_after >= gaussian(*rounds) > 1.1 * gaussian(*rounds[:2])
    own = [row.round for row in everything(server, participations) if row.device == server.ids[5].hex()]
    assert len(own) == 3


def test_a_new_certificate_is_no_new_device():
    """The account is the key's: a device that enrols again has it still."""
    key = AUTHORITY.public_key().public_bytes_raw()
    certificates = [issue_certificate(AUTHORITY, key, NOW, NOW + after) for after in (60, 3600)]
    assert certificates[0] != certificates[1]
    assert len({device_id(certificate.public_key) for certificate in certificates}) == 1


def test_a_clock_that_is_set_back_renews_nothing(server):
    server.play({})
    first = charged(server)
    server.next_round(COUNT)
    with server.database.begin() as c:
        c.execute(charges.update().values(charged_at=NOW + 1e9))  # as if the first round had been in the future
    server.play({})
    last = charged(server)
    assert last.charged_at < NOW + 1e9
    one = multiplier(PLAN, COUNT - 1, PLAN.update.encoding().l2_bound)
    assert last.epsilon_after >= gaussian(one, one) > first.epsilon_after


@pytest.mark.parametrize("end", ["aborted", "discarded"])
def test_a_round_that_comes_to_nothing_stays_charged_once_its_sum_could_be_opened(server, end):
    server.play({"unmask": range(FLOOR)} if end == "aborted" else {})
    if end == "discarded":
        with server.database.begin() as c:
            c.exec_driver_sql("UPDATE rounds SET phase = 'discarded', reason = 'too long'")
    assert server.row().phase == end
    server.next_round(COUNT)
    server.play({})
    one = multiplier(PLAN, COUNT - 1, PLAN.update.encoding().l2_bound)
    assert charged(server).epsilon_after >= gaussian(one, one)


def test_a_second_ledger_on_the_database_knows_what_the_first_has_charged(server):
    """Another process, which takes the messages of the next round."""
    server.play({})
    server.next_round(COUNT)
    server.start()
    server.play({})
    one = multiplier(PLAN, COUNT - 1, PLAN.update.encoding().l2_bound)
    assert charged(server).epsilon_after >= gaussian(one, one)


def test_a_server_that_is_restored_from_a_backup_forgets_and_its_devices_do_not(tmp_path):
    """Its own ledger is in the backup. What devices have spent is with them, and they stay out when it is enough."""
    path, backup = tmp_path / "server.db", tmp_path / "backup.db"
    two_rounds = (2 * PLAN.curve()).epsilon(PLAN.delta)
    with ledgers(tmp_path / "phones", COUNT, limit=two_rounds, delta=PLAN.delta) as budgets:
        server = Played(path, PLAN, budgets)
        server.database.close()
        shutil.copy(path, backup)
        server.start()
        server.play({})
        for number in (2, 3):
            server.database.close()
            shutil.copy(backup, path)
            server.start()
            with server.database.begin() as c:
                c.exec_driver_sql("UPDATE rounds SET phase = 'aborted', reason = 'it was lost'")
            assert everything(server, charges) == []
            server.next_round(COUNT)
            if number == 2:
                server.play({})
            else:
                with pytest.raises(BudgetExhausted):
                    server.play({})
        assert server.row().phase == Phase.MASKING
        assert server.rows(charges) == []
        assert {budget.spent(server.plan.population) for budget in budgets} == {two_rounds}
