"""Skellam noise: the right distribution, to the last of many digits."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from scipy import stats

from hushfold_protocol.randomness import AesCtrStream, system_randomness
from hushfold_protocol.skellam import MAX_STDDEV, bessel_table, sample_skellam

CHUNK = 1 << 16


class Script:
    """Random bytes that were written in advance; counts what is taken."""

    def __init__(self, *pieces: bytes) -> None:
        self._bytes = b"".join(pieces)
        self.taken = 0

    def __call__(self, count: int, /) -> bytes:
        piece = self._bytes[self.taken : self.taken + count]
        assert len(piece) == count, "the sampler asked for more bytes than the test foresaw"
        self.taken += count
        return piece


def _words(*words: int) -> bytes:
    return np.array(words, "<u4").tobytes()


@pytest.mark.parametrize("variance", [1e-12, 0.01, 0.5, 9.0, 100.0, 1234.5, 40000.0])
def test_table_equals_bessel_functions(variance: float) -> None:
    exact = Fraction(variance)
    table = bessel_table(exact)
    last = len(table) // 2
    assert table == sorted(table)
    with mpmath.workprec(700):
        v = mpmath.mpf(exact.numerator) / exact.denominator

        def probability(k: int) -> mpmath.mpf:
            return mpmath.exp(-v) * mpmath.besseli(abs(k), v)

        # Differences of neighbours are the probabilities: 2^-255 is their resolution, far below 1e-30.
        for k in {-last + 1, -last // 2, -3, -1, 0, 1, 2, last // 3, last - 1} & set(range(1 - last, last)):
            upper, lower = table[k + last], table[k + last - 1]
            assert abs(mpmath.mpf(upper - lower) / 2**256 - probability(k)) < mpmath.mpf(2) ** -250, k
        # Symmetry pins the sum: P(X <= -1) + P(X = 0) / 2 = 1 / 2.
        assert abs(mpmath.mpf(table[last - 1]) / 2**256 + probability(0) / 2 - 0.5) < mpmath.mpf(2) ** -250
        # What lies beyond the table is below 2^-170.
        assert 2 * probability(last + 1) / (1 - v / (last + 1)) < mpmath.mpf(2) ** -170 or v > last


@pytest.mark.parametrize("stddev", [0.1, 0.7, 3.0, 10.0, 60.0, 3000.0])
def test_samples_fit_the_distribution(stddev: float) -> None:
    variance, count = stddev**2, 400_000
    samples = sample_skellam(count, variance, AesCtrStream(bytes(range(32))))
    assert samples.dtype == np.int32
    # Bins of about equal probability, the outer ones open.
    edges = np.unique(np.rint(stats.norm.ppf(np.linspace(0, 1, 42)[1:-1]) * stddev))
    if stddev < 1000:
        cdf = stats.skellam.cdf(edges, variance / 2, variance / 2)
    else:  # scipy's is slow and inexact here; a Gaussian with continuity correction is exact to 1e-7
        cdf = stats.norm.cdf((edges + 0.5) / stddev)
    expected = np.diff(np.concatenate([[0], cdf, [1]])) * count
    observed = np.bincount(np.searchsorted(edges, samples), minlength=edges.size + 1)
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_probabilities_of_single_values() -> None:
    count, variance = 1_000_000, 4.0
    samples = sample_skellam(count, variance, AesCtrStream(b"\x01" * 32))
    values = np.arange(-8, 9)
    pmf = stats.skellam.pmf(values, variance / 2, variance / 2)
    observed = np.array([(samples == value).sum() for value in values])
    expected = pmf * count
    rest = count - expected.sum()
    assert stats.chisquare([*observed, count - observed.sum()], [*expected, rest]).pvalue > 1e-3


def test_sum_of_shares_is_one_skellam() -> None:
    # 20 devices of variance 3.2 make one variable of variance 64, exactly: test the distribution, not two moments.
    stream, count = AesCtrStream(b"\x02" * 32), 200_000
    total = sum(sample_skellam(count, 3.2, stream) for _ in range(20))
    edges = np.arange(-20, 21)
    cdf = stats.skellam.cdf(edges, 32, 32)
    expected = np.diff(np.concatenate([[0], cdf, [1]])) * count
    observed = np.bincount(np.searchsorted(edges, total), minlength=edges.size + 1)
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_large_variance_is_split_into_equal_parts_of_the_exact_variance() -> None:
    # 4 samples of stddev 2048 each, drawn one after the other from the stream.
    variance, key = 4096.0**2, b"\x03" * 32
    stream = AesCtrStream(key)
    parts = [sample_skellam(1000, variance / 4, stream) for _ in range(4)]
    np.testing.assert_array_equal(sample_skellam(1000, variance, AesCtrStream(key)), sum(parts))


def test_one_stream_gives_one_result_and_another_another() -> None:
    one = sample_skellam(CHUNK + 77, 25.0, AesCtrStream(b"\x04" * 32))
    assert np.array_equal(one, sample_skellam(CHUNK + 77, 25.0, AesCtrStream(b"\x04" * 32)))
    assert not np.array_equal(one, sample_skellam(CHUNK + 77, 25.0, AesCtrStream(b"\x05" * 32)))
    assert not np.array_equal(one[:77], one[CHUNK:])
    assert not np.array_equal(
        sample_skellam(100, 25.0, system_randomness()), sample_skellam(100, 25.0, system_randomness())
    )


@pytest.mark.parametrize("variance", [0.3, 25.0, 90_000.0])
def test_ties_are_resolved_with_more_bits(variance: float) -> None:
    table = bessel_table(Fraction(variance))
    last = len(table) // 2
    entry = last + 1  # bounds the value 1 from above
    prefix, rest = divmod(table[entry], 1 << 224)
    below, above = (rest - 1).to_bytes(28, "big"), rest.to_bytes(28, "big")
    words = _words(prefix, prefix - 1, prefix, prefix + 1)
    script = Script(words, below, above)
    # A uniform number below the entry's bound gives its value; from the bound on, the next.
    assert sample_skellam(4, variance, script).tolist() == [1, 1, 2, 2]
    assert script.taken == 4 * 4 + 2 * 28


def test_extremes_of_the_prefix_reach_into_the_tails() -> None:
    table = bessel_table(Fraction(25))
    last = len(table) // 2
    ends = Script(_words(0, 0xFFFFFFFF), bytes(28), b"\xff" * 28)
    assert sample_skellam(2, 25.0, ends).tolist() == [-last, last]
    # Every entry decides by its own bound, also those that share a prefix far out.
    for entry in (0, 1, last // 2, 2 * last - 1):
        prefix, rest = divmod(table[entry], 1 << 224)
        assert sample_skellam(1, 25.0, Script(_words(prefix), rest.to_bytes(28, "big"))).tolist() == [entry + 1 - last]


def test_every_prefix_agrees_with_a_plain_search() -> None:
    for variance in (0.3, 25.0, 90_000.0):
        bounds = np.array([bound >> 224 for bound in bessel_table(Fraction(variance))], np.uint64)
        words = np.random.default_rng(6).integers(0, 1 << 32, 50_000, dtype=np.uint32)
        # Crowd the tails too, where one prefix in 2^16 has many entries.
        words[:5000] >>= np.uint32(20)
        words[5000:10_000] |= np.uint32(0xFFFFF000)
        words = words[~np.isin(words, bounds)]
        expected = np.searchsorted(bounds, words.astype(np.uint64), side="right") - bounds.size // 2
        np.testing.assert_array_equal(sample_skellam(words.size, variance, Script(words.tobytes())), expected)


def test_no_variance_is_no_noise_and_takes_no_bytes() -> None:
    assert sample_skellam(5, 0.0, Script()).tolist() == [0] * 5
    assert sample_skellam(0, 9.0, Script()).size == 0


@pytest.mark.parametrize("variance", [-1.0, math.nan, math.inf, 1e-13, (MAX_STDDEV + 1) ** 2])
def test_variance_out_of_range_is_refused(variance: float) -> None:
    with pytest.raises(ValueError, match="out of range"):
        sample_skellam(1, variance, system_randomness())


def test_stream_is_aes_256_in_counter_mode() -> None:
    # NIST AESAVS GFSbox has zero keys: AES-256 of the zero block under the zero key.
    assert AesCtrStream(bytes(32))(16).hex() == "dc95c078a2408989ad48a21492842087"
    stream = AesCtrStream(bytes(32))
    assert stream(5) + stream(0) + stream(27) == AesCtrStream(bytes(32))(32)
    with pytest.raises(ValueError, match="32 bytes"):
        AesCtrStream(bytes(16))
