"""What the tests of participation share: one service for all of them, and a population for each."""

import itertools
from contextlib import ExitStack

import pytest
from service_in_process import COHORT, ServiceInProcess

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def one_service(tmp_path_factory):
    service = ServiceInProcess(tmp_path_factory.mktemp("service"))
    yield service
    service.stop()


@pytest.fixture
def service(one_service):
    yield one_service
    one_service.forget()


@pytest.fixture
def population():
    """Of this test alone: its rounds and budgets are nobody else's."""
    return f"population-{next(NUMBERS)}"


@pytest.fixture
def make_phone(service, population):
    with ExitStack() as stack:

        def make(**options):
            phone = service.phone(f"phone-{next(NUMBERS)}", population, **options)
            stack.callback(phone.device.close)
            return phone

        yield make


@pytest.fixture
def phone(make_phone):
    return make_phone()


@pytest.fixture
def cohort(make_phone):
    return [make_phone() for _ in range(COHORT)]
