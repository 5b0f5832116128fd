"""Waiting for what real threads and processes do."""

import threading
import time

_PAUSE = threading.Event()  # never set


def eventually(condition, seconds=30.0):
    """Looks often until the condition holds and gives its value; fails the test if it does not within the time."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"it did not happen within {seconds} s"
        _PAUSE.wait(0.01)
    return value
