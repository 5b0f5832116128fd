"""Clocks: the real one moves, the manual one only when told, and never back."""

import math

import pytest

from hushfold.clock import ManualClock, SystemClock


def test_the_manual_clock_moves_when_told():
    clock = ManualClock(1000.0)
    assert (clock.now(), clock.monotonic()) == (1000.0, 0.0)
    clock.advance(5)
    clock.wait(2.5)
    assert (clock.now(), clock.monotonic()) == (1007.5, 7.5)


@pytest.mark.parametrize("seconds", [-1, -1e-9, math.nan])
def test_the_manual_clock_refuses_to_go_backwards(seconds):
    clock = ManualClock()
    before = clock.now()
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(seconds)
    assert clock.now() == before


def test_the_system_clock_waits():
    clock = SystemClock()
    start, wall = clock.monotonic(), clock.now()
    clock.wait(0.001)
    assert clock.monotonic() - start >= 0.001
    assert wall > 1_700_000_000
