"""The Skellam curve and its conversion: against exact divergences, and against dp_accounting."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from dp_accounting.rdp import compute_epsilon
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from hushfold_protocol.encoding import EncodingParameters
from hushfold_protocol.errors import EncodingError
from hushfold_protocol.privacy import ORDERS, RdpCurve, calibrate, round_curve, skellam_rdp

COHORT: dict[str, Any] = {
    "dimension": 2000,
    "clip_norm": 0.1,
    "bits": 20,
    "cohort_max": 100,
    "noise_contributors": 55,
}


def _parameters(noise_multiplier: float, **changes: Any) -> EncodingParameters:
    return EncodingParameters.for_cohort(
        **{**COHORT, **changes}, noise_multiplier=noise_multiplier, rotation_seed=(0, 0)
    )


def _exact_divergence(order: int, shift: tuple[int, ...], variance: float) -> float:
    """Of Skellam noise shifted by an integer vector from the noise; independent coordinates add up."""
    k = np.arange(-3000, 3001)
    divergence = 0.0
    for step in shift:
        with np.errstate(divide="ignore"):
            shifted = np.log(special.ive(np.abs(k - step), variance))
            central = np.log(special.ive(np.abs(k), variance))
        both = np.isfinite(shifted) & np.isfinite(central)
        terms = order * shifted[both] + (1 - order) * central[both]
        divergence += float(special.logsumexp(terms)) / (order - 1)
    return divergence


@pytest.mark.parametrize("shift", [(1,), (3,), (10,), (3, -2, 1), (1,) * 20])
@pytest.mark.parametrize("variance", [1.0, 4.0, 25.0, 100.0, 1000.0])
@pytest.mark.parametrize("order", [2, 3, 8, 32, 64])
def test_bound_is_above_the_exact_divergence_and_close_where_noise_is_ample(
    order: int, variance: float, shift: tuple[int, ...]
) -> None:
    l1, l2 = sum(map(abs, shift)), math.sqrt(sum(step**2 for step in shift))
    exact, bound = _exact_divergence(order, shift, variance), skellam_rdp(order, l1, l2, variance)
    assert bound >= exact
    if variance >= 25 and order * max(map(abs, shift)) <= variance / 2:
        assert bound <= 1.1 * exact


def test_bound_tends_to_the_gaussians() -> None:
    # A fine grid: shift and noise grow together.
    assert skellam_rdp(16, 1e3 * 1e3, 1e3, 1e6) / (16 * 1e6 / (2 * 1e6)) < 1.001


def test_bound_of_corollary_by_hand() -> None:
    # alpha = 3, l2 = 2, l1 = 4, mu = 10: 0.6 + min((5 * 4 + 24) / 400, 12 / 20)
    assert skellam_rdp(3, 4, 2, 10) == pytest.approx(0.6 + 0.11)
    # mu = 0.5, where the second term of the minimum is the smaller: 12 + min(44, 12)
    assert skellam_rdp(3, 4, 2, 0.5) == pytest.approx(12 + 12)


@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan])
def test_no_noise_is_infinite(variance: float) -> None:
    assert skellam_rdp(2, 1, 1, variance) == math.inf


@pytest.mark.parametrize(("order", "l1", "l2"), [(1, 1, 1), (2.5, 1, 1), (2, -1, 1), (2, 1, math.nan)])
def test_arguments_outside_the_corollary_are_refused(order: float, l1: float, l2: float) -> None:
    with pytest.raises(ValueError):
        skellam_rdp(order, l1, l2, 1.0)  # type: ignore[arg-type]


def test_orders_are_integers_and_ascend() -> None:
    assert all(isinstance(order, int) for order in ORDERS)
    assert list(ORDERS) == sorted(set(ORDERS))
    assert ORDERS[0] == 2


CURVES = st.builds(
    lambda slope, offset: RdpCurve(tuple(slope * order + offset for order in ORDERS)),
    st.floats(0, 50),
    st.floats(0, 5),
)
DELTAS = st.floats(1e-12, 0.5)


@given(curve=CURVES, delta=DELTAS)
def test_epsilon_is_dp_accountings(curve: RdpCurve, delta: float) -> None:
    theirs, _ = compute_epsilon(ORDERS, curve.values, delta)
    assert curve.epsilon(delta) == pytest.approx(theirs, rel=1e-12, abs=1e-12)


@given(one=CURVES, other=CURVES, delta=DELTAS)
def test_composition_adds_and_never_helps(one: RdpCurve, other: RdpCurve, delta: float) -> None:
    both = one + other
    assert both == other + one
    assert both.epsilon(delta) >= max(one.epsilon(delta), other.epsilon(delta))
    assert one + RdpCurve.zero() == one
    assert (one + one).values == pytest.approx((2 * one).values)
    assert one * 3 == 3 * one
    assert one.epsilon(delta) <= one.epsilon(delta / 2)


INFINITE = RdpCurve((math.inf,) * len(ORDERS))


def test_zero_and_infinite_curves() -> None:
    assert RdpCurve.zero().epsilon(1e-9) == 0.0
    assert INFINITE.epsilon(1e-9) == math.inf
    assert (RdpCurve.zero() + INFINITE).epsilon(0.5) == math.inf
    assert RdpCurve.zero() == INFINITE * 0


@given(curve=CURVES)
def test_bytes_and_back(curve: RdpCurve) -> None:
    assert RdpCurve.from_bytes(curve.to_bytes()) == curve
    assert RdpCurve.from_bytes(INFINITE.to_bytes()) == INFINITE


def test_what_is_no_curve_is_refused() -> None:
    data = RdpCurve.zero().to_bytes()
    with pytest.raises(ValueError, match="bytes"):
        RdpCurve.from_bytes(data[:-8])
    with pytest.raises(ValueError, match="at least 0"):
        RdpCurve.from_bytes(data[:-8] + np.array([math.nan], "<f8").tobytes())
    with pytest.raises(ValueError, match="at least 0"):
        RdpCurve((-1.0,) * len(ORDERS))
    with pytest.raises(ValueError, match="one for each order"):
        RdpCurve((1.0,))
    with pytest.raises(ValueError, match="times"):
        RdpCurve.zero() * -1


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-9, math.nan])
def test_delta_out_of_range_is_refused(delta: float) -> None:
    with pytest.raises(ValueError, match="delta"):
        RdpCurve.zero().epsilon(delta)


def test_round_without_noise_has_no_guarantee() -> None:
    assert round_curve(_parameters(0.0), 55).epsilon(1e-6) == math.inf
    for nobody in (0, -3):
        assert round_curve(_parameters(1.0), nobody).epsilon(1e-6) == math.inf


def test_round_of_a_fine_grid_costs_what_a_gaussian_does() -> None:
    # z = 1: the Gaussian mechanism's curve is alpha / 2, on the same orders.
    gaussian, _ = compute_epsilon(ORDERS, [order / 2 for order in ORDERS], 1e-8)
    assert gaussian <= round_curve(_parameters(1.0), 55).epsilon(1e-8) <= 1.001 * gaussian


def test_round_charges_the_rounded_norm_not_the_clip_norm() -> None:
    # On a coarse grid rounding makes the vector longer; the curve is that of the longer one.
    coarse = EncodingParameters(2000, 1.0, 20.0, 16, 4.0, (0, 0))
    assert coarse.l2_bound > 1.4 * 20
    curve = round_curve(coarse, 50)
    expected = [skellam_rdp(order, coarse.l1_bound, coarse.l2_bound, 50 * 16.0) for order in ORDERS]
    assert curve.values == tuple(expected)
    assert curve.values[0] > 1.9 * skellam_rdp(2, 20 * math.sqrt(2048), 20, 800)


@given(contributors=st.integers(1, 1000), stddev=st.floats(0.5, 1000))
def test_more_noise_and_more_devices_cost_less(contributors: int, stddev: float) -> None:
    parameters = EncodingParameters(2000, 1.0, 100.0, 32, stddev, (0, 0))
    epsilon = round_curve(parameters, contributors).epsilon(1e-6)
    assert round_curve(parameters, contributors + 1).epsilon(1e-6) <= epsilon
    louder = dataclasses.replace(parameters, local_stddev=stddev * 1.1)
    assert round_curve(louder, contributors).epsilon(1e-6) <= epsilon


@given(
    target=st.floats(0.2, 40),
    participations=st.integers(1, 50),
    bits=st.sampled_from([16, 20, 32]),
    dimension=st.sampled_from([10, 2000, 100_000]),
)
@settings(max_examples=25, deadline=None)
def test_calibrated_noise_meets_its_target_and_little_more(
    target: float, participations: int, bits: int, dimension: int
) -> None:
    cohort = {**COHORT, "bits": bits, "dimension": dimension}
    try:
        noise = calibrate(target, 1e-6, participations, **cohort)
    except EncodingError:
        assert bits == 16, "only a small modulus can be too coarse for these targets"
        return
    spent = [
        (participations * round_curve(_parameters(factor * noise, **cohort), 55)).epsilon(1e-6)
        for factor in (1.0, 0.999)
    ]
    assert spent[0] <= target < spent[1]


def test_small_modulus_takes_more_noise_until_none_suffices() -> None:
    large = {**COHORT, "dimension": 1_400_000, "cohort_max": 500, "noise_contributors": 300}
    fine = calibrate(8.0, 1e-8, 10, **{**large, "bits": 32})
    coarse = calibrate(8.0, 1e-8, 10, **{**large, "bits": 16})
    assert 1.1 * fine < coarse
    with pytest.raises(EncodingError, match="Use more bits"):
        calibrate(0.5, 1e-8, 10, **{**large, "bits": 16})


def test_targets_that_are_none_are_refused() -> None:
    with pytest.raises(EncodingError, match="positive"):
        calibrate(0.0, 1e-6, 1, **COHORT)
    with pytest.raises(EncodingError, match="participations"):
        calibrate(1.0, 1e-6, 0, **COHORT)
