"""Each way in which a device could think that it has spent less than it has. On the server: `server/test_charging`."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from dp_accounting import GaussianDpEvent, rdp
from test_keys import MemoryKeyring
from test_ledger import DELTA, NOW, contribution, plan

from hushfold.device import Device
from hushfold.errors import BudgetExhausted, KeyUnavailable
from hushfold.keys import KeyFile, Keyring
from hushfold.ledger import Contribution, ContributionState, DeviceBudget
from hushfold.store import Store
from hushfold_protocol.encoding import encode
from hushfold_protocol.plan import DevicePolicy
from hushfold_protocol.privacy import ORDERS

POPULATION = "en-phones"
LIMIT = (3 * contribution().curve).epsilon(DELTA)  # three rounds


def gaussian(noise_multiplier, rounds=1):
    """Epsilon of Gaussian noise as strong as that: the least that as much Skellam noise can cost, by other code."""
    event = GaussianDpEvent(noise_multiplier)
    return rdp.RdpAccountant(ORDERS).compose(event, rounds).get_epsilon(DELTA)


def multiplier(of, contributors, sensitivity):
    """Of the noise that so many devices make together, for a sensitivity in grid steps."""
    return np.sqrt(contributors) * of.update.local_stddev / sensitivity


# ------------------------------------------------------------------ what one round costs


@pytest.mark.parametrize("cohort", [120, 150, 200])
def test_drop_outs_are_in_the_price_before_anybody_drops_out(cohort):
    """However many devices the session begins with: the server may open the sum of the floor."""
    charged = Contribution.to_plan(plan(), b"masked", cohort=cohort, at=NOW)
    its_plan = plan()
    at_the_floor = multiplier(its_plan, its_plan.cohort.floor - its_plan.cohort.colluders, its_plan.update.scale * 0.5)
    assert charged.epsilon >= gaussian(at_the_floor)
    assert charged.curve == contribution().curve


def test_colluders_are_in_the_price_as_noise_that_is_not_there():
    its_plan = plan()
    assert its_plan.cohort.colluders == 10
    honest = multiplier(its_plan, 120 - 10, its_plan.update.encoding().l2_bound)
    everybody = multiplier(its_plan, 120, its_plan.update.encoding().l2_bound)
    assert contribution().epsilon >= gaussian(honest) > gaussian(everybody)
    # What Skellam noise costs more than Gaussian is less than the difference: who counts everybody is found out.
    without = replace(its_plan, cohort=replace(its_plan.cohort, gamma=0.0))
    assert without.curve().epsilon(DELTA) < gaussian(honest)


def test_rounding_is_in_the_price():
    """On a coarse grid an update becomes longer than its clip norm, and is protected at the length that it has."""
    coarse = replace(plan(), update=replace(plan().update, scale=plan().update.scale / 1000, local_stddev=3.0))
    quiet = replace(coarse.update.encoding(), local_stddev=0.0)
    longest = 0.0
    for seed in range(30):
        update = np.random.default_rng(seed).standard_normal(quiet.dimension).astype(np.float32)
        vector = encode(update, quiet).astype(np.int64)
        vector[vector >= quiet.modulus // 2] -= quiet.modulus
        longest = max(longest, float(np.sqrt((vector**2).sum())))
    assert longest > 1.05 * coarse.update.scale * 0.5
    charged = Contribution.to_plan(coarse, b"masked", cohort=160, at=NOW)
    assert charged.epsilon >= gaussian(multiplier(coarse, coarse.cohort.noise_contributors, longest))
    unrounded = multiplier(coarse, coarse.cohort.noise_contributors, coarse.update.scale * 0.5)
    assert charged.epsilon > 1.05 * gaussian(unrounded)


# ------------------------------------------------------------------ what several cost


@pytest.fixture
def keys(tmp_path):
    return KeyFile(tmp_path / "elsewhere" / "key")


@pytest.fixture
def make_device(tmp_path, keys):
    opened = []

    def make(folder="phone", keys=keys):
        policy = DevicePolicy(max_delta=DELTA)
        opened.append(Device(tmp_path / folder, keys, epsilon_limit=LIMIT, policy=policy))
        return opened[-1]

    yield make
    for device in opened:
        device.close()


def spend(device, *numbers, **options):
    for number in numbers:
        device.budget.charge(contribution(number, **options))


def spends_no_more(device):
    with pytest.raises(BudgetExhausted, match="limit of this device"):
        spend(device, 99)
    return device.budget.spent(POPULATION) == LIMIT


def test_repeated_participation_adds_up_whatever_tasks_it_was_in(make_device):
    device = make_device()
    budget = device.budget
    for number, task in enumerate(("words", "other words", "words")):
        budget.charge(replace(contribution(number), task=task))
    its_plan = plan()
    honest = multiplier(its_plan, its_plan.cohort.noise_contributors, its_plan.update.encoding().l2_bound)
    assert budget.spent(POPULATION) >= gaussian(honest, rounds=3)
    assert spends_no_more(device)


def test_a_round_that_failed_is_paid_for(make_device):
    """Whether a sum was opened, only the server knows: no end of a round, and no state of a charge, gives it back."""
    device = make_device()
    for number, state in enumerate(ContributionState):
        spend(device, number)
        device.budget.advance(contribution(number).round_id, state)
    assert spends_no_more(device)


def test_a_clock_that_is_set_back_renews_nothing(make_device):
    device = make_device()
    for number in range(3):
        spend(device, number, at=NOW - 1e9 * number)
    device.close()
    assert spends_no_more(make_device())


def test_what_was_forgotten_is_paid_for(make_device):
    device = make_device()
    spend(device, 1, 2, 3)
    device.keyboard.wipe()
    device.close()
    assert spends_no_more(make_device())


# ------------------------------------------------------------------ stores that go back, and other stores


@pytest.fixture(params=["file", "keyring"])
def witness(request, keys):
    return keys if request.param == "file" else Keyring("app", backend=MemoryKeyring())


def back_up(tmp_path):
    shutil.copytree(tmp_path / "phone", tmp_path / "backup")


def restore(tmp_path):
    shutil.rmtree(tmp_path / "phone")
    shutil.copytree(tmp_path / "backup", tmp_path / "phone")


def test_a_store_that_is_restored_from_a_backup_has_spent_what_was_spent_since(make_device, tmp_path, witness):
    device = make_device(keys=witness)
    spend(device, 1)
    device.close()
    back_up(tmp_path)
    device = make_device(keys=witness)
    spend(device, 2)
    device.close()
    for number in (3, 4):  # again and again
        restore(tmp_path)
        device = make_device(keys=witness)
        assert len(device.budget.contributions()) == 1
        assert device.budget.spent(POPULATION) == ((number - 1) * contribution().curve).epsilon(DELTA)
        if number == 3:
            spend(device, number)
        else:
            assert spends_no_more(device)
        device.close()


def test_a_restored_store_pays_again_for_a_round_that_it_was_in(make_device, tmp_path):
    """It knows nothing of the first time, and the second is another contribution."""
    device = make_device()
    device.close()
    back_up(tmp_path)
    device = make_device()
    spend(device, 1)
    device.close()
    restore(tmp_path)
    device = make_device()
    spend(device, 1, payload=b"another upload")
    assert device.budget.spent(POPULATION) == (2 * contribution().curve).epsilon(DELTA)


def test_a_second_store_under_the_same_key_has_the_same_account(make_device):
    one, other = make_device("one"), make_device("other")
    spend(one, 1)
    spend(other, 2)
    spend(one, 3)
    assert spends_no_more(one)
    assert spends_no_more(other)


def test_two_ledgers_on_one_store_know_of_each_other(tmp_path):
    """Two processes of the same app."""
    path, key = tmp_path / "store.db", bytes(32)
    with Store(path, key) as first, Store(path, key) as second:
        one, other = (DeviceBudget(store, limit=LIMIT, delta=DELTA) for store in (first, second))
        one.charge(contribution(1))
        other.charge(contribution(2))
        one.charge(contribution(3))
        for budget in (one, other):
            with pytest.raises(BudgetExhausted):
                budget.charge(contribution(4))


class Dying:
    """A witness whose process ends when it is told something."""

    def __init__(self, witness):
        self._witness = witness

    def load_spent(self, population):
        return self._witness.load_spent(population)

    def save_spent(self, population, spent):
        raise KeyboardInterrupt


def test_a_charge_that_its_witness_was_not_told_of_is_told_with_the_next_one(keys, tmp_path):
    path, key = tmp_path / "store.db", keys.key()
    with Store(path, key) as store:
        with pytest.raises(KeyboardInterrupt):
            DeviceBudget(store, limit=LIMIT, delta=DELTA, witness=Dying(keys)).charge(contribution(1))
        assert keys.load_spent(POPULATION) is None
        budget = DeviceBudget(store, limit=LIMIT, delta=DELTA, witness=keys)
        assert budget.spent(POPULATION) == contribution().epsilon
        budget.charge(contribution(1))  # the same again
        assert keys.load_spent(POPULATION) == contribution().curve.to_bytes()
        budget.charge(contribution(2))
        assert keys.load_spent(POPULATION) == (2 * contribution().curve).to_bytes()


def test_populations_have_accounts_of_their_own(make_device, witness):
    device = make_device(keys=witness)
    spend(device, 1)
    spend(device, 2, population="de-phones")
    assert device.budget.spent(POPULATION) == device.budget.spent("de-phones") == contribution().epsilon


@pytest.mark.parametrize("content", ["", "[]", '{"en-phones": 1}', '{"en-phones": "?"}'])
def test_a_damaged_witness_stops_contributions_and_is_not_started_anew(make_device, keys, content):
    device = make_device()
    spend(device, 1)
    path = keys.path.with_name("key.spent")
    path.write_text(content)
    with pytest.raises(KeyUnavailable, match=r"key\.spent.*nothing is sent"):
        spend(device, 2)
    assert path.read_text() == content
    assert len(device.budget.contributions()) == 1
    device.keyboard.suggest("see you ")  # the rest of the device works


def test_the_witness_is_its_owners_alone(make_device, keys):
    spend(make_device(), 1)
    assert keys.path.with_name("key.spent").stat().st_mode & 0o777 == 0o600


def test_an_entry_of_a_keyring_is_no_longer_than_windows_takes_and_is_not_guessed_if_damaged(make_device):
    backend = MemoryKeyring()
    keys = Keyring("app", backend=backend)
    spend(make_device(keys=keys), 1)
    entry = "app", f"store/spent/{POPULATION}"
    assert len(backend.entries[entry]) <= 1280  # characters
    backend.entries[entry] = "?"
    with pytest.raises(KeyUnavailable, match=r"does not say what privacy was spent.*nothing is sent"):
        keys.load_spent(POPULATION)
