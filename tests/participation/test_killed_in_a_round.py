"""A phone that is killed on both sides of everything that it writes down in a round, and is switched on again.

It pays for what left it, once, and for nothing else; the others finish the round. Training is killed in
`sdk/test_training`; the adoption of a release, and a death by the system, are in `sdk/test_killed_phone`.
"""

import itertools
import re
from contextlib import ExitStack

import pytest
from service_in_process import COHORT, POLICY
from sqlalchemy import select

from hushfold.ledger import ContributionState
from hushfold.participation import OutcomeKind
from hushfold_protocol.privacy import RdpCurve
from hushfold_server.database import Phase, participations

PERSISTED = (
    "certificate",
    "old checkpoint deleted",
    "checkpoint",
    "charge",
    "witness",
    "sent",
    "perhaps opened",
    "checkpoint deleted",
)
"""What a phone writes in a round, in this order."""
BEFORE_IT_JOINS = PERSISTED[: PERSISTED.index("charge")]

_NAMES = {
    "REPLACE settings": "certificate",
    "REPLACE training_sessions": "checkpoint",
    "INSERT contributions, REPLACE budget": "charge",
    f"UPDATE contributions {ContributionState.SENT}": "sent",
    f"UPDATE contributions {ContributionState.MAYBE_OPENED}": "perhaps opened",
    "DELETE training_sessions": "checkpoint deleted",
}


class Killed(BaseException):
    """In place of SIGKILL."""


class Doom:
    """Watches what one phone writes, and kills it `before` or `after` the write `at`.

    A dead phone writes nothing more, not in a `finally` either, until `revive`.
    """

    def __init__(self, monkeypatch, device, at=None, when=None):
        self.written, self._at, self._when = [], at, when
        self._dead, self._statements = False, []
        self._store, self._execute, self._witness = device.store, device.store.execute, device.budget._witness
        monkeypatch.setattr(device.store, "execute", self.execute)
        monkeypatch.setattr(device.budget, "_witness", self)

    def execute(self, statement, values=()):
        verb, table = re.match(r"(\w+)(?: INTO| FROM)?(?: (\w+))?", statement).groups()
        if verb == "ROLLBACK":  # as the system does when the process is gone
            self._statements = []
        elif verb in ("INSERT", "REPLACE", "DELETE", "UPDATE"):
            self._statements.append(f"{verb} {table} {values[0]}" if verb == "UPDATE" else f"{verb} {table}")
        elif self._dead:
            raise Killed
        if verb != "COMMIT" and (verb == "ROLLBACK" or self._store._connection.in_transaction):
            return self._execute(statement, values)
        what, self._statements = ", ".join(self._statements), []
        name = _NAMES.get(what, what)
        if name == "checkpoint deleted" and "checkpoint" not in self.written:
            name = f"old {name}"  # of whatever was there before
        return self._write(name, lambda: self._execute(statement, values))

    def load_spent(self, population):
        return self._witness.load_spent(population)

    def save_spent(self, population, spent):
        self._write("witness", lambda: self._witness.save_spent(population, spent))

    def _write(self, what, write):
        """Something that is on the disk afterwards; nothing, if `what` is empty."""
        if self._dead or (what == self._at and self._when == "before"):
            self._die()
        done = write()
        if what:
            self.written.append(what)
        if what == self._at and self._when == "after":
            self._die()
        return done

    def _die(self):
        self._at, self._dead = None, True
        raise Killed

    def revive(self):
        self._dead = False


NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def phones(one_service):
    with ExitStack() as stack:
        made = [one_service.phone(f"killed-{n}", "killed") for n in range(COHORT)]
        for phone in made:
            stack.callback(phone.device.close)
        yield made


@pytest.fixture
def plan(service):
    return service.open_round(service.plan("killed", task=f"killed-{next(NUMBERS)}"))


def contributed(phone, plan):
    return [c for c in phone.contributions if c.round_id == plan.round_id]


def in_the_sum(service, plan):
    with service.database.read() as connection:
        wanted = select(participations.c.device).where(participations.c.round == plan.round_id.hex())
        return set(connection.scalars(wanted))


def fits_the_ledger(phone):
    """The total is that of the contributions, in the store and with the witness."""
    total = sum((c.curve for c in phone.contributions), RdpCurve.zero())
    assert phone.spent == total.epsilon(POLICY.max_delta)


@pytest.fixture
def doom(phones, monkeypatch):
    """Of the first phone, which has to enrol again."""
    phones[0].device.store.execute("DELETE FROM settings WHERE name = 'certificate'")
    return lambda *death: Doom(monkeypatch, phones[0].device, *death)


def test_what_a_phone_writes_in_a_round(service, phones, plan, doom):
    """If you have added a step: the phone must be killed there, too."""
    watched = doom()
    outcomes = service.clock.together(*(phone.run_once for phone in phones))
    assert {outcome.kind for outcome in outcomes} == {OutcomeKind.CONTRIBUTED}
    assert tuple(watched.written) == PERSISTED


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("what", PERSISTED)
def test_killed_where_it_writes(service, phones, plan, doom, what, when):
    killed, *others = phones
    death, lives = doom(what, when), []

    def live():
        try:
            lives.append(killed.run_once())
        except Killed:
            death.revive()
            killed.restart()
            service.clock.wait(0.1)
            lives.append("killed")
            lives.append(killed.run_once())
        return lives[-1]

    second, *rest = service.clock.together(live, *(phone.run_once for phone in others))
    assert lives[0] == "killed"
    assert [outcome.kind for outcome in rest] == [OutcomeKind.CONTRIBUTED] * 2
    row = service.row(plan)
    assert row.phase == Phase.SUMMED

    mine = contributed(killed, plan)
    paid = what not in BEFORE_IT_JOINS and (what, when) != ("charge", "before")
    if what in BEFORE_IT_JOINS:
        assert second.kind is OutcomeKind.CONTRIBUTED
        assert len(mine) == 1
    else:
        assert second.kind in (OutcomeKind.LEFT, OutcomeKind.COME_BACK)
        assert len(mine) == (1 if paid else 0)
    # Whoever is in the sum has paid for it; who has paid need not be in it.
    arrived = what not in ("charge", "witness")
    assert (killed.id.hex() in in_the_sum(service, plan)) == arrived
    assert row.survivors == COHORT - (not arrived)
    for phone in phones:
        fits_the_ledger(phone)

    # Switched on again it is as before: in the next round everybody is in the sum, and has paid once.
    following = service.open_round(service.plan("killed", task=f"killed-{next(NUMBERS)}"))
    outcomes = service.clock.together(*(phone.run_once for phone in phones))
    assert [outcome.kind for outcome in outcomes] == [OutcomeKind.CONTRIBUTED] * COHORT
    assert service.row(following).survivors == COHORT
    for phone in phones:
        assert len(contributed(phone, following)) == 1
        fits_the_ledger(phone)
        assert phone.checkpoint is None
