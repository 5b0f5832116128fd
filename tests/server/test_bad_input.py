"""Every endpoint, and every way to send it what it must not take: a clear 4xx, and nothing is changed.

The table of cases is complete: tests compare it with the routes of both services, and what is missing has its reason.
Slow connections and what is no HTTP are in `test_bad_input_live`, requests that nobody thought of in `tests/fuzz`.
"""

import bad_messages
import bad_requests
import pytest
from bad_input import (
    CHECK_IN,
    ENDPOINTS,
    ENROL,
    FAULTS,
    HEALTH,
    NEXT,
    PART,
    RELEASES,
    STEPS,
    World,
)
from fastapi.routing import APIRoute
from starlette.routing import Mount

from hushfold_server import web
from hushfold_server.database import Phase
from hushfold_server.patience import Patience
from hushfold_server.problems import PROBLEM_TYPE

CASES = [*bad_requests.CASES, *bad_messages.CASES]

NO_SUCH_FAULT = {
    **{(endpoint, "slow"): "it reads no body" for endpoint in (PART, NEXT, RELEASES, HEALTH)},
    **{(endpoint, "wrong type"): "it reads no body" for endpoint in (PART, NEXT, RELEASES, HEALTH)},
    **{(endpoint, "wrong signature"): "it asks for none" for endpoint in (PART, NEXT, RELEASES, HEALTH)},
    **{(endpoint, "replayed"): "it changes nothing" for endpoint in (PART, NEXT, RELEASES, HEALTH)},
    **{(endpoint, "out of order"): "it has no order" for endpoint in (ENROL, CHECK_IN, PART, NEXT, RELEASES, HEALTH)},
    **{(endpoint, "wrong round"): "it is about no round" for endpoint in (ENROL, CHECK_IN, RELEASES, HEALTH)},
    **{(endpoint, "unknown device"): "it is for everyone" for endpoint in (ENROL, PART, RELEASES, HEALTH)},
}  # fmt: skip


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """One world for each phase: whatever is sent to it, it stays as it is."""
    made: dict[Phase, World] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "PATIENCE", Patience(body=0.1, rate=1e6))

        def world(phase: Phase) -> World:
            if phase not in made:
                made[phase] = World(tmp_path_factory.mktemp(phase), phase)
            return made[phase]

        yield world


def refused(world, endpoint, request):
    """The answer, which is a problem document unless all is well, after which nothing is changed."""
    before = world.state()
    answer = (world.authority if endpoint == ENROL else world.client).send(request)
    assert world.state() == before
    if answer.status >= 400:
        assert answer.headers["content-type"] == PROBLEM_TYPE
        assert set(answer.document) == {"type", "title", "status", "detail", "advice"}
        assert answer.document["status"] == answer.status
        assert all(answer.document.values())
    return answer


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bad_input_is_refused_and_changes_nothing(worlds, case):
    world = worlds(case.phase)
    answer = refused(world, case.endpoint, case.make(world))
    status, name = case.expected
    assert answer.status == status, answer
    assert not name or answer.document["type"] == f"urn:hushfold:problem:{name}"


# How many other shapes device 1's message can have. A consent has one alone: all its fields have fixed lengths.
SHAPES = {Phase.SHARING: 4, Phase.MASKING: 2, Phase.AGREEING: 0, Phase.UNMASKING: 3}


@pytest.mark.parametrize("phase", STEPS)
def test_a_message_of_another_shape(worlds, phase):
    world = worlds(phase)
    requests = bad_messages.shapes(world)
    assert len(requests) == SHAPES[phase]
    for request in requests:
        answer = refused(world, bad_requests.SUBMIT, request)
        assert answer.status in (400, 409), answer


@pytest.mark.parametrize("phase", [Phase.OPEN, *STEPS])
def test_what_was_about_to_be_sent_is_still_taken(tmp_path, phase):
    """Each case fails for its fault alone: without it, the world takes the message."""
    world = World(tmp_path / "home", phase)
    before = world.state()
    world.round.send(world.round.join(1) if phase is Phase.OPEN else world.pending)
    assert world.state() != before


@pytest.mark.parametrize("endpoint", list(bad_requests.LIMITS))
def test_of_an_endless_body_no_more_is_taken_than_the_limit(worlds, endpoint):
    """A thousand bytes at a time, and one of them too many."""
    world = worlds(Phase.SHARING)
    case = next(case for case in CASES if (case.endpoint, case.what) == (endpoint, "in chunks"))
    assert refused(world, endpoint, case.make(world)).taken == bad_requests.LIMITS[endpoint] // 1000 + 1


def test_the_table_has_every_endpoint_of_both_services(worlds):
    world = worlds(Phase.SHARING)
    served = set()
    for client in (world.client, world.authority):
        for route in client.app.routes:
            assert isinstance(route, APIRoute | Mount), route
            methods = route.methods if isinstance(route, APIRoute) else {"GET"}
            served |= {f"{method} {route.path}" for method in methods}
    assert served == set(ENDPOINTS)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_the_table_has_every_fault_of_every_endpoint(endpoint):
    tried = {case.fault for case in CASES if case.endpoint == endpoint}
    reasoned = {fault for one, fault in NO_SUCH_FAULT if one == endpoint}
    assert tried | reasoned == set(FAULTS)
    assert not tried & reasoned
