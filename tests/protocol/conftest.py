"""Fixtures of the protocol's tests."""

import pytest
from sparse_cohort import use_small_sparse_graph


@pytest.fixture
def sparse(monkeypatch):
    use_small_sparse_graph(monkeypatch)
