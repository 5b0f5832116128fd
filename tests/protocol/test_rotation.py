"""The rotation: an isometry, and TFF's own to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushfold_protocol.rotation import padded_size, rotate, unrotate

SEEDS = st.integers(-(2**63), 2**63 - 1)

# Made with TFF 0.87.0 on TensorFlow 2.14.1: rotation.sample_rademacher([24], seed), and the rotation of 1, 2, ... 8.
TFF_SEED = (-7, 2**40 + 3)
TFF_SIGNS = [1, 1, 1, -1, -1, -1, 1, -1, -1, 1, 1, 1, 1, 1, 1, -1, -1, 1, -1, -1, -1, 1, 1, -1]
TFF_ROTATED_BITS = [
    3227665968, 1090053839, 3221734327, 3237537487, 1084122197, 3227665968, 1084122197, 1074250679,
]  # fmt: skip


def _vector(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def test_vector_made_by_tff() -> None:
    rotated = rotate(np.arange(1, 9, dtype=np.float32), TFF_SEED)
    assert rotated.view(np.uint32).tolist() == TFF_ROTATED_BITS


def test_signs_made_by_tff() -> None:
    # Undoing the rotation of a delta at 0 leaves the signs, scaled.
    delta = np.zeros(32, np.float32)
    delta[0] = np.sqrt(np.float32(32))
    assert unrotate(delta, TFF_SEED, 24).tolist() == TFF_SIGNS


def test_one_half_drops_the_coordinate_as_in_tff() -> None:
    # tf.random.stateless_uniform([2**20], (20, 0))[818766] == 0.5, whose sign TFF takes as 0.
    x = np.ones(1 << 20, np.float32)
    back = unrotate(rotate(x, (20, 0)), (20, 0), x.size)
    assert np.flatnonzero(np.abs(back) < 1e-3).tolist() == [818766]
    assert np.abs(np.delete(back, 818766) - 1).max() < 1e-3


@given(size=st.integers(1, 5000), first=SEEDS, second=SEEDS)
@settings(max_examples=40, deadline=None)
def test_unrotating_gives_the_vector_back(size: int, first: int, second: int) -> None:
    x = _vector(size)
    y = rotate(x, (first, second))
    assert y.dtype == np.float32
    assert y.size == padded_size(size)
    np.testing.assert_allclose(np.linalg.norm(y), np.linalg.norm(x), rtol=1e-5)
    np.testing.assert_allclose(unrotate(y, (first, second), size), x, atol=1e-5)


@pytest.mark.parametrize("log_size", range(14))
def test_equals_the_hadamard_matrix(log_size: int) -> None:
    # With one-hot input the signs only flip the column of the matrix, whose entry at (i, j) is (-1)^popcount(i & j).
    size = 1 << log_size
    at = size * 5 // 7
    one_hot = np.zeros(size, np.float32)
    one_hot[at] = 1
    parity = np.array([(index & at).bit_count() & 1 for index in range(size)])
    column = ((-1.0) ** parity / np.sqrt(np.float32(size))).astype(np.float32)
    rotated = rotate(one_hot, (3, 4))
    np.testing.assert_array_equal(rotated * np.sign(rotated[0]), column)


def test_rotation_spreads_a_spike_and_depends_on_the_seed() -> None:
    spikes = np.zeros(4096, np.float32)
    spikes[:64] = 1  # of norm 8: evenly spread, each coordinate would be 1 / 8
    one, other = rotate(spikes, (1, 2)), rotate(spikes, (1, 3))
    assert np.abs(one).max() < 5 / 8
    assert not np.array_equal(one, other)
    assert np.array_equal(one, rotate(spikes, (1, 2)))


def test_the_input_is_left_alone() -> None:
    x = _vector(64)
    kept = x.copy()
    unrotate(rotate(x, (1, 2)), (1, 2), 64)
    rotated = rotate(x, (1, 2))
    kept_rotated = rotated.copy()
    unrotate(rotated, (1, 2), 64)
    assert np.array_equal(x, kept)
    assert np.array_equal(rotated, kept_rotated)


def test_sizes() -> None:
    assert [padded_size(size) for size in (1, 2, 3, 4, 5, 2000, 1 << 20, (1 << 20) + 1)] == [
        1, 2, 4, 4, 8, 2048, 1 << 20, 1 << 21,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="at least one"):
        padded_size(0)
    with pytest.raises(ValueError, match="has 4, but this one has 8"):
        unrotate(np.zeros(8, np.float32), (0, 0), 3)


@pytest.mark.tff
@pytest.mark.parametrize("size", [1, 2, 2000, 1 << 13, 100_000, 1 << 17])
def test_bit_equal_to_tff(size: int) -> None:
    tf = pytest.importorskip("tensorflow")
    hadamard = pytest.importorskip("tensorflow_federated.python.aggregators.hadamard")
    rotation = pytest.importorskip("tensorflow_federated.python.aggregators.rotation")
    seed = (1_700_000_000_123_456, 5)
    x = _vector(size)
    padded = rotation._pad_zeros_pow2(tf.constant(x))
    signs = rotation.sample_rademacher(tf.shape(padded), padded.dtype, tf.constant(seed, tf.int64))
    theirs = hadamard.fast_walsh_hadamard_transform((padded * signs)[tf.newaxis])[0].numpy()
    ours = rotate(x, seed)
    np.testing.assert_array_equal(ours, theirs)
    undone = (hadamard.fast_walsh_hadamard_transform(tf.constant(ours)[tf.newaxis])[0] * signs)[:size].numpy()
    np.testing.assert_array_equal(unrotate(ours, seed, size), undone)
