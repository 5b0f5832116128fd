"""The level meter: up at once, down slowly, the same for blocks of any size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_speech import noise, silence, voice

from hushfold.voice.level import FLOOR, LevelMeter


def sine(seconds, peak):
    return (peak * np.sin(2 * np.pi * 500 * np.arange(round(seconds * 16_000)) / 16_000)).astype(np.float32)


def test_it_begins_at_the_bottom_and_stays_there_in_silence():
    meter = LevelMeter()
    assert (meter.value, meter.dbfs, meter.clipping) == (0, FLOOR, False)
    assert meter.feed(silence(1)) == 0
    assert meter.feed(silence(0)) == 0


@pytest.mark.parametrize(("peak", "dbfs"), [(1, -3.01), (0.1, -23.01), (0.01, -43.01)])
def test_it_is_the_rms_relative_to_full_scale(peak, dbfs):
    meter = LevelMeter()
    meter.feed(sine(0.5, peak))
    assert meter.dbfs == pytest.approx(dbfs, abs=0.1)
    assert meter.value == pytest.approx(1 + dbfs / 60, abs=0.01)


def test_it_rises_within_a_twentieth_of_a_second_and_falls_within_seconds():
    meter = LevelMeter()
    meter.feed(sine(0.05, 0.5))
    assert meter.dbfs > -12
    meter.feed(silence(0.25))
    assert -25 < meter.dbfs < -15
    meter.feed(silence(1.5))
    assert meter.value == 0


@given(st.lists(st.integers(0, 100), max_size=10))
def test_blocks_of_any_number_of_frames_give_the_same(cuts):
    sound = np.concatenate([noise(0.3, -50), voice(0.4), noise(0.3, -50)])
    whole, pieces = LevelMeter(), LevelMeter()
    whole.feed(sound)
    for block in np.split(sound, [160 * cut for cut in sorted(cuts)]):
        pieces.feed(block)
    assert pieces.value == whole.value


def test_the_value_never_leaves_its_range():
    meter = LevelMeter()
    for dbfs in (-100, 0, -30, 10):
        assert 0 <= meter.feed(noise(0.2, dbfs)) <= 1


def test_clipping_shows_for_a_second():
    meter = LevelMeter()
    meter.feed(np.clip(sine(0.1, 1.5), -1, 1))
    assert meter.clipping
    meter.feed(silence(0.9))
    assert meter.clipping
    meter.feed(silence(0.2))
    assert not meter.clipping


def test_loud_is_not_clipped():
    meter = LevelMeter()
    meter.feed(sine(0.5, 0.95))
    single = silence(0.1)
    single[80] = 1
    meter.feed(single)
    assert not meter.clipping


def test_it_can_begin_anew():
    meter = LevelMeter()
    meter.feed(np.clip(sine(0.1, 1.5), -1, 1))
    meter.reset()
    assert (meter.value, meter.clipping) == (0, False)
