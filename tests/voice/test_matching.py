"""The distance of two words is that of their best alignment, however it is computed."""

import gc

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from made_up_words import say

from hushfold.voice import matching
from hushfold.voice.matching import CEPSTRA, KnownDistances, Utterance, cepstra, distances, warp
from hushfold.voice.sound import SpokenSound

VALUES = st.floats(-10, 10, width=32)


def sounds(dimensions=3, longest=9):
    return st.integers(1, longest).flatmap(lambda length: arrays(np.float32, (length, dimensions), elements=VALUES))


def aligned(one, other):
    """The textbook's dynamic programme, cell by cell."""
    one, other = one.astype(float), other.astype(float)
    best = np.full((len(one) + 1, len(other) + 1), np.inf)
    best[0, 0] = 0
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            here = np.sqrt(((one[i - 1] - other[j - 1]) ** 2).sum())
            best[i, j] = min(best[i - 1, j] + here, best[i, j - 1] + here, best[i - 1, j - 1] + 2 * here)
    return best[-1, -1] / (len(one) + len(other))


def random_sounds(count, seed=0, longest=40):
    chance = np.random.default_rng(seed)
    return [
        chance.standard_normal((length, 5)).astype(np.float32) for length in chance.integers(1, longest, count).tolist()
    ]


@given(sounds(), st.lists(sounds(), max_size=5))
def test_it_is_the_textbooks(spoken, others):
    expected = [aligned(spoken, other) for other in others]
    assert warp(spoken, others) == pytest.approx(expected, abs=0.02)  # a square root of float32


def test_among_many_each_is_as_if_it_were_alone():
    """Whatever else is compared with it, and wherever it stands."""
    spoken, *others = random_sounds(100)
    together = warp(spoken, others)
    assert together.dtype == np.float32
    assert together == pytest.approx([aligned(spoken, other) for other in others], abs=1e-4)
    assert together == pytest.approx([warp(spoken, [other])[0] for other in others], abs=1e-5)
    assert warp(spoken, others[::-1])[::-1] == pytest.approx(together, abs=1e-5)
    assert warp(spoken, []).shape == (0,)


@given(sounds(), sounds())
def test_it_is_symmetric(one, other):
    assert warp(one, [other]) == pytest.approx(warp(other, [one]), abs=0.02)


@given(sounds(), st.integers(1, 4))
def test_the_same_sound_is_at_no_distance_however_slowly_it_is_said(spoken, times):
    assert warp(spoken, [np.repeat(spoken, times, axis=0)]) == pytest.approx(0, abs=0.02)


def test_cepstra_are_a_cosine_transform_with_differences_normalised_over_the_word():
    features = SpokenSound.of(say("katam")).features
    coefficients = scipy.fft.dct(features.astype(float), type=2, norm="ortho", axis=1)[:, : CEPSTRA + 1]
    slopes = 2.0 * np.gradient(coefficients, axis=0)
    both = np.concatenate((coefficients[:, 1:], slopes), axis=1)[::2]
    expected = (both - both.mean(axis=0)) / both.std(axis=0)
    assert cepstra(features) == pytest.approx(expected, abs=1e-3)


@settings(max_examples=25)
@given(arrays(np.float32, 40, elements=VALUES))
def test_neither_level_nor_microphone_counts(response):
    """A microphone weighs every band in a way of its own: added to the logarithm, the same in each frame."""
    features = SpokenSound.of(say("katam")).features
    assert cepstra(features + response) == pytest.approx(cepstra(features), abs=2e-3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_shortest_words_have_cepstra(count):
    assert np.isfinite(cepstra(SpokenSound.of(say("katam")).features[:count])).all()


def utterances(count, seed=0):
    return [Utterance(cepstra=sound, frames=sound[:, :3]) for sound in random_sounds(count, seed)]


def test_both_views_count():
    one, other, third = utterances(3)
    far = distances(one, [other, third])
    mixed = distances(one, [Utterance(other.cepstra, third.frames)])[0]
    assert not np.isclose(mixed, far).any()
    assert distances(one, [one]) == pytest.approx(0, abs=1e-3)


def test_a_distance_is_computed_once(monkeypatch):
    asked = []

    def counted(spoken, others):
        asked.extend(others)
        return distances(spoken, others)

    monkeypatch.setattr(matching, "distances", counted)
    known, (one, *others) = KnownDistances(), utterances(6)
    expected = distances(one, others)
    assert known(one, others[:3]) == pytest.approx(expected[:3])
    assert len(asked) == 3
    assert known(one, others[::-1]) == pytest.approx(expected[::-1])
    assert len(asked) == 5
    assert known(others[2], [one]) == pytest.approx(expected[2])  # it is symmetric
    assert len(asked) == 5
    assert known(one, []).shape == (0,)


def test_what_is_not_in_use_any_more_is_forgotten():
    known, (one, other) = KnownDistances(), utterances(2)
    known(one, [other])
    del other
    gc.collect()
    assert [len(row) for row in known._from.values()] == [0]
