"""Modules named test_learner_*.py import TensorFlow Federated, which takes ten seconds, and all their tests say so."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A run without the tests marked `tff` does not import their modules either."""
    excluded = "not tff" in config.getoption("markexpr")
    return True if excluded and collection_path.match("test_learner_*.py") else None
