"""Rounds as a device lives through them, over real HTTP: what leaves it, when it pays, and how it goes on."""

from dataclasses import replace

import pytest
from service_in_process import COHORT, POLICY, SAYINGS, problem
from sqlalchemy import delete, update

from hushfold.conditions import Conditions
from hushfold.ledger import ContributionState
from hushfold.model import TrainingModel
from hushfold.participation import (
    LONG_PAUSE,
    LONGEST_PAUSE,
    LONGEST_WAIT,
    PATIENCE,
    PAUSE,
    SHORTEST_PAUSE,
    OutcomeKind,
    Step,
)
from hushfold_protocol.messages import Closed, ComeBack, Ending, Wait
from hushfold_server.database import Phase, charges, participations, rounds, sums

STEPS = 3  # of training, in the plans of the service
ALL_CONTRIBUTED = [OutcomeKind.CONTRIBUTED] * COHORT


def run(service, phones):
    return service.clock.together(*(phone.run_once for phone in phones))


def kinds(outcomes):
    return [outcome.kind for outcome in outcomes]


def nothing_left(phone):
    """Whether the phone sent nothing that could speak of its messages, and paid for nothing."""
    return set(phone.sent) <= {"CheckIn"} and phone.contributions == []


class SwitchedOff(Exception):
    """The phone is."""


def off(*_):
    raise SwitchedOff


def off_at(last):
    """A phone that is switched off when it is about to begin a step."""
    return lambda step: step is last and off()


def lingering(clock, at, seconds):
    """A phone that takes its time before a step."""
    return lambda step: step is at and clock.wait(seconds)


class Looked:
    """Conditions that hold for a number of looks at them."""

    def __init__(self, looks):
        self.count, self.looks = 0, looks

    def current(self):
        self.count += 1
        return Conditions(idle=self.count <= self.looks, external_power=True, unmetered=True)


# ------------------------------------------------------------------ a round that goes well


def test_a_whole_round(service, population, cohort):
    plan = service.open_round(service.plan(population))
    seen = []
    cohort[0].on_step = seen.append
    outcomes = run(service, cohort)
    assert kinds(outcomes) == ALL_CONTRIBUTED
    assert {(outcome.reason, outcome.after, outcome.round_number) for outcome in outcomes} == {("", PAUSE, 1)}
    assert seen == list(Step)
    row = service.row(plan)
    assert (row.phase, row.joined, row.survivors) == (Phase.SUMMED, COHORT, COHORT)
    for phone in cohort:
        (contribution,) = phone.contributions
        assert contribution.state is ContributionState.MAYBE_OPENED
        assert (contribution.round_id, contribution.population) == (plan.round_id, population)
        assert (contribution.cohort, contribution.floor) == (COHORT, 2)
        assert phone.spent == plan.curve().epsilon(POLICY.max_delta)
        assert phone.checkpoint is None
        assert phone.sent == ["CheckIn", "Join", "Shares", "Masked", "Consent", "Unmask"]
    exchanges = [exchange for exchange in service.api.exchanges if exchange.path.startswith("/v1/")]
    assert sum(outcome.bytes_sent for outcome in outcomes) == sum(len(exchange.body) for exchange in exchanges)
    assert sum(outcome.bytes_received for outcome in outcomes) == sum(len(exchange.answer) for exchange in exchanges)
    again = cohort[0].run_once()
    assert (again.kind, again.reason, again.after) == (OutcomeKind.COME_BACK, "no round is open now", 7.0)
    assert len(cohort[0].contributions) == 1


def test_no_phone_contributes_to_a_round_twice_whatever_the_server_does(service, population, cohort):
    """The server forgets that it has the sum, and opens the very same round again."""
    plan = service.open_round(service.plan(population))
    run(service, cohort)
    with service.database.begin() as connection:
        for table in (sums, participations, charges):
            connection.execute(delete(table).where(table.c.round == plan.round_id.hex()))
        reopened = {"phase": Phase.OPEN, "deadline": service.clock.now() + 5}
        connection.execute(update(rounds).where(rounds.c.id == plan.round_id.hex()).values(reopened))
    spent = [phone.spent for phone in cohort]
    assert kinds(run(service, cohort)) == [OutcomeKind.LEFT] * COHORT  # they remember
    for phone in cohort:
        phone.restart()  # and if they do not, their ledger does
    service.api.exchanges.clear()
    outcomes = run(service, cohort)
    assert kinds(outcomes) == [OutcomeKind.REFUSED] * COHORT
    assert all("charged for another contribution" in outcome.reason for outcome in outcomes)
    assert [phone.sent for phone in cohort] == [["CheckIn", "Join", "Shares"]] * COHORT
    assert [phone.spent for phone in cohort] == spent


# ------------------------------------------------------------------ charged before the upload


@pytest.mark.parametrize(
    ("status", "kind"), [(503, OutcomeKind.COME_BACK), (409, OutcomeKind.LEFT), (200, OutcomeKind.REFUSED)]
)
def test_an_update_that_was_to_be_sent_is_paid_for_whether_it_arrives_or_not(service, population, cohort, status, kind):
    plan, unlucky = service.open_round(service.plan(population)), cohort[0]
    charged = []

    def lose(exchange):
        if exchange.message == "Masked" and exchange.device == unlucky.id:
            charged.append([c.state for c in unlucky.contributions])
            return problem(status, "the disk is full")
        return None

    service.api.instead = lose
    outcomes = run(service, cohort)
    assert kinds(outcomes) == [kind] + [OutcomeKind.CONTRIBUTED] * 2
    assert charged[0] == [ContributionState.CHARGED]  # when the upload came
    assert [c.state for c in unlucky.contributions] == [ContributionState.CHARGED]
    assert unlucky.spent == plan.curve().epsilon(POLICY.max_delta)
    assert unlucky.checkpoint is None  # the same update must not go into another session
    assert service.row(plan).survivors == 2


def test_an_upload_whose_answer_is_lost_is_repeated_byte_for_byte_and_paid_once(service, population, cohort):
    plan, unlucky = service.open_round(service.plan(population)), cohort[0]
    uploads = []

    def lose(exchange):
        if exchange.message == "Masked" and exchange.device == unlucky.id:
            uploads.append(exchange.body)
            return problem(503, "restarting") if len(uploads) <= 2 else None
        return None

    service.api.instead = lose
    assert kinds(run(service, cohort)) == ALL_CONTRIBUTED
    assert len(uploads) == 3
    assert len(set(uploads)) == 1
    assert len(unlucky.contributions) == 1
    assert unlucky.spent == plan.curve().epsilon(POLICY.max_delta)


def test_a_spent_budget_refuses_the_plan(service, population, make_phone):
    plan = service.open_round(service.plan(population))
    poor = make_phone(epsilon_limit=plan.curve().epsilon(POLICY.max_delta) / 2)
    outcome = poor.run_once()
    assert (outcome.kind, outcome.after) == (OutcomeKind.REFUSED, LONG_PAUSE)
    assert "the limit of this device for population" in outcome.reason
    assert nothing_left(poor)


def test_a_budget_that_is_spent_meanwhile_keeps_the_update_at_home(service, population, make_phone):
    """Between the plan and the upload another session of this device spends what was left."""
    plan = service.open_round(service.plan(population))
    poor, *others = [make_phone(epsilon_limit=1.2 * plan.curve().epsilon(POLICY.max_delta)) for _ in range(COHORT)]

    def spend(step):
        if step is Step.UPLOAD:
            service.clock.wait(1)  # the others are quicker
            theirs = others[0].contributions[0]
            elsewhere = replace(theirs, round_id=b"another round...", state=ContributionState.CHARGED)
            poor.device.budget.charge(elsewhere)

    poor.on_step = spend
    outcomes = run(service, [poor, *others])
    assert kinds(outcomes) == [OutcomeKind.REFUSED] + [OutcomeKind.CONTRIBUTED] * 2
    assert "the limit of this device for population" in outcomes[0].reason
    assert poor.sent == ["CheckIn", "Join", "Shares"]
    assert [c.round_id for c in poor.contributions] == [b"another round..."]


# ------------------------------------------------------------------ conditions and messages


@pytest.fixture
def trained(monkeypatch):
    """An entry for each training step of any phone."""
    steps, train_step = [], TrainingModel.train_step

    def counted(model, *arguments):
        steps.append(model)
        return train_step(model, *arguments)

    monkeypatch.setattr(TrainingModel, "train_step", counted)
    return steps


def test_without_its_conditions_a_phone_does_not_even_check_in(service, population, phone):
    service.open_round(service.plan(population))
    phone.conditions.set(idle=False, unmetered=None)
    outcome = phone.run_once()
    assert (outcome.kind, outcome.after) == (OutcomeKind.COME_BACK, PAUSE)
    assert outcome.reason == "waiting for the device to be idle, waiting for an unmetered network"
    assert (outcome.bytes_sent, outcome.bytes_received) == (0, 0)
    assert service.api.exchanges == service.authority.exchanges == []


def test_training_that_lost_its_conditions_goes_on_where_it_was(service, population, make_phone, cohort, trained):
    plan = service.open_round(service.plan(population))
    # A look before the check-in, one before training, and one before each step.
    interrupted = make_phone(conditions=Looked(looks=2 + 2))
    outcome = interrupted.run_once()
    assert (outcome.kind, outcome.after, outcome.round_number) == (OutcomeKind.COME_BACK, PAUSE, 1)
    assert "Stopped: waiting for the device to be idle" in outcome.reason
    assert interrupted.checkpoint.step == 2
    assert nothing_left(interrupted)
    interrupted.conditions.looks = 10**9
    assert kinds(run(service, [interrupted, *cohort[1:]])) == ALL_CONTRIBUTED
    assert len(trained) == COHORT * STEPS  # it did not do its first steps again
    assert service.row(plan).survivors == COHORT


def test_a_phone_that_was_switched_off_after_training_does_not_train_again(
    service, population, cohort, trained, monkeypatch
):
    service.open_round(service.plan(population))
    phone = cohort[0]
    with monkeypatch.context() as patch:
        patch.setattr(service.clock, "wait", off)  # while it waits for a random time before it joins
        with pytest.raises(SwitchedOff):
            phone.run_once()
    assert phone.checkpoint.step == STEPS
    assert nothing_left(phone)
    assert kinds(run(service, cohort)) == ALL_CONTRIBUTED
    assert len(trained) == COHORT * STEPS


def test_a_phone_that_lost_its_conditions_before_it_joined_joins_later(
    service, population, make_phone, cohort, trained
):
    service.open_round(service.plan(population))
    interrupted = make_phone(conditions=Looked(looks=2 + STEPS))
    assert interrupted.run_once().kind is OutcomeKind.COME_BACK
    assert interrupted.checkpoint.step == STEPS
    assert nothing_left(interrupted)
    interrupted.conditions.looks = 10**9
    assert kinds(run(service, [interrupted, *cohort[1:]])) == ALL_CONTRIBUTED
    assert len(trained) == COHORT * STEPS


def test_a_phone_that_loses_its_conditions_in_the_session_uploads_nothing(service, population, cohort):
    plan = service.open_round(service.plan(population))
    leaving = cohort[0]
    leaving.on_step = lambda step: step is Step.SHARE and leaving.conditions.set(unmetered=False)
    outcome, *others = run(service, cohort)
    assert kinds(others) == [OutcomeKind.CONTRIBUTED] * 2
    assert (outcome.kind, outcome.after) == (OutcomeKind.COME_BACK, PAUSE)
    assert leaving.sent == ["CheckIn", "Join", "Shares"]
    assert leaving.contributions == []
    assert leaving.checkpoint is None
    assert service.row(plan).survivors == 2


def test_an_update_is_for_one_session(service, population, phone):
    service.open_round(service.plan(population))
    phone.on_step = off_at(Step.JOIN)
    with pytest.raises(SwitchedOff):
        phone.run_once()
    assert phone.checkpoint is None  # from here on it could have been in one


def test_a_phone_with_too_few_messages_by_its_own_count_does_not_even_check_in(service, population, make_phone):
    service.open_round(service.plan(population))
    outcome = make_phone(sayings=SAYINGS[:2]).run_once()
    assert (outcome.kind, outcome.after) == (OutcomeKind.NOT_ELIGIBLE, LONG_PAUSE)
    assert outcome.reason == "2 messages to learn from, 3 needed"
    assert service.api.exchanges == []


@pytest.mark.parametrize(
    ("training", "sayings"), [({"learning_rate": 3e38}, SAYINGS), ({"learning_rate": 1e37}, SAYINGS), ({}, [])]
)
def test_a_server_cannot_tell_that_a_phone_had_no_update(service, population, make_phone, training, sayings):
    """Whether training diverges, to infinity or to what cannot be encoded, or finds a word at all, depends on what was
    typed: a server that chose the weights and saw who stays away could ask for one word after the other."""
    plan = service.open_round(service.plan(population, training=training))
    cohort = [make_phone(sayings=sayings) for _ in range(COHORT)]
    for phone in cohort:
        while len(phone.device.store.messages()) < POLICY.min_examples:
            phone.device.store.add_message("qzx <number>", service.clock.now())
    assert kinds(run(service, cohort)) == ALL_CONTRIBUTED
    assert [phone.spent for phone in cohort] == [plan.curve().epsilon(POLICY.max_delta)] * COHORT


def test_messages_that_were_wiped_while_a_phone_waited_to_join_are_not_uploaded(service, population, cohort):
    plan, changed = service.open_round(service.plan(population)), cohort[0]
    changed.on_step = lambda step: step is Step.UPLOAD and changed.device.keyboard.wipe()
    outcome, *others = run(service, cohort)
    assert kinds(others) == [OutcomeKind.CONTRIBUTED] * 2
    assert outcome.kind is OutcomeKind.LEFT
    assert "was deleted" in outcome.reason
    assert changed.sent == ["CheckIn", "Join", "Shares"]
    assert changed.contributions == []
    assert service.row(plan).survivors == 2


# ------------------------------------------------------------------ rounds that end without this phone


def test_a_phone_that_joins_when_the_round_is_over(service, population, phone, cohort):
    plan = service.open_round(service.plan(population))
    phone.on_step = lambda step: step is Step.JOIN and run(service, cohort)
    outcome = phone.run_once()
    assert (outcome.kind, outcome.after) == (OutcomeKind.LEFT, PAUSE)
    assert "no round" in outcome.reason
    assert phone.contributions == []
    assert phone.checkpoint is None
    assert service.row(plan).joined == COHORT


def test_a_phone_that_joins_when_the_session_has_begun(service, population, phone, cohort):
    service.open_round(service.plan(population))
    phone.on_step = lingering(service.clock, Step.JOIN, 2)
    cohort[0].on_step = lingering(service.clock, Step.SHARE, 3)
    late, *others = run(service, [phone, *cohort])
    assert kinds(others) == ALL_CONTRIBUTED
    assert late.kind is OutcomeKind.LEFT
    assert "the session has begun without this device" in late.reason
    assert phone.contributions == []


def test_a_phone_that_is_too_slow_for_a_step(service, population, cohort):
    plan = service.open_round(service.plan(population))
    cohort[0].on_step = lingering(service.clock, Step.SHARE, 5.5)  # a step takes 5 seconds at most
    slow, *others = run(service, cohort)
    assert kinds(others) == [OutcomeKind.CONTRIBUTED] * 2
    assert slow.kind is OutcomeKind.LEFT
    assert slow.reason
    assert cohort[0].contributions == []
    assert service.row(plan).survivors == 2


def test_a_phone_that_uploaded_and_is_not_in_the_sum_has_paid_all_the_same(service, population, cohort):
    service.open_round(service.plan(population))
    left_out = cohort[0]
    closed = Closed(Ending.LEFT_OUT, "the sum was formed without this device")
    service.api.instead = lambda exchange: (
        (200, closed.encode())
        if exchange.is_next and exchange.device == left_out.id and left_out.contributions
        else None
    )
    outcome = run(service, cohort)[0]
    assert (outcome.kind, outcome.reason) == (OutcomeKind.LEFT, closed.reason)
    assert [c.state for c in left_out.contributions] == [ContributionState.SENT]


def test_a_sum_that_a_server_claims_before_anything_was_uploaded(service, population, phone):
    service.open_round(service.plan(population))
    service.api.instead = lambda exchange: (200, Closed(Ending.SUMMED, "").encode()) if exchange.is_next else None
    assert phone.run_once().kind is OutcomeKind.LEFT
    assert phone.contributions == []


def test_an_aborted_round(service, population, phone):
    """One phone is too few: at the end of its time the round is given up."""
    plan = service.open_round(service.plan(population))
    outcome = phone.run_once()
    assert (outcome.kind, outcome.after) == (OutcomeKind.LEFT, PAUSE)
    assert outcome.reason == service.row(plan).reason == "1 devices joined, the floor is 2"
    assert service.row(plan).phase == Phase.ABORTED
    assert phone.sent == ["CheckIn", "Join"]
    assert phone.contributions == []
    assert phone.checkpoint is None


@pytest.mark.parametrize(("asked", "pause"), [(90_500, 90.5), (0, SHORTEST_PAUSE), (2**32 - 1, LONGEST_PAUSE)], ids=str)
def test_the_pause_that_the_server_asks_for(service, phone, asked, pause):
    service.api.instead = lambda _: (200, ComeBack(asked, "the task sleeps").encode())
    outcome = phone.run_once()
    assert (outcome.kind, outcome.reason, outcome.after) == (OutcomeKind.COME_BACK, "the task sleeps", pause)


def test_a_phone_does_not_wait_for_ever_for_the_end_of_a_round(service, population, cohort):
    """From the first upload on the server only ever says "wait", for seven weeks at a time."""
    service.open_round(service.plan(population))

    def stall(exchange):
        uploaded = any("Masked" in phone.sent for phone in cohort)
        return (200, Wait(2**32 - 1).encode()) if uploaded and exchange.path.endswith("/next") else None

    service.api.instead = stall
    before = service.clock.now()
    outcomes = run(service, cohort)
    assert kinds(outcomes) == [OutcomeKind.LEFT] * COHORT
    assert outcomes[0].reason == "the server does not end the round"
    assert service.clock.now() - before < PATIENCE + 10 * LONGEST_WAIT
