"""Directions, coins, and what a canary sends."""

import numpy as np
import pytest

from hushfold_audit.canaries import LENGTH, Canaries
from hushfold_audit.errors import UsageError


def test_directions_are_at_right_angles_and_of_length_one():
    canaries = Canaries.draw(20, 50, np.random.default_rng(0))
    directions = np.vstack([canaries.directions, canaries.unobserved])
    assert directions.shape == (50, 50)
    np.testing.assert_allclose(directions @ directions.T, np.eye(50), atol=1e-6)


def test_directions_favour_no_coordinate():
    mean = np.mean([Canaries.draw(2, 6, np.random.default_rng(seed)).directions for seed in range(2_000)], axis=0)
    assert np.abs(mean).max() < 0.05  # the standard deviation of a mean is 0.009


def test_a_fair_coin_decides_who_is_included():
    coins = np.concatenate([Canaries.draw(20, 40, np.random.default_rng(seed)).included for seed in range(100)])
    assert abs(coins.mean() - 0.5) < 0.05
    assert len({Canaries.draw(20, 40, np.random.default_rng(seed)).included.sum() for seed in range(20)}) > 3


def test_a_canary_sends_its_direction_too_long_or_nothing():
    canaries = Canaries.draw(10, 30, np.random.default_rng(1))
    for number, included in enumerate(canaries.included):
        update = canaries.update(number, 0.5)
        assert update.dtype == np.float32
        np.testing.assert_allclose(update, included * 0.5 * LENGTH * canaries.directions[number], rtol=1e-6)
    assert 0 < canaries.included.sum() < 10


@pytest.mark.parametrize("count", [0, 1, 16])
def test_canaries_must_have_room(count):
    with pytest.raises(UsageError, match=f"{count} canaries in updates of 30 values: between 2 and 15"):
        Canaries.draw(count, 30, np.random.default_rng(0))
