"""Messages to static batches."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushfold_format import BEGIN, FIRST_WORD, PAD, UNKNOWN, Vocabulary, batches, message_ids

MESSAGES = st.lists(st.lists(st.integers(UNKNOWN, 60), max_size=40), max_size=12)


def test_a_message_is_shifted_by_one_and_padded() -> None:
    (batch,) = batches([[11, 12, UNKNOWN, 13]], batch=2, time=6)
    assert batch.tokens.tolist() == [[BEGIN, 11, 12, UNKNOWN, 13, PAD], [PAD] * 6]
    assert batch.targets.tolist() == [[11, 12, UNKNOWN, 13, PAD, PAD], [PAD] * 6]
    assert batch.mask.tolist() == [[1, 1, 0, 1, 0, 0], [0] * 6]
    assert [values.dtype for values in batch] == [np.int32, np.int32, np.float32]


def test_a_long_message_goes_on_with_context_that_is_not_a_target_again() -> None:
    (batch,) = batches([list(range(20, 32))], batch=2, time=8)
    assert batch.targets.tolist() == [[20, 21, 22, 23, 24, 25, 26, 27], [26, 27, 28, 29, 30, 31, PAD, PAD]]
    assert batch.tokens[:, 0].tolist() == [BEGIN, BEGIN]
    assert batch.mask.tolist() == [[1] * 8, [0, 0, 1, 1, 1, 1, 0, 0]]


@given(MESSAGES, st.integers(1, 5), st.integers(4, 12), st.integers(0, 3))
def test_every_word_is_a_target_exactly_once(messages: list[list[int]], batch: int, time: int, seed: int) -> None:
    seen: Counter[int] = Counter()
    for tokens, targets, mask in batches(messages, batch, time, seed=seed):
        assert tokens.shape == targets.shape == mask.shape == (batch, time)
        assert np.array_equal(tokens[:, 1:], targets[:, :-1])
        assert mask.any()
        seen.update(targets[mask == 1].tolist())
    assert seen == Counter(token for ids in messages for token in ids if token >= FIRST_WORD)


@given(MESSAGES)
def test_a_seed_gives_one_order_of_the_same_rows(messages: list[list[int]]) -> None:
    def rows(seed: int | None) -> list[tuple[int, ...]]:
        return [tuple(row) for batch in batches(messages, 3, 8, seed=seed) for row in batch.targets]

    assert rows(5) == rows(5)
    assert sorted(rows(5)) == sorted(rows(None))


def test_seeds_differ() -> None:
    messages = [[token] for token in range(20, 60)]
    orders = {tuple(np.concatenate([b.targets[:, 0] for b in batches(messages, 8, 4, seed=s)])) for s in (None, 1, 2)}
    assert len(orders) == 3


@pytest.mark.parametrize(("batch", "time"), [(0, 8), (1, 3)])
def test_a_shape_that_is_too_small(batch: int, time: int) -> None:
    with pytest.raises(ValueError, match="too small"):
        next(batches([[10]], batch, time))


def test_messages_are_encoded_as_they_are_typed() -> None:
    vocabulary = Vocabulary(("see", "you", "!"), {})
    assert message_ids("See you!", vocabulary) == [FIRST_WORD, FIRST_WORD + 1, FIRST_WORD + 2]
