"""The budget of a fuzzing run, and what is kept of a failure."""

import logging
import re
import time

import fuzzing
import pytest
import structlog

BEGIN = time.monotonic()


@pytest.fixture(scope="module", autouse=True)
def no_log():
    """Thousands of rounds are nobody's to read; what other tests do is, which run in the same process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


def share_of(item: pytest.Item) -> int:
    return getattr(getattr(item, "obj", None), "fuzz_share", 0)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """With a budget, a test is repeated until its share of the time is used up; those after it have the rest."""
    share = share_of(pyfuncitem)
    if not (fuzzing.SECONDS and share):
        return None
    items = pyfuncitem.session.items
    to_come = sum(map(share_of, items[items.index(pyfuncitem) :]))
    now = time.monotonic()
    end = now + (BEGIN + fuzzing.SECONDS - now) * share / to_come
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    while True:
        pyfuncitem.obj(**arguments)
        if time.monotonic() >= end:
            return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> pytest.TestReport:
    report = yield
    if report.when == "call" and report.failed and share_of(item):
        folder = fuzzing.FOLDER / "failures"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{re.sub(r'[^a-z0-9_]+', '-', item.name.lower())}.txt"
        file.write_text(f"{item.nodeid}\n\n{report.longreprtext}\n")
        report.sections.append(("Kept", f"{file}\nmake fuzz begins with this example until it is mended."))
    return report
