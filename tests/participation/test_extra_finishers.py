"""More phones finish training than a session takes: who comes too late has paid nothing, and is in the next one."""

from service_in_process import COHORT
from sqlalchemy import select

from hushfold.participation import PAUSE, OutcomeKind, Step
from hushfold_server.database import Phase, participations


def in_the_sum(service, plan):
    with service.database.read() as connection:
        wanted = select(participations.c.device).where(participations.c.round == plan.round_id.hex())
        return set(connection.scalars(wanted))


def test_who_finds_the_session_full_waits_for_the_next_one_and_has_paid_nothing(
    service, population, make_phone, cohort
):
    first = service.open_round(service.plan(population))
    late = make_phone()
    late.on_step = lambda step: step is Step.JOIN and service.clock.wait(2)  # the others are quicker
    outcome, *others = service.clock.together(*(phone.run_once for phone in (late, *cohort)))
    assert [one.kind for one in others] == [OutcomeKind.CONTRIBUTED] * COHORT
    assert (outcome.kind, outcome.after) == (OutcomeKind.LEFT, PAUSE)
    assert "no round" in outcome.reason or "the session has begun without this device" in outcome.reason
    assert (late.contributions, late.spent) == ([], 0.0)
    assert late.sent == ["CheckIn", "Join"]
    assert in_the_sum(service, first) == {phone.id.hex() for phone in cohort}

    assert late.run_once().kind is OutcomeKind.COME_BACK  # there is none yet
    second = service.open_round(service.plan(population, task=f"{population}-again"))
    late.on_step = lambda _: None
    phones = [late, *cohort[1:]]
    outcomes = service.clock.together(*(phone.run_once for phone in phones))
    assert [one.kind for one in outcomes] == [OutcomeKind.CONTRIBUTED] * COHORT
    assert service.row(second).phase == Phase.SUMMED
    assert in_the_sum(service, second) == {phone.id.hex() for phone in phones}
    assert [len(phone.contributions) for phone in (late, *cohort)] == [1, 1, 2, 2]
