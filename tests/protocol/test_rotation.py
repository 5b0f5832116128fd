"""The rotation: an isometry, and TFF's own to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushfold_protocol.rotation import rotate, unrotate, window_size

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
    assert unrotate(delta, TFF_SEED)[:24].tolist() == TFF_SIGNS


def test_one_half_drops_the_coordinate_as_in_tff() -> None:
    # tf.random.stateless_uniform([2**20], (20, 0))[818766] == 0.5, whose sign TFF takes as 0.
    x = np.ones(1 << 20, np.float32)
    back = unrotate(rotate(x, (20, 0)), (20, 0))
    assert np.flatnonzero(np.abs(back) < 1e-3).tolist() == [818766]
    assert np.abs(np.delete(back, 818766) - 1).max() < 1e-3


@given(size=st.integers(1, 5000), first=SEEDS, second=SEEDS)
@settings(max_examples=40, deadline=None)
def test_unrotating_gives_the_vector_back(size: int, first: int, second: int) -> None:
    x = _vector(size)
    y = rotate(x, (first, second))
    assert y.dtype == np.float32
    assert y.size == size
    np.testing.assert_allclose(np.linalg.norm(y), np.linalg.norm(x), rtol=1e-5)
    np.testing.assert_allclose(unrotate(y, (first, second)), x, atol=1e-5)


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
    unrotate(rotate(x, (1, 2)), (1, 2))
    rotated = rotate(x, (1, 2))
    kept_rotated = rotated.copy()
    unrotate(rotated, (1, 2))
    assert np.array_equal(x, kept)
    assert np.array_equal(rotated, kept_rotated)


def test_windows() -> None:
    assert [window_size(size) for size in (1, 2, 3, 4, 5, 2000, 1 << 20, (1 << 20) + 1, (1 << 21) - 1)] == [
        1, 2, 2, 4, 4, 1024, 1 << 20, 1 << 20, 1 << 20,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="at least one"):
        rotate(np.zeros(0, np.float32), (0, 0))


@pytest.mark.parametrize("size", [5, 6, 7, 48, 1000])
def test_two_windows_that_overlap_are_the_rotations_of_one(size: int) -> None:
    """Each is what a vector of a power of two becomes: the first by the seed's first signs, the second by the next."""
    x, seed = _vector(size), (5, -6)
    window = window_size(size)
    ones = np.zeros(2 * window, np.float32)
    ones[0] = np.sqrt(np.float32(2 * window))
    signs = unrotate(ones, seed)  # of a vector of twice the length, whose first signs are the same
    assert set(signs.tolist()) == {1.0, -1.0}
    plain = signs[:window] * unrotate(np.eye(1, window, dtype=np.float32)[0] * np.sqrt(np.float32(window)), seed)
    assert set(plain.tolist()) == {1.0}, "the first signs depend on how many are drawn"
    expected = x.copy()
    expected[:window] = rotate(expected[:window], seed)
    expected[-window:] = rotate(expected[-window:] * signs[window:] * signs[:window], seed)
    np.testing.assert_array_equal(rotate(x, seed), expected)


@pytest.mark.parametrize("place", [0, 150, 1499])
def test_no_value_stays_a_spike_wherever_it_is(place: int) -> None:
    """Of 1,500 values the first window alone turns the first 476, the second alone the last, and both the rest."""
    spike = np.zeros(1500, np.float32)
    spike[place] = 1
    rotated = [np.abs(rotate(spike, (seed, 7))).max() for seed in range(50)]
    # Where both windows turn it a coordinate has the sum of many signs: proxy 1 / 1024, 5.3 deviations.
    assert max(rotated) < 5.3 / 32


@pytest.mark.parametrize("size", [3, 5, 1500])
def test_coordinates_are_as_even_as_the_encoding_assumes(size: int) -> None:
    """Of a vector of norm 1, whatever it is, no coordinate has a second moment above 1 / w."""
    window = window_size(size)
    for seed, x in enumerate((np.eye(1, size)[0], np.eye(1, size, size - 1)[0], _vector(size))):
        unit = (x / np.linalg.norm(x)).astype(np.float32)
        squares = np.mean([rotate(unit, (seed, number)) ** 2 for number in range(400)], axis=0)
        assert squares.max() < (1 + 6 * np.sqrt(2 / 400)) / window


@pytest.mark.tff
@pytest.mark.parametrize("size", [1, 2, 3, 2000, 1 << 13, 100_000, 1 << 17, 150_000])
def test_bit_equal_to_tff(size: int) -> None:
    tf = pytest.importorskip("tensorflow")
    hadamard = pytest.importorskip("tensorflow_federated.python.aggregators.hadamard")
    rotation = pytest.importorskip("tensorflow_federated.python.aggregators.rotation")
    seed = (1_700_000_000_123_456, 5)
    window = window_size(size)
    places = [slice(0, window)] if window == size else [slice(0, window), slice(size - window, size)]
    drawn = rotation.sample_rademacher([len(places) * window], tf.float32, tf.constant(seed, tf.int64)).numpy()
    signs = drawn.reshape(len(places), window)

    def turned(x: np.ndarray) -> np.ndarray:
        return hadamard.fast_walsh_hadamard_transform(tf.constant(x)[tf.newaxis])[0].numpy()

    theirs = _vector(size)
    for place, flips in zip(places, signs, strict=True):
        theirs[place] = turned(theirs[place] * flips)
    ours = rotate(_vector(size), seed)
    np.testing.assert_array_equal(ours, theirs)
    for place, flips in reversed(list(zip(places, signs, strict=True))):
        theirs[place] = turned(theirs[place]) * flips
    np.testing.assert_array_equal(unrotate(ours, seed), theirs)
