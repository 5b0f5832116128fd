"""A sum is not learned from if it is longer than honest devices can make it, whoever of them drops out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushfold_protocol.encoding import EncodingParameters, encode
from hushfold_protocol.randomness import AesCtrStream
from hushfold_protocol.skellam import bessel_table, sample_skellam
from hushfold_server import sum_bound
from hushfold_server.sum_bound import FALSE_ALARM, ImplausibleSum, longest_sum, require_plausible


def parameters(dimension=500, devices=20, noise=1.0, bits=20, clip=0.3):
    return EncodingParameters.for_cohort(
        dimension=dimension,
        clip_norm=clip,
        noise_multiplier=noise,
        bits=bits,
        cohort_max=devices,
        noise_contributors=max(1, devices // 2),
        rotation_seed=(5, 6),
    )


def modular(vectors, encoding):
    return (np.sum(vectors, axis=0, dtype=np.uint64) % encoding.modulus).astype(np.uint32)


def honest(encoding, devices, seed=0):
    """The worst case: every device sends the same update, much longer than the clip norm."""
    update = np.random.default_rng(seed).standard_normal(encoding.dimension).astype(np.float32)
    return [encode(update, encoding, AesCtrStream(bytes([seed, n]) * 16)) for n in range(devices)]


CASES = [(500, 20, 1.0, 16), (500, 20, 0.0, 20), (3, 5, 0.5, 32), (20_000, 8, 4.0, 20), (64, 20, 10.0, 24)]


@pytest.mark.parametrize(("dimension", "devices", "noise", "bits"), CASES)
def test_a_sum_of_honest_devices_passes(dimension, devices, noise, bits):
    encoding = parameters(dimension, devices, noise, bits)
    for seed in range(5):
        require_plausible(modular(honest(encoding, devices, seed), encoding), encoding, devices)


@pytest.mark.parametrize(("dimension", "devices", "noise", "bits"), CASES)
def test_one_device_that_sends_any_numbers_is_noticed(dimension, devices, noise, bits):
    encoding = parameters(dimension, devices, noise, bits)
    anything = np.random.default_rng(1).integers(0, encoding.modulus, encoding.dimension, np.uint64).astype(np.uint32)
    largest = np.full(encoding.dimension, encoding.modulus // 2, np.uint32)
    for sent in (anything, largest) if dimension > 3 else (largest,):
        total = modular([*honest(encoding, devices - 1), sent], encoding)
        with pytest.raises(ImplausibleSum, match=f"the sum of {devices} devices is .* honest ones make it"):
            require_plausible(total, encoding, devices)


def test_one_device_that_sends_a_scaled_update_is_noticed_above_the_room_of_all():
    """What is left to it is what all of them could add together, and that it can do: nobody sees its vector."""
    devices, encoding = 20, parameters()
    others = honest(encoding, devices - 1)
    direction = np.random.default_rng(2).choice([-1.0, 1.0], encoding.dimension) / math.sqrt(encoding.dimension)

    def with_one(times):
        sent = np.rint(direction * times * devices * encoding.l2_bound).astype(np.int64) % encoding.modulus
        return modular([*others, sent], encoding)

    room = math.sqrt(longest_sum(encoding, devices) ** 2 - encoding.dimension * devices * encoding.local_stddev**2)
    assert 1 < room / (devices * encoding.l2_bound) < 4
    require_plausible(with_one(1.0), encoding, devices)
    with pytest.raises(ImplausibleSum):
        require_plausible(with_one(4.0), encoding, devices)


@pytest.mark.parametrize(
    ("dimension", "noise", "passes", "noise_length"),
    [(600, 1.0, 1.2, 0.3), (16_384, 1.0, 1.2, 1.5), (1_400_000, 1.0, 1.8, 14), (1_400_000, 10.0, 15, 136)],
)
def test_the_figures_of_the_documentation(dimension, noise, passes, noise_length):
    """Of docs/threats.md, to two digits."""
    encoding = EncodingParameters.for_cohort(
        dimension=dimension,
        clip_norm=0.3,
        noise_multiplier=noise,
        bits=20,
        cohort_max=100,
        noise_contributors=75,
        rotation_seed=(0, 0),
    )
    room, squared_noise = 100 * encoding.l2_bound, encoding.dimension * 100 * encoding.local_stddev**2
    longest = math.sqrt(longest_sum(encoding, 100) ** 2 - squared_noise)
    assert longest / room == pytest.approx(passes, rel=0.05)
    assert math.sqrt(squared_noise) / room == pytest.approx(noise_length, rel=0.1)


@given(st.lists(st.integers(-(2**23), 2**23), min_size=1, max_size=20), st.integers(8, 32))
def test_the_modulus_makes_no_sum_longer(values, bits):
    total = (np.array(values, np.int64) % (1 << bits)).astype(np.uint32)
    assert sum_bound._length(total, bits) <= math.sqrt(sum(value**2 for value in values)) * (1 + 1e-12)


@pytest.mark.parametrize("stddev", [0.3, 1.0, 20.0, 300.0])
def test_the_false_alarms_of_one_coordinate_are_as_rare_as_promised(stddev):
    """Against the exact distribution: one device, one coordinate, an update at the bound."""
    encoding = EncodingParameters(1, 1.0, 50.0, 20, stddev, (0, 0), 0.0)
    bound, update = longest_sum(encoding, 1), math.floor(encoding.l2_bound)
    table = bessel_table(encoding.local_stddev**2)  # P(X <= k) for k = -T..T-1, times 2^256
    last = len(table) // 2
    beyond = math.floor(bound) - update
    assert (1 << 256) - table[min(beyond + last, len(table) - 1)] <= 2 * FALSE_ALARM * (1 << 256)


@pytest.mark.parametrize(("dimension", "variance"), [(16, 0.5), (256, 50.0), (4096, 3.0)])
def test_false_alarms_are_no_more_than_asked_for(monkeypatch, dimension, variance):
    """At a rate that can be counted, and where it is tightest: nothing but noise."""
    monkeypatch.setattr(sum_bound, "FALSE_ALARM", 0.1)
    encoding = EncodingParameters(dimension, 1e-6, 1.0, 32, math.sqrt(variance), (0, 0), 0.0)
    bound = longest_sum(encoding, 1)
    lengths = [
        np.linalg.norm(sample_skellam(dimension, variance, AesCtrStream(bytes([n, 7]) * 16)).astype(float))
        for n in range(200)
    ]
    assert np.mean([length > bound for length in lengths]) <= 0.1
    assert bound < 3 * np.mean(lengths) + encoding.l2_bound  # and it is no bound for show
