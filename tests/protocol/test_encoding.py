"""The encoder: what it promises about norms, sums, noise and the order of its float32 operations."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hushfold_protocol import encoding
from hushfold_protocol.encoding import EncodingParameters, choose_scale, decode_sum, encode, quantise
from hushfold_protocol.errors import EncodingError, RoundingFailed
from hushfold_protocol.randomness import AesCtrStream
from hushfold_protocol.rotation import rotate

PLAIN = EncodingParameters(
    dimension=100, clip_norm=2.0, scale=1000.0, bits=20, local_stddev=0.0, rotation_seed=(11, -12)
)


def _update(parameters: EncodingParameters, norm: float, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal(parameters.dimension)
    return (x * (norm / np.linalg.norm(x))).astype(np.float32)


def _stream(seed: int = 0) -> AesCtrStream:
    return AesCtrStream(seed.to_bytes(32, "big"))


class Constant:
    """Random bytes that are all the same; counts its calls."""

    def __init__(self, byte: int) -> None:
        self._byte = bytes([byte])
        self.calls = 0

    def __call__(self, count: int, /) -> bytes:
        self.calls += 1
        return self._byte * count


@given(
    dimension=st.integers(1, 300),
    norm=st.floats(0, 1e4),
    scale=st.floats(1e-2, 1e5),
    beta=st.sampled_from([0.0, 1e-6, math.exp(-0.5)]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=150, deadline=None)
def test_integer_norms_are_within_the_bounds_of_the_accounting(
    dimension: int, norm: float, scale: float, beta: float, seed: int
) -> None:
    parameters = EncodingParameters(dimension, 1.5, scale, 32, 0.0, (seed, 1), beta)
    try:
        rounded = quantise(_update(parameters, norm, seed), parameters, _stream(seed))
    except RoundingFailed:
        assert beta > 0.5, "only a bound that roundings often exceed can fail eight times over"
        return
    assert rounded.dtype == np.int32
    assert rounded.shape == (parameters.dimension,)
    assert math.sqrt(sum(int(value) ** 2 for value in rounded)) <= parameters.l2_bound
    assert sum(abs(int(value)) for value in rounded) <= parameters.l1_bound * (1 + 1e-12)


def test_l2_bound_is_the_papers() -> None:
    clipped, root = PLAIN.scale * PLAIN.clip_norm, math.sqrt(100)
    conditional = clipped**2 + 100 / 4 + math.sqrt(2 * math.log(1 / PLAIN.beta)) * (clipped + root / 2)
    assert PLAIN.l2_bound == pytest.approx(math.sqrt(conditional), rel=1e-12)
    assert PLAIN.l1_bound == pytest.approx(PLAIN.l2_bound * root, rel=1e-12)
    assert dataclasses.replace(PLAIN, beta=0.0).l2_bound == pytest.approx(clipped + root, rel=1e-12)
    # A coarse grid with a rejection that never happens: the bound without conditions is the lower one.
    coarse = dataclasses.replace(PLAIN, scale=0.1, beta=1e-80)
    assert coarse.l2_bound == pytest.approx(0.2 + root, rel=1e-12)
    # Short integer vectors have few values that are not zero.
    short = dataclasses.replace(PLAIN, dimension=1000, scale=0.5, beta=0.999)
    assert short.l2_bound < math.sqrt(1000)
    assert short.l1_bound == pytest.approx(short.l2_bound**2, rel=1e-12)


def test_rounding_is_unbiased_and_to_a_neighbour() -> None:
    update, total, tries = _update(PLAIN, 1.0), np.zeros(100, np.int64), 1000
    grid = rotate(update, PLAIN.rotation_seed) * np.float32(PLAIN.scale)
    stream = _stream()
    for _ in range(tries):
        rounded = quantise(update, PLAIN, stream)
        assert np.all((rounded == np.floor(grid)) | (rounded == np.ceil(grid)))
        total += rounded
    # The standard error of the mean is at most 1 / (2 sqrt(tries)) = 0.016.
    assert np.abs(total / tries - grid).max() < 0.08


def test_long_updates_are_clipped_and_short_ones_are_not() -> None:
    for norm, expected in ((0.5, 0.5), (1.999, 1.999), (7.0, 2.0), (1e6, 2.0)):
        decoded = decode_sum(encode(_update(PLAIN, norm), PLAIN), PLAIN)
        assert np.linalg.norm(decoded) == pytest.approx(expected, rel=5e-3)


@given(devices=st.integers(1, 12), bits=st.integers(16, 32), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_modular_sum_decodes_to_the_sum(devices: int, bits: int, seed: int) -> None:
    parameters = EncodingParameters.for_cohort(
        dimension=700,
        clip_norm=1.0,
        noise_multiplier=0.0,
        bits=bits,
        cohort_max=12,
        noise_contributors=8,
        rotation_seed=(seed, seed),
    )
    updates = [_update(parameters, 0.9, seed + device) for device in range(devices)]
    total = np.zeros(parameters.dimension, np.uint32)
    for update in updates:
        encoded = encode(update, parameters)
        assert encoded.dtype == np.uint32
        assert int(encoded.max()) < parameters.modulus
        total = (total + encoded) & np.uint32(parameters.modulus - 1)
    decoded = decode_sum(total, parameters)
    assert decoded.dtype == np.float32
    # Rounding errors have at most variance 1 / 4 each on the grid: allow six standard deviations.
    error = 6 * math.sqrt(devices / 4) / parameters.scale + 1e-5
    np.testing.assert_allclose(decoded, np.sum(updates, axis=0), atol=error)


def test_equal_updates_of_a_full_cohort_do_not_wrap() -> None:
    # All devices pull the same way, at full norm, with noise: the case that sizes the modulus.
    parameters = EncodingParameters.for_cohort(
        dimension=2000,
        clip_norm=0.5,
        noise_multiplier=1.0,
        bits=16,
        cohort_max=100,
        noise_contributors=60,
        rotation_seed=(1, 2),
    )
    update, stream = _update(parameters, 0.5), _stream()
    total = np.zeros(parameters.dimension, np.uint32)
    for _ in range(100):
        total += encode(update, parameters, stream)
    decoded = decode_sum(total & np.uint32(parameters.modulus - 1), parameters)
    noise = decoded - 100 * update
    # 100 shares of which 60 make the multiplier: 0.5 sqrt(100 / 60); one wrapped coordinate would add 1 or so to all.
    assert noise.std() == pytest.approx(0.5 * math.sqrt(100 / 60), rel=0.06)


def test_noise_is_skellam_of_the_local_variance() -> None:
    parameters = dataclasses.replace(PLAIN, dimension=1 << 16, local_stddev=7.0, bits=24)
    encoded = encode(np.zeros(1 << 16, np.float32), parameters, _stream(3))
    centred = ((encoded << np.uint32(8)).view(np.int32) >> 8).astype(int)
    edges = np.arange(-15, 16)
    expected = np.diff(np.concatenate([[0], stats.skellam.cdf(edges, 24.5, 24.5), [1]])) * centred.size
    observed = np.bincount(np.searchsorted(edges, centred), minlength=edges.size + 1)
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_whole_vector_is_redrawn_until_it_is_short_enough() -> None:
    parameters = dataclasses.replace(PLAIN, dimension=64, scale=1.0, clip_norm=1.0, beta=0.99)
    update = np.zeros(64, np.float32)
    update[5] = 1.0  # rotated: 32 coordinates of 1/8 and 32 of -1/8
    assert 4 < parameters.l2_bound < 5
    up = Constant(0)  # always below the threshold: rounds to 32 ones and 32 zeros, of norm 5.7
    with pytest.raises(RoundingFailed, match="sit this round out"):
        quantise(update, parameters, up)
    assert up.calls == encoding.MAX_ROUNDINGS

    class SecondTry:
        calls = 0

        def __call__(self, count: int, /) -> bytes:
            self.calls += 1
            return (b"\0" if self.calls == 1 else b"\x80") * count

    second = SecondTry()
    # A uniform number of one half rounds 1/8 down to 0, and -1/8, which is 7/8 above -1, up to 0.
    assert not quantise(update, parameters, second).any()
    assert second.calls == 2


def test_the_norm_that_is_checked_is_exact_whatever_its_size() -> None:
    """float64 counts squares up to 2^53 one by one, and no further."""
    rng = np.random.default_rng(8)
    for bound, longest in ((1 << 4, 3), (1 << 20, 5), (1 << 20, (1 << 30) - 1)):
        x = rng.integers(-bound, bound, 3 * encoding._CHUNK + 1).astype(np.int32)
        x[-2:] = longest, 1
        assert encoding._squared_norm(x) == sum(value * value for value in x.tolist())
    assert encoding._squared_norm(np.array([1 << 26, 1], np.int32)) == (1 << 52) + 1


def test_fresh_randomness_by_default() -> None:
    noisy = dataclasses.replace(PLAIN, local_stddev=50.0)
    update = _update(noisy, 1.0)
    assert not np.array_equal(encode(update, noisy), encode(update, noisy))
    assert np.array_equal(encode(update, noisy, _stream()), encode(update, noisy, _stream()))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_update_that_is_not_finite_is_refused(value: float) -> None:
    update = _update(PLAIN, 1.0)
    update[3] = value
    with pytest.raises(EncodingError, match="not finite"):
        encode(update, PLAIN)


def test_update_whose_norm_overflows_is_refused() -> None:
    with pytest.raises(EncodingError, match="overflow"):
        encode(np.full(100, 3e38, np.float32), PLAIN)


@pytest.mark.parametrize("update", [np.zeros(99, np.float32), np.zeros((100, 1), np.float32), np.zeros(100)])
def test_update_of_another_shape_or_type_is_refused(update: np.ndarray) -> None:
    with pytest.raises(EncodingError, match="must be float32 of shape"):
        encode(update, PLAIN)


def test_sum_that_is_no_sum_is_refused() -> None:
    with pytest.raises(EncodingError, match="shape"):
        decode_sum(np.zeros(128, np.uint32), PLAIN)
    with pytest.raises(EncodingError, match="below 2"):
        decode_sum(np.full(100, 1 << 20, np.uint32), PLAIN)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"dimension": 0}, "update of 0 values"),
        ({"dimension": (1 << 24) + 1}, "values"),
        ({"clip_norm": 0.0}, "clip norm"),
        ({"clip_norm": math.nan}, "clip norm"),
        ({"clip_norm": math.inf}, "clip norm"),
        ({"scale": -1.0}, "scale"),
        ({"scale": math.nan}, "scale"),
        ({"bits": 7}, "modulus"),
        ({"bits": 33}, "modulus"),
        ({"local_stddev": -1.0}, "noise"),
        ({"local_stddev": math.nan}, "noise"),
        ({"local_stddev": 1e9}, "noise"),
        ({"rotation_seed": (0, 2**63)}, "rotation seed"),
        ({"beta": 1.0}, "beta"),
        ({"beta": math.nan}, "beta"),
        ({"scale": 1e9}, "smaller scale"),
        ({"scale": 1e38, "clip_norm": 1e38}, "smaller scale"),
        # Finite in float64, and a thousand grid steps together; in float32 infinite, or without digits.
        ({"scale": 1e39, "clip_norm": 1e-36}, "a scale of 1e\\+39: .* normal float32"),
        ({"scale": 1e-39}, "a scale of 1e-39: .* normal float32"),
        ({"scale": 1e3, "clip_norm": 1e39}, "a clip norm of 1e\\+39: .* normal float32"),
        ({"scale": 1e38, "clip_norm": 1e-39}, "a clip norm of 1e-39: .* normal float32"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(EncodingError, match=fault):
        dataclasses.replace(PLAIN, **changes)


@pytest.mark.parametrize("scale", [1e39, 2.0**31, math.nan])
@pytest.mark.parametrize("rounding", ["stochastic", "nearest"])
def test_a_grid_too_long_for_the_integer_check_is_refused_before_it(
    scale: float, rounding: Literal["stochastic", "nearest"]
) -> None:
    """Whatever made it so: cast to int32, infinities become -2^31, whose squares add up to 0 in int64."""
    parameters = dataclasses.replace(PLAIN, dimension=16)
    object.__setattr__(parameters, "scale", scale)
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(EncodingError, match=r"not below 2\^31"):
        quantise(_update(parameters, 1e3), parameters, _stream(), rounding=rounding)


@pytest.mark.parametrize("dimension", [1, 100])
def test_the_longest_update_that_can_be_encoded(dimension: int) -> None:
    parameters = EncodingParameters(dimension, 1.0, 2.0**30 - 2**6, 32, 0.0, (1, 2))
    rounded = quantise(_update(parameters, 0.999), parameters, _stream())
    assert np.linalg.norm(rounded.astype(np.float64)) == pytest.approx(0.999 * 2.0**30, rel=1e-6)
    with pytest.raises(EncodingError, match="smaller scale"):
        dataclasses.replace(parameters, scale=2.0**30 + 1)


SCALE_CASE: dict[str, Any] = {"clip_norm": 0.1, "dimension": 3000, "bits": 16, "cohort_max": 100, "local_noise": 0.02}


def test_scale_leaves_room_for_the_stated_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    # The window of 3,000 values has 2,048. Against the Gaussian limit: with 2^-40, the half range is 7.3 to 7.5
    # standard deviations of the proxy.
    scale = choose_scale(**SCALE_CASE)
    proxy = (scale * 100 * 0.1) ** 2 / 2048 + 25 + 100 * (scale * 0.02) ** 2
    assert 7.3 < 2**15 / math.sqrt(proxy) < 7.6
    monkeypatch.setattr(encoding, "WRAP_PROBABILITY", 1e-4)
    loose = choose_scale(**SCALE_CASE)
    proxy = (loose * 100 * 0.1) ** 2 / 2048 + 25 + 100 * (loose * 0.02) ** 2
    assert 4.3 < 2**15 / math.sqrt(proxy) < 4.6


def test_chernoff_bound_holds_for_the_true_tail_and_is_not_far_from_it() -> None:
    # Noise alone, where the tail is known: P(|Skellam(400)| >= 90).
    bound = 2 * math.exp(encoding._chernoff_exponent(1e-9, 400.0, 90.0))
    true = 2 * float(stats.skellam.sf(89, 200, 200))
    assert true <= bound <= 20 * true


@given(factor=st.floats(1.0, 10.0), field=st.sampled_from(["clip_norm", "cohort_max", "local_noise"]))
@settings(max_examples=40, deadline=None)
def test_more_to_sum_takes_a_coarser_grid(factor: float, field: str) -> None:
    grown = {**SCALE_CASE, field: SCALE_CASE[field] * factor}
    grown["cohort_max"] = int(grown["cohort_max"])
    assert choose_scale(**grown) <= choose_scale(**SCALE_CASE) * (1 + 1e-9)


def test_grid_is_no_finer_than_useful() -> None:
    for dimension in (1, 2000, 1_400_000):
        parameters = EncodingParameters.for_cohort(
            dimension=dimension,
            clip_norm=0.1,
            noise_multiplier=0.1,
            bits=32,
            cohort_max=100,
            noise_contributors=60,
            rotation_seed=(0, 0),
        )
        clipped = parameters.scale * parameters.clip_norm
        assert clipped < parameters.l2_bound < 1.0021 * clipped
        assert parameters.local_stddev * math.sqrt(60) == pytest.approx(0.1 * clipped)


def test_scale_that_cannot_be_had_is_refused() -> None:
    with pytest.raises(EncodingError, match="use more bits"):
        choose_scale(**{**SCALE_CASE, "bits": 8, "cohort_max": 10_000})
    with pytest.raises(EncodingError, match="at least one"):
        choose_scale(**{**SCALE_CASE, "cohort_max": 0})
    with pytest.raises(EncodingError, match="finite"):
        choose_scale(**{**SCALE_CASE, "local_noise": math.inf})
    with pytest.raises(EncodingError, match="carry the noise"):
        EncodingParameters.for_cohort(
            dimension=1,
            clip_norm=1.0,
            noise_multiplier=1.0,
            bits=16,
            cohort_max=1,
            noise_contributors=0,
            rotation_seed=(0, 0),
        )


@pytest.mark.tff
@pytest.mark.parametrize("size", [1 << 11, 1 << 17])
@pytest.mark.parametrize("norm", [0.7, 5.0])
def test_a_tensorflow_graph_can_mirror_every_bit(size: int, norm: float) -> None:
    """The order of operations in the module docstring, in TensorFlow, gives the same integers; here in one window."""
    tf = pytest.importorskip("tensorflow")
    hadamard = pytest.importorskip("tensorflow_federated.python.aggregators.hadamard")
    rotation = pytest.importorskip("tensorflow_federated.python.aggregators.rotation")
    # beta = 0: rounding to nearest can exceed the tighter bound.
    parameters = dataclasses.replace(PLAIN, dimension=size, beta=0.0)
    update = _update(parameters, norm)

    @tf.function
    def mirror(x: Any) -> Any:
        x *= rotation.sample_rademacher(tf.shape(x), x.dtype, tf.constant(parameters.rotation_seed, tf.int64))
        x = hadamard.fast_walsh_hadamard_transform(x[tf.newaxis])[0]
        total = tf.reduce_sum(tf.square(tf.cast(x, tf.float64)))
        length, clip = tf.cast(tf.sqrt(total), tf.float32), tf.constant(parameters.clip_norm, tf.float32)
        x = tf.cond(length > clip, lambda: x / (length / clip), lambda: x)
        return tf.cast(tf.round(x * tf.constant(parameters.scale, tf.float32)), tf.int32)

    ours = quantise(update, parameters, _stream(), rounding="nearest")
    np.testing.assert_array_equal(ours, mirror(tf.constant(update)).numpy())


@pytest.mark.tff
def test_clipping_agrees_with_tff() -> None:
    """TFF sums the squares in float32, so its norm may differ in the last bit, and a rounding here and there."""
    tf = pytest.importorskip("tensorflow")
    robust = pytest.importorskip("tensorflow_federated.python.aggregators.robust")
    parameters = dataclasses.replace(PLAIN, dimension=100_000, beta=0.0)
    update = _update(parameters, 5.0)
    rotated = tf.constant(rotate(update, parameters.rotation_seed))
    clipped, _ = robust._clip_by_global_l2_norm(rotated, tf.constant(parameters.clip_norm, tf.float32))
    theirs = np.rint(clipped.numpy() * np.float32(parameters.scale)).astype(np.int32)
    difference = quantise(update, parameters, _stream(), rounding="nearest") - theirs
    assert np.abs(difference).max() <= 1
    assert np.count_nonzero(difference) <= 20
