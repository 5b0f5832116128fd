"""A plan that a device with the default policy agrees to, but hardly; for the tests of what it does not agree to."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from hushfold_protocol.encoding import EncodingParameters
from hushfold_protocol.plan import (
    CohortParameters,
    DevicePolicy,
    ModelReference,
    Plan,
    TrainingParameters,
    UpdateParameters,
)

POLICY = DevicePolicy()
COHORT = CohortParameters(target=100, maximum=100, floor=80, gamma=0.05)
_ENCODING = EncodingParameters.for_cohort(
    dimension=64,
    clip_norm=0.25,
    noise_multiplier=0.72,
    bits=24,
    cohort_max=COHORT.maximum,
    noise_contributors=COHORT.noise_contributors,
    rotation_seed=(1, 2),
    beta=0.5,
)
GOOD = Plan(
    population="keyboard-en",
    task="words",
    round_id=bytes(range(16)),
    round_number=1,
    model=ModelReference("next_word", "1.0.0", bytes(32), "adapter", bytes(32)),
    training=TrainingParameters(steps=50, batch=16, time=20, learning_rate=0.5, max_examples=50, seed=0),
    update=UpdateParameters(
        dimension=_ENCODING.dimension,
        clip_norm=_ENCODING.clip_norm,
        scale=float(int(_ENCODING.scale)),  # whole numbers: the same bytes on every machine
        bits=_ENCODING.bits,
        local_stddev=float(math.ceil(_ENCODING.local_stddev)),
        rotation_seed_0=1,
        rotation_seed_1=2,
        beta=_ENCODING.beta,
    ),
    cohort=COHORT,
    delta=1e-6,
    join_delay_ms=30_000,
    expires=2_000_000_000,
)


def changed(**changes: Any) -> Plan:
    """The plan with other fields, or with other fields in its parts: `delta=0.0, update={"bits": 20}`."""
    return replace(
        GOOD,
        **{
            name: replace(getattr(GOOD, name), **change) if isinstance(change, dict) else change
            for name, change in changes.items()
        },
    )
