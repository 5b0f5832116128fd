"""Phones that the system kills with SIGKILL in the middle of a round, over HTTP, and that are switched on again.

Every write of a phone in a round is enumerated in `participation/test_killed_in_a_round`, where dying is simulated;
here it is real, at the three moments that differ in what has been paid and what has left.
"""

import multiprocessing
import os
import signal
import threading
from contextlib import ExitStack

import pytest
from phones import Phone, fleet_lives
from test_round import launch, released, service_of

from hushfold.keys import KeyFile
from hushfold.ledger import ContributionState
from hushfold_protocol.messages import Invitation
from hushfold_protocol.plan import Plan
from hushfold_server.database import Phase, charges, participations, rounds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

MESSAGES = ["see you at the station", "are you coming home", "i will call you later"]
COUNT = 12
PAID = {"masking": [], "paid": [ContributionState.CHARGED], "uploaded": [ContributionState.SENT]}
"""Where a phone is killed, and what its ledger then says of the round."""


def live_until_killed(folder, service, at):
    """The process of a phone that takes part until it has come to `at`."""

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    save_spent = KeyFile.save_spent

    def saving(its, population, spent):
        save_spent(its, population, spent)
        if at == "paid":  # in the store and with the witness; nothing has left
            die()

    def on_step(_, step):
        if (step, at) in (("upload", "masking"), ("agree", "uploaded")):
            die()

    KeyFile.save_spent = saving
    Phone.make(folder, service, MESSAGES, on_step=on_step).live(threading.Event())


def test_phones_that_are_killed_pay_once_for_what_may_have_left_and_come_back(server, tmp_path):
    service, folders = service_of(server), {at: tmp_path / at for at in PAID}
    context = multiprocessing.get_context("spawn")
    doomed = {at: context.Process(target=live_until_killed, args=(folders[at], service, at)) for at in PAID}
    phones = [Phone.make(tmp_path / str(n), service, MESSAGES) for n in range(COUNT - len(doomed))]
    stop, joins = threading.Event(), []
    with ExitStack() as stack:

        def live(some):
            for phone in some:
                stack.callback(phone.device.close)
            joins.append(fleet_lives(some, stop))
            stack.callback(joins[-1])

        launch(server, name="words", count=COUNT, floor=7, rounds=2, training=60)
        for process in doomed.values():
            process.start()
            stack.callback(process.kill)
        live(phones)
        for process in doomed.values():
            process.join(120)
            assert process.exitcode == -signal.SIGKILL
        server.until(lambda: server.rows(rounds, rounds.c.phase.in_((Phase.LEARNED, Phase.RELEASED))))

        again = {at: Phone.make(folder, service) for at, folder in folders.items()}
        paid = {at: [c.state for c in phone.device.budget.contributions()] for at, phone in again.items()}
        assert paid == PAID
        live([*again.values()])
        server.until(lambda: released(server), 200)
        for join in joins:
            join()

        first, second = sorted(server.rows(rounds), key=lambda row: row.number)[:2]
        assert (first.joined, first.sharers, first.survivors) == (COUNT, COUNT, COUNT - 2)
        assert (second.joined, second.survivors) == (COUNT, COUNT)
        assert [row.round for row in server.rows(charges)] == [first.id, second.id]
        summed = {row.device for row in server.rows(participations, participations.c.round == first.id)}
        for at, phone in again.items():
            assert (phone.participation._id.hex() in summed) == (at == "uploaded")
            later = [c for c in phone.device.budget.contributions() if c.round_id == round_id(second)]
            assert [c.state for c in later] == [ContributionState.MAYBE_OPENED]
            assert len(phone.device.budget.contributions()) == len(PAID[at]) + 1


def round_id(row):
    return Plan.decode(Invitation.decode(row.invitation).plan).round_id
