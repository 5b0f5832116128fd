"""The sparse graph: its parameters keep what docs/neighbours.md promises, and nobody but a device chooses its holders.

At the real levels nothing would ever be seen. So the same bounds are tried on graphs and parameters at which the events
happen now and then, against an adversary that looks at every set of devices.
"""

import math
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from cohort import seeded
from hypothesis import given, settings
from hypothesis import strategies as st

from hushfold_protocol import neighbours
from hushfold_protocol.errors import Refused
from hushfold_protocol.graph import COMPLETE, Graph, graph_of
from hushfold_protocol.neighbours import (
    PROBABILITY,
    Sparse,
    least_threshold,
    log2,
    most_threshold,
    quorum,
    solve,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "neighbours.md"


# ------------------------------------------------------------------ which graph a roster has


@settings(deadline=None)
@given(st.integers(1, COMPLETE), st.integers(0, 30), st.integers(1, COMPLETE))
def test_a_small_roster_has_the_complete_graph(size, colluders, floor):
    graph = graph_of(size, colluders, floor)
    assert graph.complete
    assert graph == Graph(size, size, (size + colluders) // 2 + 1, 0)
    assert graph.choose(0, seeded(1)) == frozenset(range(size))


@settings(deadline=None, max_examples=25)
@given(st.integers(COMPLETE + 1, 1000), st.floats(0, 0.3), st.floats(0.2, 1))
def test_a_large_roster_has_fewer_neighbours_or_the_complete_graph(size, gamma, least):
    colluders, floor = math.floor(gamma * size), math.ceil(least * size)
    graph = graph_of(size, colluders, floor)
    if graph.complete:
        assert graph.threshold == quorum(size, colluders)
        assert graph.strays == 0
        return
    agreeing = max(floor, quorum(size, colluders))
    assert graph.holders < size / 2
    assert least_threshold(size, colluders, graph.holders, 41) <= graph.threshold
    assert graph.threshold <= most_threshold(size, agreeing, graph.holders, 20)
    assert floor + graph.strays <= size
    # what is left of a quorum without colluders and strays is most of it: no two sums could be opened
    assert agreeing - colluders > 2 * graph.strays


def test_stronger_demands_take_more_holders():
    usual = solve(300, 15, 240)
    assert solve(300, 15, 240, security=60).holders > usual.holders
    assert solve(300, 30, 240).holders > usual.holders
    assert solve(300, 15, 210).holders > usual.holders


def test_one_holder_less_falls_short():
    """The least that meets the bounds: with one holder less, each threshold breaks one of them."""
    size, colluders, floor = 500, 50, 400
    found = solve(size, colluders, floor)
    holders = found.holders - 1
    least, most = least_threshold(size, colluders, holders, 41), most_threshold(size, floor, holders, 20)
    session = Sparse(size, colluders, floor, holders, min(max(least, (holders + 1) // 2), most))
    assert least > most or session.strays(42) > 5 or session.separated() > PROBABILITY >> 42


TABLE_ROW = re.compile(r"^\| (\d+) \| ([\d.]+) \| (.*) \|$", re.MULTILINE)
ABSENT = (0.1, 0.2, 0.3, 0.35)


def test_the_table_in_the_documentation_is_what_the_code_does():
    rows = TABLE_ROW.findall(DOCUMENT.read_text())
    assert len(rows) >= 15
    assert {int(size) for size, _, _ in rows} >= {100, 200, 300, 500, 1000}
    for size, gamma, cells in rows:
        said = cells.split(" | ")
        for fraction, cell in zip(ABSENT, said, strict=True):
            graph = graph_of(int(size), math.floor(float(gamma) * int(size) + 1e-9), allowed_floor(int(size), fraction))
            found = f"{graph.threshold} of {graph.holders}, {graph.strays}" if not graph.complete else "complete"
            assert cell == found, (size, gamma, fraction)


def allowed_floor(size, absent):
    return math.ceil(round((1 - absent) * size, 9))


# ------------------------------------------------------------------ who chooses


def test_every_holder_is_as_likely_as_every_other():
    """5 of 12 others, 12,000 times: each is chosen 5,000 times, give or take five standard deviations."""
    graph, random = Graph(13, 5, 3), seeded(1)
    seen = Counter()
    for _ in range(12_000):
        chosen = graph.choose(4, random)
        assert len(chosen) == 5
        seen.update(chosen)
    assert set(seen) == set(range(13)) - {4}
    deviation = math.sqrt(12_000 * 5 / 12 * 7 / 12)
    assert all(abs(count - 5_000) < 5 * deviation for count in seen.values())


def test_every_pair_of_holders_is_as_likely_as_every_other():
    graph, random = Graph(6, 2, 1), seeded(2)
    seen = Counter(graph.choose(0, random) for _ in range(10_000))
    assert len(seen) == 10
    assert all(abs(count - 1_000) < 5 * math.sqrt(900) for count in seen.values())


def test_the_choice_is_fair_although_the_others_are_no_power_of_two():
    """What would favour the small numbers is drawn again."""
    draws = iter([b"\xff\xff\xff\xff", b"\xff\xff\xff\xfb", (7).to_bytes(4, "big")])
    graph = Graph(10, 1, 1)  # nine others; 9 * 477218588 = 2^32 - 4
    assert graph.choose(9, lambda count: next(draws)) == {int.from_bytes(b"\xff\xff\xff\xfb", "big") % 9}
    assert next(draws) == (7).to_bytes(4, "big")


@pytest.mark.parametrize(
    ("graph", "receivers", "said"),
    [
        (Graph(9, 4, 2), {1, 2, 3}, "shares for 3 devices, they are for 4 others"),
        (Graph(9, 4, 2), {1, 2, 3, 4, 5}, "shares for 5 devices"),
        (Graph(9, 4, 2), {0, 1, 2, 3}, "shares for 4 devices"),
        (Graph(9, 9, 5), set(range(2, 9)), "shares for 7 devices, they are for 8 others"),
        (Graph(9, 9, 5), set(range(9)), "shares for 9 devices"),
    ],
)
def test_holders_are_as_many_as_the_graph_says_and_others(graph, receivers, said):
    with pytest.raises(Refused, match=said):
        graph.require_holders(0, frozenset(receivers))


# ------------------------------------------------------------------ one device's holders


def hypergeometric(others, marked, holders, count):
    ways = math.comb(marked, count) * math.comb(others - marked, holders - count)
    return Fraction(ways, math.comb(others, holders))


@settings(deadline=None)
@given(st.integers(10, 60), st.data())
def test_thresholds_are_the_tightest_that_keep_the_bounds(size, data):
    holders = data.draw(st.integers(1, size - 1))
    marked = data.draw(st.integers(1, size - 1))
    bits = data.draw(st.integers(1, 12))
    limit = Fraction(1, 1 << bits)

    def at_least(threshold):
        return size * sum(hypergeometric(size - 1, marked, holders, x) for x in range(threshold, holders + 1))

    least = least_threshold(size, marked, holders, bits)
    assert at_least(least) <= limit
    assert least == 1 or at_least(least - 1) > limit
    most = most_threshold(size, marked + 1, holders, bits)
    assert size - at_least(most) <= limit
    assert most == holders or size - at_least(most + 1) > limit


def drawn(rng, size, holders, trials):
    """Random graphs: holders[trial, device, i]."""
    keys = rng.random((trials, size, size))
    keys[:, np.arange(size), np.arange(size)] = 2  # nobody is its own
    return np.argpartition(keys, holders, axis=2)[:, :, :holders]


@pytest.mark.parametrize(("size", "colluders", "holders"), [(60, 6, 12), (80, 16, 20), (40, 8, 10)])
def test_colluders_rarely_hold_a_threshold_of_shares(size, colluders, holders):
    """At 2^-6: seen less often than that, and as often as the union bound says, give or take a factor of two."""
    threshold = least_threshold(size, colluders, holders, 6)
    graphs = drawn(np.random.default_rng(1), size, holders, 4_000)
    held = (graphs < colluders).sum(axis=2)[:, colluders:].max(axis=1)
    bound = size * sum(float(hypergeometric(size - 1, colluders, holders, x)) for x in range(threshold, holders + 1))
    seen = (held >= threshold).mean()
    assert bound / 2 - 4 * math.sqrt(bound / 4_000) < seen < bound + 4 * math.sqrt(bound / 4_000)
    assert (held >= threshold - 1).mean() > 2**-6  # a lower threshold would not do


@pytest.mark.parametrize(("size", "present", "holders"), [(60, 48, 20), (80, 56, 30), (40, 30, 12)])
def test_enough_holders_stay_to_the_end(size, present, holders):
    threshold = most_threshold(size, present, holders, 6)
    graphs = drawn(np.random.default_rng(2), size, holders, 4_000)
    staying = (graphs < present).sum(axis=2).min(axis=1)
    others = size - 1
    bound = size * sum(float(hypergeometric(others, present - 1, holders, x)) for x in range(threshold))
    seen = (staying < threshold).mean()
    assert bound / 8 - 4 * math.sqrt(bound / 4_000) < seen < bound + 4 * math.sqrt(bound / 4_000)
    assert (staying < threshold + 1).mean() > 2**-6 / 4  # a higher threshold would not do


# ------------------------------------------------------------------ sets of devices, against every adversary

BITS = np.array([number.bit_count() for number in range(1 << 9)], np.int8)


def bit_count(sets):
    return BITS[sets & 511] + BITS[sets >> 9]


def separable(holders, session):
    """For every set P of honest devices, the largest Z that P is not bound to; 0 if P could not open its own sum.

    Honest are the devices 0, ..., m - 1. Whoever of them P has chosen, outside of P, must be absent. All other honest
    ones are in Z.
    """
    honest = session.honest
    everyone = np.arange(1 << honest, dtype=np.int64)
    colluders = (1 << session.size) - (1 << honest)
    opened, reached = np.ones(everyone.size, bool), np.zeros(everyone.size, np.int64)
    for device in range(honest):
        chosen = sum(1 << int(holder) for holder in holders[device])
        inside = (everyone >> device & 1).astype(bool)
        opened &= ~inside | (bit_count((everyone | colluders) & chosen) >= session.threshold)
        reached[inside] |= chosen
    absent = bit_count(reached & ~everyone & ~colluders)
    return np.where(opened & (absent <= session.absent), honest - bit_count(everyone) - absent, 0)


@pytest.mark.parametrize(
    "session",
    [
        Sparse(14, 1, 13, 5, 3),
        Sparse(14, 1, 12, 6, 3),
        Sparse(14, 2, 12, 6, 4),
        Sparse(14, 2, 11, 7, 4),
    ],
    ids=str,
)
def test_signers_are_rarely_separated(session):
    """An adversary that tries every set of signers succeeds less often than the bound, by a factor of ten at most."""
    assert session.few == 1
    graphs = drawn(np.random.default_rng(3), session.size, session.holders, 600)
    groups = bit_count(np.arange(1 << session.honest)) >= 2
    seen = np.mean([(separable(graph, session)[groups] > session.few).any() for graph in graphs])
    bound = session.separated() / PROBABILITY
    assert 2**-8 < bound < 2**-3  # it can be seen
    assert bound / 10 < seen < bound + 3 * math.sqrt(bound / 600)


@pytest.mark.parametrize(
    ("session", "strays"),
    [
        (Sparse(14, 1, 12, 8, 2), 1),
        (Sparse(14, 2, 13, 7, 3), 1),
        (Sparse(40, 4, 33, 20, 8), 1),
        (Sparse(40, 2, 30, 16, 6), 2),
        (Sparse(60, 3, 51, 16, 6), 2),
    ],
    ids=str,
)
def test_honest_survivors_are_rarely_left_out(session, strays):
    """The same of those who are left out, one or two of them, whoever they are."""
    trials, honest = 1_500, session.honest
    graphs = drawn(np.random.default_rng(4), session.size, session.holders, trials)
    chooses = np.zeros((trials, session.size, session.size), bool)
    np.put_along_axis(chooses, graphs, True, axis=2)
    chooses = chooses[:, :honest, :honest].astype(np.int32)
    into = chooses.sum(axis=1)  # honest devices that have chosen each one
    if strays == 1:
        seen = (into <= session.absent).any(axis=1).mean()
    else:
        both = np.einsum("tui,tuj->tij", chooses, chooses)
        either = into[:, :, None] + into[:, None, :] - both - chooses - chooses.transpose(0, 2, 1)
        either[:, np.arange(honest), np.arange(honest)] = honest
        seen = (either <= session.absent).any(axis=(1, 2)).mean()
    bound = session.left_out(strays) / PROBABILITY
    assert 2**-8 < bound < 2**-2  # it can be seen
    assert bound / 10 < seen < bound + 3 * math.sqrt(bound / trials)


# ------------------------------------------------------------------ the arithmetic


@given(st.integers(1, 1 << 3000))
def test_logarithms_are_rounded_down_to_a_unit(number):
    assert log2(number) / neighbours._UNIT == pytest.approx(math.log2(number), abs=1e-9)
    assert log2(2 * number) - log2(number) in (neighbours._UNIT - 1, neighbours._UNIT, neighbours._UNIT + 1)


@settings(deadline=None)  # the table is made once
@given(st.integers(0, 1500), st.integers(0, 1500))
def test_logarithms_of_binomial_coefficients_are_as_exact_as_their_margin(size, count):
    if count <= size:
        found = neighbours._choose(size, count) / neighbours._UNIT
        assert found == pytest.approx(math.log2(math.comb(size, count)), abs=2**-16 / 1000)
    else:
        assert neighbours._choose(size, count) == neighbours._NEVER


@given(st.floats(-100, 3))
def test_probabilities_are_rounded_up_and_one_at_most(exponent):
    found = neighbours._probability(math.floor(exponent * neighbours._UNIT))
    exact = min(2**exponent, 1) * PROBABILITY
    assert exact * (1 - 1e-9) <= found <= min(1.1 * exact, PROBABILITY) + 2
