"""docs/api.md says what the services do: their addresses, problems, limits and waits."""

import re
from pathlib import Path

import pytest
from bad_input import ENDPOINTS
from bad_messages import CASES as BAD_MESSAGES
from bad_requests import CASES as BAD_REQUESTS

from hushfold_server import api, authority, problems, serving, web

KINDS = (*problems.OF_ERRORS.values(), *problems.OF_STATUS.values(), problems.TOO_MANY_CONNECTIONS)
RATE = f"{web.PATIENCE.rate:g} bytes"
TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def rows(heading):
    """The cells of the table that follows a line of the document."""
    lines = TEXT.split(heading, 1)[1].lstrip("\n").split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "---" not in line]


def test_every_problem_is_listed_with_its_status():
    listed = [
        (name.strip("`"), int(status))
        for name, status, *_ in rows("`Retry-After`, where it is given, is in seconds.")[1:]
    ]
    assert len(listed) == len(set(listed))
    assert set(listed) == {(kind.name, kind.status) for kind in KINDS}
    assert all(kind.title and kind.advice for kind in KINDS)


def test_a_name_is_of_one_kind():
    assert len({kind.name for kind in KINDS}) == len(set(KINDS))


def test_the_problems_that_bad_input_can_meet_are_met_in_the_tests():
    met = {case.expected[1] for case in (*BAD_REQUESTS, *BAD_MESSAGES)}
    elsewhere = {
        "bad-request", "range-not-satisfiable", "header-too-large", "not-implemented",  # test_bad_input_live
        "too-many-connections",  # test_connections
        "protocol", "wrong-state", "server-error",  # test_web; no bad input leads there
        "enrolment-closed", "enrolment-busy",  # test_authority
    }  # fmt: skip
    assert met - {""} | elsewhere == {kind.name for kind in KINDS}


def test_every_address_is_listed():
    addresses = [re.match(r"`(\w+) (/[^`?]*)", row[0]) for row in rows("`application/vnd.hushfold.v1`.")[1:]]
    listed = {f"{address[1]} {address[2].removesuffix('/...')}" for address in addresses}
    assert listed == set(ENDPOINTS)


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("for the head of a request", f"{web.PATIENCE.head:g} s"),
        ("for a body", f"{web.PATIENCE.body:g} s, and one second more for each {RATE} that have come"),
        ("for the rest of a body that was refused", f"{web.PATIENCE.rest:g} s"),
        ("for an answer to be taken", f"{web.PATIENCE.stall:g} s in which less than {RATE} per second were"),
        ("for the next request", f"{serving.KEEP_ALIVE} s"),
    ],
)  # fmt: skip
def test_the_waits_are_as_they_are_written(what, value):
    assert dict(rows("## Slow clients")[1:])[what] == value


def test_the_limits_are_as_they_are_written():
    limits = {row[0].split("`")[1].split("?")[0]: row[3] for row in rows("`application/vnd.hushfold.v1`.")[1:]}
    assert limits["POST /v1/enrol"] == f"{authority.REQUEST_LIMIT >> 10} KiB"
    assert limits["POST /v1/check-in"] == limits["POST /v1/rounds/{round_id}/join"] == f"{api.SMALL >> 10} KiB"
    assert f"{api.FOR_EACH_PEER} bytes for each device" in limits["POST /v1/rounds/{round_id}/messages"]
