"""The committed next-word model, and what tests do with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from hushfold_format import Batch, NextWordFiles

ARTIFACTS = Path(__file__).parents[2] / "tflite_models" / "artifacts" / "next_word"


@pytest.fixture(scope="session")
def files() -> NextWordFiles:
    return NextWordFiles.load(ARTIFACTS)


@pytest.fixture
def trainer(files: NextWordFiles) -> Interpreter:
    """An interpreter of the training graph that holds the released weights."""
    interpreter = Interpreter(model_content=files.training)
    interpreter.get_signature_runner("set_weights")(weights=files.weights)
    return interpreter


@pytest.fixture(scope="session")
def random_batch(files: NextWordFiles) -> Batch:
    """A batch of random words with a third of the targets masked."""
    generator = np.random.default_rng(3)
    shape = (files.manifest.batch, files.manifest.time)
    tokens, targets = generator.integers(9, files.manifest.sizes["vocabulary"], (2, *shape), np.int32)
    return Batch(tokens, targets, (generator.random(shape) < 0.67).astype(np.float32))
