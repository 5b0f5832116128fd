"""Sizes, layout of the vector and buckets of the vocabulary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushfold_format import FIRST_WORD
from hushfold_models.config import (
    ADAPTER,
    CONFIGS,
    NextWordConfig,
    bucket_of_id,
    bucket_starts,
    initial_vector,
    layout,
    parameter_shapes,
    split,
)


def test_the_default_is_the_published_architecture_with_a_small_adapter() -> None:
    _, parts = layout(NextWordConfig())
    assert parts["whole"].size - parts["adapter"].size == 1_412_250
    assert parts["adapter"].size == 2 * 96 + 384


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_adapter_is_the_end_of_the_vector(config: NextWordConfig) -> None:
    parameters, parts = layout(config)
    assert tuple(p.name for p in parameters if p.offset >= parts["adapter"].start) == ADAPTER
    assert parts["adapter"].stop == parts["whole"].stop == sum(p.size for p in parameters)
    assert {p.name: p.shape for p in parameters} == parameter_shapes(config)


def test_the_initial_adapter_is_the_identity() -> None:
    config = CONFIGS["small"]
    parameters = split(config, initial_vector(config, seed=0))
    assert all(not parameters[name].any() for name in ADAPTER)
    assert all(parameters[name].any() for name in parameters if name not in ADAPTER)


@given(st.integers(100, 20_000), st.integers(2, 60))
def test_buckets_partition_the_vocabulary(vocabulary: int, buckets: int) -> None:
    starts = bucket_starts(vocabulary, buckets)
    assert len(starts) == buckets
    assert starts[:2] == (0, FIRST_WORD)  # the special tokens have one of their own
    widths = np.diff([*starts, vocabulary])
    assert widths.min() >= 1
    assert (np.diff(widths[1:]) >= -1).all()  # never narrower with falling frequency, up to rounding
    of_id = bucket_of_id(vocabulary, buckets)
    assert [int(np.flatnonzero(of_id == b)[0]) for b in range(buckets)] == list(starts)


@pytest.mark.parametrize("buckets", [0, 1, 250, 1000])
def test_too_many_or_too_few_buckets(buckets: int) -> None:
    with pytest.raises(ValueError, match="buckets do not fit"):
        NextWordConfig(vocabulary=200, buckets=buckets)
