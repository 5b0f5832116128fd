"""The randomised Hadamard rotation: spreads an update evenly over its coordinates before it is rounded.

    y = W2 W1 x                x: d values, y as many
                               W1 turns the first w, W2 the last w, w the greatest power of two in d
    W = H S / sqrt(w)          S random signs, fresh ones for each window; H the Walsh-Hadamard matrix of order w

The windows overlap, unless d is a power of two, where one is enough. So every coordinate is turned at least once, and
nothing is padded. After it each coordinate of a vector of norm c is sub-Gaussian with variance proxy c^2 / w, whatever
the vector was: a window holds no more than c, and its signs are independent of what it holds (Kairouz et al. 2021,
arXiv 2102.06387, for one window). That is what lets a small modulus hold a sum.

A window equals TensorFlow Federated 0.87's `fast_walsh_hadamard_transform` of values times `sample_rademacher`, and one
window alone `tff.aggregators.HadamardTransformFactory`, bit for bit, so that a server which undoes the rotation in
TensorFlow Federated undoes what the devices did (its compiler is an ulp off where sqrt(w) is no whole number):

- The signs are `tf.sign(tf.random.stateless_uniform([w or 2 w], seed) - 0.5)`, the first w for the first window:
  Philox4x32-10 with TensorFlow's key schedule. The seed is public; nothing about privacy rests on it. A uniform of
  exactly one half gives a sign of 0, as it does in TFF: one coordinate in 2^23 is dropped for a round. It can only
  lower the norm.
- The butterflies add in float32, stride 1 first. Each is one rounded addition of two numbers, so that only the
  order of the strides matters and blocks may be taken in any order.
- The division by float32(sqrt(w)) comes last.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

FloatVector = npt.NDArray[np.float32]
Seed = tuple[int, int]  # two signed 64-bit integers

_ORDER = 1 << 8  # of the transforms that the whole one is made of
_SLAB = 1 << 16  # float32 values that are worked on at a time: 256 KiB, twice, stay in the second-level cache
_COUNTERS = 1 << 15  # Philox blocks at a time, of four values each

_PHILOX_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_PHILOX_WEYL = (0x9E3779B9, 0xBB67AE85)
_KEY_SCHEDULE = (0x3EC8F720, 0x02461E29)  # TensorFlow's key for scrambling a seed into key and counter
_LOW = np.uint64(0xFFFFFFFF)
_HIGH_SHIFT = np.uint64(32)


def window_size(dimension: int) -> int:
    """w: the greatest power of two that is at most `dimension`."""
    if dimension < 1:
        raise ValueError(f"a vector of {dimension} values cannot be rotated: at least one is needed")
    return 1 << dimension.bit_length() - 1


def rotate(x: FloatVector, seed: Seed) -> FloatVector:
    """Rotates float32[d] into a new float32[d]; the L2 norm stays, up to rounding."""
    y = np.array(x, np.float32)
    for number, window in enumerate(_windows(y)):
        _apply_signs(window, seed, number * window.size)
        _hadamard(window)
    return y


def unrotate(y: FloatVector, seed: Seed) -> FloatVector:
    """Undoes `rotate`: float32[d] into a new float32[d]."""
    x = np.array(y, np.float32)
    for number, window in reversed(list(enumerate(_windows(x)))):
        _hadamard(window)
        _apply_signs(window, seed, number * window.size)
    return x


def _windows(x: FloatVector) -> tuple[FloatVector, ...]:
    """Views of the first w values and of the last w, where these are not the same."""
    size = window_size(x.size)
    return (x,) if size == x.size else (x[:size], x[x.size - size :])


def _hadamard(x: FloatVector) -> None:
    """The normalised Walsh-Hadamard transform in natural order, in place.

    Eight index bits at a time, from the lowest: the vector is a matrix of which the transform is taken along the
    columns, in slabs that stay in the cache and are wide enough for numpy. For the lowest bits, which lie in rows,
    the slabs are transposed.
    """
    root = np.sqrt(np.float32(x.size))
    buffers = (np.empty(min(x.size, _SLAB), np.float32), np.empty(min(x.size, _SLAB), np.float32))
    below = 1  # the stride of the next index bits
    while True:
        order = min(x.size // below, _ORDER)
        done = below * order == x.size
        for slab in _slabs(x, order, below):
            transformed = _butterflies(slab, buffers)
            if done:
                np.divide(transformed, root, out=slab)
            else:
                slab[...] = transformed
        below *= order
        if done:
            return


def _slabs(x: FloatVector, order: int, below: int) -> Iterator[FloatVector]:
    """Views of x, float32[order, w], whose rows are `below` values apart: together they cover x once."""
    width = _SLAB // order
    if below == 1:
        rows = x.reshape(-1, order)
        for start in range(0, len(rows), width):
            yield rows[start : start + width].T
        return
    for block in x.reshape(-1, order, below):
        for start in range(0, below, width):
            yield block[:, start : start + width]


def _butterflies(slab: FloatVector, buffers: tuple[FloatVector, FloatVector]) -> FloatVector:
    """The unnormalised transform along the first axis, stride 1 first, into one of the buffers."""
    order, width = slab.shape
    source, target = (buffer[: slab.size].reshape(slab.shape) for buffer in buffers)
    source[...] = slab
    stride = 1
    while stride < order:
        pairs = source.reshape(-1, 2, stride * width)
        into = target.reshape(-1, 2, stride * width)
        np.add(pairs[:, 0], pairs[:, 1], out=into[:, 0])
        np.subtract(pairs[:, 0], pairs[:, 1], out=into[:, 1])
        source, target = target, source
        stride *= 2
    return source


def _apply_signs(x: FloatVector, seed: Seed, first: int) -> None:
    """Multiplies x[i] by sign(u[first + i] - 1/2), u = tf.random.stateless_uniform([...], seed), in place."""
    key, counter_high = _key_and_counter(seed)
    for start in range(0, x.size, 4 * _COUNTERS):
        part = x[start : start + 4 * _COUNTERS]
        block, skipped = divmod(first + start, 4)
        low = np.arange(block, block + (skipped + part.size + 3) // 4, dtype=np.uint64)
        shape = low.shape
        words = _philox(
            (
                low & _LOW,
                low >> _HIGH_SHIFT,
                np.full(shape, counter_high & 0xFFFFFFFF, np.uint64),
                np.full(shape, counter_high >> 32, np.uint64),
            ),
            key,
        )
        # TensorFlow makes a float32 in [0, 1) of the low 23 bits; one half is 2^22.
        mantissa = words.reshape(-1)[skipped : skipped + part.size] & np.uint32(0x7FFFFF)
        part *= np.sign(mantissa.view(np.int32) - np.int32(1 << 22))


def _key_and_counter(seed: Seed) -> tuple[tuple[int, int], int]:
    """TensorFlow's schedule: the seed pair, encrypted by Philox, is the key and the high half of the counter."""
    first, second = (word & 0xFFFFFFFFFFFFFFFF for word in seed)
    halves = (first & 0xFFFFFFFF, first >> 32, second & 0xFFFFFFFF, second >> 32)
    counter = [np.array([half], np.uint64) for half in halves]
    mixed = _philox((counter[0], counter[1], counter[2], counter[3]), _KEY_SCHEDULE)[0]
    return (int(mixed[0]), int(mixed[1])), int(mixed[3]) << 32 | int(mixed[2])


def _philox(counter: tuple[npt.NDArray[np.uint64], ...], key: tuple[int, int]) -> npt.NDArray[np.uint32]:
    """Philox4x32-10 (Salmon et al. 2011): counter words uint64[m] below 2^32 x 4 -> uint32[m, 4]."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0 = c0 * _PHILOX_MULTIPLIERS[0]
        p1 = c2 * _PHILOX_MULTIPLIERS[1]
        np.bitwise_xor(c1, np.uint64(k0), out=c1)
        np.bitwise_xor(c3, np.uint64(k1), out=c3)
        c1 ^= p1 >> _HIGH_SHIFT
        c3 ^= p0 >> _HIGH_SHIFT
        c0, c1, c2, c3 = c1, p1 & _LOW, c3, p0 & _LOW
        k0, k1 = (k0 + _PHILOX_WEYL[0]) & 0xFFFFFFFF, (k1 + _PHILOX_WEYL[1]) & 0xFFFFFFFF
    words = np.empty((c0.size, 4), np.uint32)
    for column, word in enumerate((c0, c1, c2, c3)):
        words[:, column] = word
    return words
