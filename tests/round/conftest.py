"""What tests of whole rounds share: a real server."""

import pytest
from live_server import LiveServer


@pytest.fixture
def server(tmp_path):
    live = LiveServer(tmp_path / "home").start()
    yield live
    live.stop()
