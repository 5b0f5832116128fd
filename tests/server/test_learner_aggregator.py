"""The TFF aggregator against the encoding that devices use, `hushfold_protocol.encoding` in numpy."""

from __future__ import annotations

import dataclasses
import time
from functools import cache

import numpy as np
import pytest

pytest.importorskip("tensorflow_federated", reason="TensorFlow Federated is not installed")

import tensorflow as tf
import tensorflow_federated as tff

from hushfold_protocol.encoding import EncodingParameters, decode_sum, encode, quantise
from hushfold_protocol.plan import MAX_COHORT
from hushfold_protocol.rotation import rotate, unrotate
from hushfold_server.learning.aggregator import COUNT_MODULUS, Rounding, build_aggregator
from hushfold_server.learning.in_process import InProcess, Tree
from hushfold_server.learning.rotation import RotationFactory

pytestmark = [pytest.mark.tff, pytest.mark.slow]

SEED = (1_700_000_000_000_000, 3)  # as TFF draws them: microseconds and a counter


def compiled(process: tff.templates.AggregationProcess) -> tuple[Tree, InProcess, InProcess, InProcess]:
    """The first state, and what the server prepares, a client does, and the server makes of the sums."""

    @tff.federated_computation(*process.next.type_signature.parameter)
    def step(state: object, value: object) -> object:
        output = process.next(state, value)
        return output.state, output.result

    form = tff.backends.mapreduce.get_map_reduce_form_for_computation(step)
    initialize = tff.backends.mapreduce.get_state_initialization_computation(process.initialize)
    return InProcess(initialize)({}), InProcess(form.prepare), InProcess(form.work), InProcess(form.update)


class Aggregation:
    """The aggregator alone, compiled, with its clients in this process."""

    def __init__(self, parameters: EncodingParameters, rounding: Rounding) -> None:
        self.parameters = dataclasses.replace(parameters, rotation_seed=SEED)
        update_type = tff.TensorType(np.float32, [parameters.dimension])
        process = build_aggregator(parameters, rounding=rounding).create(update_type)
        state, self._prepare, self._work, self._update = compiled(process)
        (seed,) = (path for path, value in state.items() if value.shape == (2,))
        self.state = {**state, seed: np.array(SEED, np.int64)}

    def encode(self, update: np.ndarray) -> np.ndarray:
        """What one client sends, int64[d]."""
        sent = self._work({"0": update, **{f"1/{path}": value for path, value in self._prepare(self.state).items()}})
        vector, one = sent.values()
        assert one == 1
        assert 0 <= vector.min() <= vector.max() < self.parameters.modulus
        return vector

    def mean(self, total: np.ndarray, count: int) -> np.ndarray:
        """What the server makes of a sum, float32[d]."""
        arguments = {f"0/{path}": value for path, value in self.state.items()}
        vector_slot, count_slot = (path for path in self._update.parameter if path.startswith("1/"))
        arguments |= {vector_slot: total % self.parameters.modulus, count_slot: np.array(count, np.int32)}
        return self._update(arguments)["1"]

    def steps(self, encoded: np.ndarray) -> np.ndarray:
        """Encoded integers centred around 0, int64[d]."""
        half = self.parameters.modulus // 2
        return (encoded + half) % self.parameters.modulus - half


@cache
def aggregation(
    dimension: int,
    rounding: Rounding,
    *,
    bits: int = 24,
    scale: float = 30_011.0,
    stddev: float = 0.0,
    beta: float = 0.0,
) -> Aggregation:
    parameters = EncodingParameters(
        dimension=dimension,
        clip_norm=0.5,
        scale=scale,
        bits=bits,
        local_stddev=stddev,
        rotation_seed=(0, 0),
        beta=beta,
    )
    return Aggregation(parameters, rounding)


def some_update(dimension: int, norm: float, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)
    x[: dimension // 50] *= 20  # a few coordinates carry most of it, as in a bias or an embedding row
    return x * np.float32(norm / np.linalg.norm(x))


def no_randomness(count: int) -> bytes:
    raise AssertionError("rounding to nearest draws nothing")


NORMS = (0.2, 0.499, 3.0)  # well within the clip norm, just within, clipped


@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("norm", NORMS)
def test_both_encode_to_the_same_integers(norm: float, bits: int) -> None:
    # The windows have 2^12 values, whose root is a power of two: every operation has one correct rounding.
    ours = aggregation(5_000, "nearest", bits=bits)
    update = some_update(5_000, norm)
    expected = quantise(update, ours.parameters, no_randomness, rounding="nearest")
    np.testing.assert_array_equal(ours.steps(ours.encode(update)), expected)
    assert (expected < 0).any()


@pytest.mark.parametrize("dimension", [3_000, 150_000])
@pytest.mark.parametrize("norm", NORMS)
def test_both_encode_alike_where_the_window_has_no_exact_root(norm: float, dimension: int) -> None:
    # TensorFlow makes the division by sqrt(2^11) or sqrt(2^17) a multiplication, an ulp off in some coordinates: a
    # coordinate within an ulp of one half may round the other way.
    ours = aggregation(dimension, "nearest")
    update = some_update(dimension, norm)
    expected = quantise(update, ours.parameters, no_randomness, rounding="nearest")
    difference = ours.steps(ours.encode(update)) - expected
    assert np.abs(difference).max() <= 1
    assert np.count_nonzero(difference) <= (0 if dimension == 3_000 else 4)


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_both_decode_a_sum_to_the_same_values(bits: int) -> None:
    ours = aggregation(5_000, "nearest", bits=bits)
    total = np.random.default_rng(1).integers(0, 1 << bits, 5_000)
    expected = decode_sum(total.astype(np.uint32), ours.parameters) / np.float32(7)
    np.testing.assert_array_equal(ours.mean(total, 7), expected)


def test_the_edges_of_the_modulus_decode_to_the_greatest_values() -> None:
    ours = aggregation(5_000, "nearest", bits=32)
    total = np.zeros(5_000, np.int64)
    total[:4] = 0, (1 << 31) - 1, 1 << 31, (1 << 32) - 1
    steps = np.zeros(5_000)
    steps[:4] = 0, (1 << 31) - 1, -(1 << 31), -1
    rotated = steps.astype(np.float32) / np.float32(ours.parameters.scale)
    np.testing.assert_array_equal(ours.mean(total, 1), unrotate(rotated, SEED))


def test_devices_and_simulated_clients_add_up_to_the_same_mean() -> None:
    """Stochastic rounding and noise: both kinds of sum are unbiased, with the variance that the parameters name."""
    stddev, scale, clients = 3.0, 40.0, 40
    ours = aggregation(2_000, "stochastic", bits=20, scale=scale, stddev=stddev)
    updates = [some_update(2_000, 0.3 + 0.02 * client, seed=client) for client in range(clients)]
    clipped = [update * min(1.0, 0.5 / np.linalg.norm(update)) for update in updates]
    truth = np.mean(clipped, axis=0)
    simulated = ours.mean(np.sum([ours.encode(update) for update in updates], axis=0), clients)
    devices = [
        encode(update, ours.parameters, np.random.default_rng(100 + client).bytes)
        for client, update in enumerate(updates)
    ]
    total = (np.sum(devices, axis=0, dtype=np.uint64) % ours.parameters.modulus).astype(np.uint32)
    real = decode_sum(total, ours.parameters) / np.float32(clients)
    # Skellam noise and a rounding error of variance up to 1/4, at most 1/6 on average over even fractions.
    low, high = stddev / scale / clients**0.5, np.hypot(stddev, 0.5) / scale / clients**0.5
    for decoded in (simulated, real):
        error = decoded - truth
        assert abs(error.mean()) < 5 * high / 2_000**0.5
        assert low * 0.93 < error.std() < high * 1.07  # the standard error of the estimate is 1.6 %
        assert abs(np.dot(error, truth) / np.linalg.norm(truth)) < 5 * high


def test_the_noise_of_a_simulated_client_is_skellam() -> None:
    stddev = 1.5
    ours = aggregation(2_000, "stochastic", stddev=stddev)
    noise = np.concatenate([ours.steps(ours.encode(np.zeros(2_000, np.float32))) for _ in range(40)])
    assert abs(noise.mean()) < 5 * stddev / noise.size**0.5
    # Cumulants of Skellam(v): mean 0, variance v, fourth v; an even function.
    variance = noise.var()
    assert variance == pytest.approx(stddev**2, rel=0.03)
    assert np.mean(noise**4.0) - 3 * variance**2 == pytest.approx(stddev**2, rel=0.5)


def test_clients_do_not_repeat_each_others_noise() -> None:
    ours = aggregation(2_000, "stochastic", stddev=1.5)
    first, second = (ours.steps(ours.encode(np.zeros(2_000, np.float32))) for _ in range(2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.15


@pytest.mark.parametrize("scale", [40.0, 30_011.0])
def test_no_rounding_is_longer_than_the_bound(scale: float) -> None:
    ours = aggregation(2_000, "stochastic", scale=scale, beta=float(np.exp(-0.5)))
    bound = ours.parameters.l2_bound**2
    for seed in range(25):
        update = some_update(2_000, 2.0, seed)
        device = quantise(update, ours.parameters, np.random.default_rng(seed).bytes).astype(np.int64)
        client = ours.steps(ours.encode(update))
        for steps in (device, client):
            assert 0 < np.dot(steps, steps) <= bound


def test_a_rounding_that_must_be_too_long_stops_the_simulation() -> None:
    ours = aggregation(2_048, "nearest", scale=47.0, beta=float(np.exp(-0.5)))
    # Every rotated coordinate is 0.51 steps: to nearest all become 1, and 2048 ones are too long for this clip norm.
    update = unrotate(np.full(2_048, 0.51 / 47.0, np.float32), SEED)
    with pytest.raises(tf.errors.InvalidArgumentError, match="longer than the norm bound"):
        ours.encode(update)


def test_updates_in_several_tensors_are_concatenated_in_order() -> None:
    parameters = aggregation(5_000, "nearest").parameters
    structure = tff.to_type((tff.TensorType(np.float32, [50, 92]), tff.TensorType(np.float32, [400])))
    process = build_aggregator(parameters, rounding="nearest").create(structure)
    result = process.next.type_signature.result.result.member
    assert result == structure


def test_an_update_of_another_size_is_refused() -> None:
    parameters = aggregation(5_000, "nearest").parameters
    with pytest.raises(ValueError, match="updates of 5000 values"):
        build_aggregator(parameters).create(tff.TensorType(np.float32, [4_000]))


class Rotation:
    """A rotation around a sum in the clear, compiled, with one client in this process."""

    def __init__(self, factory: type[tff.aggregators.UnweightedAggregationFactory], dimension: int) -> None:
        process = factory(tff.aggregators.SumFactory()).create(tff.TensorType(np.float32, [dimension]))
        state, self._prepare, self._work, self._update = compiled(process)
        ((self._path, self.first_seed),) = state.items()
        self._state = {self._path: np.array(SEED, np.int64)}

    def client(self, update: np.ndarray) -> np.ndarray:
        broadcast = {f"1/{path}": value for path, value in self._prepare(self._state).items()}
        (rotated,) = self._work({"0": update, **broadcast}).values()
        return rotated

    def server(self, rotated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The vector, turned back, and the next round's seed."""
        (slot,) = (path for path in self._update.parameter if path.startswith("1"))
        seed, vector = self._update({f"0/{self._path}": self._state[self._path], slot: rotated}).values()
        return vector, seed


@pytest.mark.parametrize("dimension", [4_096, 8_192])
def test_one_window_is_the_rotation_of_tensorflow_federated_itself(dimension: int) -> None:
    """Its own factory and ours, on a client and back on the server. For other lengths it pads, and has no like."""
    theirs, ours = Rotation(tff.aggregators.HadamardTransformFactory, dimension), Rotation(RotationFactory, dimension)
    update = some_update(dimension, 3.0)
    rotated = ours.client(update)
    np.testing.assert_array_equal(rotated, theirs.client(update))
    for one, other in zip(ours.server(rotated), theirs.server(rotated), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dimension", [5, 5_000, 16_384])
def test_clients_rotate_as_devices_do(dimension: int) -> None:
    rotation, update = Rotation(RotationFactory, dimension), some_update(dimension, 3.0)
    rotated = rotation.client(update)
    np.testing.assert_array_equal(rotated, rotate(update, SEED))
    np.testing.assert_array_equal(rotation.server(rotated)[0], unrotate(rotated, SEED))


def test_every_round_is_rotated_in_another_way() -> None:
    rotation = Rotation(RotationFactory, 5)
    assert abs(rotation.first_seed[0] / 1e6 - time.time()) < 3600
    assert rotation.first_seed[1] == 0
    assert rotation.server(np.zeros(5, np.float32))[1].tolist() == [SEED[0], SEED[1] + 1]


def test_a_count_holds_the_largest_cohort() -> None:
    assert COUNT_MODULUS > MAX_COHORT
