"""A phone whose process the system kills while it charges itself: what was spent is known afterwards, and once.

What a phone writes in a whole round, and how it goes on, is in `participation/test_killed_in_a_round`.
"""

import multiprocessing
import os
import signal

import pytest
from test_ledger import DELTA, contribution

from hushfold.keys import KeyFile
from hushfold.ledger import DeviceBudget
from hushfold.store import Store


def charge_and_die(folder, at):
    """The phone's process: it is killed when it has come to `at` of its charge."""
    keys = KeyFile(folder / "key")
    store = Store(folder / "store.db", keys.key())
    execute = Store.execute

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def executing(its, statement, values=()):
        if statement == "COMMIT" and at == "before the charge":
            die()
        done = execute(its, statement, values)
        if statement == "COMMIT" and at == "after the charge":
            die()
        return done

    class Witness:
        load_spent = keys.load_spent

        def save_spent(self, population, spent):
            if at == "before the witness":
                die()
            keys.save_spent(population, spent)
            if at == "after the witness":
                die()

    budget = DeviceBudget(store, limit=1e9, delta=DELTA, witness=Witness())
    Store.execute = executing
    budget.charge(contribution())


@pytest.mark.slow
@pytest.mark.parametrize("at", ["before the charge", "after the charge", "before the witness", "after the witness"])
def test_a_phone_that_the_system_kills_when_it_charges(tmp_path, at):
    keys = KeyFile(tmp_path / "key")
    key = keys.key()
    process = multiprocessing.get_context("spawn").Process(target=charge_and_die, args=(tmp_path, at))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with Store(tmp_path / "store.db", key) as store:
        budget = DeviceBudget(store, limit=1e9, delta=DELTA, witness=keys)
        one = contribution()
        assert budget.contributions() == ([] if at == "before the charge" else [one])
        assert budget.spent(one.population) == (0 if at == "before the charge" else one.epsilon)
        assert (keys.load_spent(one.population) is not None) == (at == "after the witness")
        budget.charge(one)
        assert budget.spent(one.population) == one.epsilon
        assert keys.load_spent(one.population) == one.curve.to_bytes()
