"""How long the property tests of `tests/fuzz` look for a fault.

Without a budget, as in every run of the tests, a few examples, the same each time. With one (`make fuzz SECONDS=600`)
new examples are made until the time is up, and one that fails is kept: the next run begins with it.
"""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis.database import DirectoryBasedExampleDatabase

SECONDS = float(os.environ.get("FUZZ_SECONDS") or 0)
FOLDER = Path(__file__).parents[2] / "build" / "fuzz"


def few(examples: int, steps: int = 50) -> settings:
    """So many examples (of so many steps, for a state machine) at a time; with a budget, again and again."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=not SECONDS,
        database=DirectoryBasedExampleDatabase(FOLDER / "examples") if SECONDS else None,
        phases=list(Phase) if SECONDS else [Phase.explicit, Phase.generate],  # making an example smaller takes minutes
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


def fuzzed(share: int = 1):
    """Marks a test that takes a share of the budget, in proportion to those of the others."""

    def mark(test):
        test.fuzz_share = share
        return test

    return mark
