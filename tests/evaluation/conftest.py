"""What the tests of the evaluation share: the yardstick, and invented texts."""

import importlib.util
import os
import random
from pathlib import Path

import pytest

from hushfold_evaluation.texts import Person

ROOT = Path(__file__).parents[2]
STARTS = "i'll be|see you|where are you|can we meet|don't forget|it's so|ok then"
ENDS = "late tonight|at the harbour|again :)|in 20 minutes|at <time>!|near the station|tomorrow?|the keys, ok|lah"


@pytest.fixture(scope="session")
def yardstick():
    """The reference implementation of the protocol, which is not part of this repository."""
    data = Path(os.environ.get("HUSHFOLD_DATA") or ROOT.parent / "shared" / "data")
    path = data.parent / "tools" / "eval_text.py"
    if not path.exists():
        pytest.skip(f"the yardstick is not at {path}")
    spec = importlib.util.spec_from_file_location("eval_text", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def invented(count: int, seed: int) -> tuple[str, ...]:
    """Messages of somebody who always writes much the same."""
    rng = random.Random(seed)
    return tuple(f"{rng.choice(STARTS.split('|'))} {rng.choice(ENDS.split('|'))}" for _ in range(count))


@pytest.fixture(scope="session")
def public():
    return invented(400, 0)


@pytest.fixture(scope="session")
def people():
    return [Person(f"p{seed}", invented(20 + 150 * (seed % 3), seed)) for seed in range(1, 7)]
