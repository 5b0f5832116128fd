"""What the tests of the SDK share: the model that it ships, and a keyboard on a store of its own."""

import pytest

from hushfold.clock import ManualClock
from hushfold.device import bundled_model
from hushfold.keyboard import Keyboard
from hushfold.store import Store
from hushfold_format import NextWordFiles


@pytest.fixture(scope="session")
def files():
    return NextWordFiles.load(bundled_model())


@pytest.fixture(scope="session")
def store_key():
    return bytes(range(32))


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store(tmp_path, store_key):
    with Store(tmp_path / "store.db", store_key) as opened:
        yield opened


@pytest.fixture
def keyboard(files, store, clock):
    return Keyboard(files, files.weights, store, clock)
