"""Figures of base words, personal words and digits, on tones whose answers are known."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tone_words import OTHERS, ToneCommands, ToneWords, clip

from hushfold_evaluation.statistics import resamples
from hushfold_evaluation.voice import base, digits, personal
from hushfold_evaluation.voice.clips import COMMANDS
from hushfold_evaluation.voice.figures import Rate, Share, overall, ratio, threshold_at, worst
from hushfold_evaluation.voice.recognisers import Guess

OFF = 1.035  # between two words: none of them


def test_a_share_is_of_all_clips_together():
    shares = [Share(1, 1), Share(10, 40), Share(40, 40)]
    figure = overall(shares, resamples(3, seed=0))
    assert figure.value == pytest.approx(100 * 51 / 81)
    assert figure.low < figure.value < figure.high
    assert worst(shares) == 25
    assert worst(shares, least=41) != worst(shares, least=41)  # nobody has as many: NaN


def test_a_ratio_is_paired():
    before, after = [Share(8, 20), Share(2, 20)], [Share(4, 20), Share(1, 20)]
    figure = ratio(after, before, resamples(2, seed=0))
    assert (figure.value, figure.low, figure.high) == pytest.approx((0.5, 0.5, 0.5))
    assert math.isnan(ratio(after, [Share(0, 20)] * 2, resamples(2, seed=0)).value)


@pytest.mark.parametrize(("count", "upper"), [(0, 2.996), (1, 4.744), (2, 6.296), (10, 16.962)])
def test_the_bound_of_rare_alarms_is_that_of_the_tables(count, upper):
    """One-sided 95 % Poisson limits, as in Garwood's table."""
    assert Rate(count, 1.0).upper == pytest.approx(upper, abs=1e-3)
    assert Rate(count, 4.0).upper == pytest.approx(upper / 4, abs=1e-3)
    assert Rate(count, 4.0).per_hour == count / 4


def test_no_hours_tell_nothing():
    assert math.isnan(Rate(0, 0.0).upper)
    assert math.isnan(Rate(0, 0.0).per_hour)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=300), st.floats(0, 1))
def test_the_threshold_for_a_share_is_the_largest_that_keeps_to_it(distances, share):
    values = np.array(distances)
    limit = threshold_at(share, values)
    assert (values <= limit).mean() <= share + 1e-9
    if limit < math.inf:
        assert (values <= np.nextafter(limit, math.inf)).mean() > share


def test_without_foreign_clips_everything_is_accepted():
    assert threshold_at(0.01, np.zeros(0)) == math.inf


def test_base_words_are_counted_by_word_and_speaker():
    clips = [clip(word, "anna") for word in COMMANDS]
    clips += [clip("left", "ben", detune=OFF)] * 5 + [clip("left", "ben", detune=1.08)] * 5
    foreign = [clip(word, "cleo") for word in OTHERS] + [clip("open", "cleo", detune=1.08 ** -(12 - 3))] * 2
    found = base.measure(ToneCommands(), clips, foreign, seed=0)
    assert found.confusions.sum() == 22
    assert np.array_equal(found.confusions[np.arange(12), np.arange(12)], np.ones(12))
    left, up = COMMANDS.index("left"), COMMANDS.index("up")
    assert found.confusions[left, -1] == 5
    assert found.confusions[left, up] == 5
    assert found.closest.value == pytest.approx(100 * 17 / 22)
    assert found.accuracy.value == pytest.approx(100 * 12 / 22)
    assert found.missed == pytest.approx(100 * 5 / 22)
    assert found.worst == 0
    assert found.foreign.value == pytest.approx(25)
    assert found.foreign_clips == 8
    assert found.by_speaker["ben"] == Share(0, 10)


def test_words_are_heard_without_their_rooms_too():
    """In the room, a recogniser that listens to what is around a word takes each for a command."""

    class Room(ToneCommands):
        def guess(self, recording):
            guess = super().guess(recording)
            return guess._replace(accepted=bool(np.abs(recording.pcm[:100]).max()))

    room = 0.001 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    in_room = [replace(each, pcm=np.concatenate((room[:4_000], each.pcm, room[:4_000]))) for each in (clip("up"),)]
    found = base.measure(Room(), in_room, [replace(in_room[0], word="open")], seed=0)
    assert (found.accuracy.value, found.foreign.value) == (100, 100)
    assert (found.alone.closest.value, found.alone.accuracy.value, found.alone.foreign.value) == (100, 0, 0)


def test_the_strict_threshold_of_base_words_is_that_of_one_foreign_clip_in_a_hundred():
    """Of 200 foreign clips two may pass, which are 0.2 and 0.4 % off a word: then 0.5 % is still too far."""
    off = [1.002, 1.004, *[1.006] * 198]
    foreign = [clip("left", "cleo", seconds=1, detune=detune) for detune in off]
    clips = [clip("up", seconds=1, detune=detune) for detune in (1.0, 1.003, 1.008, 1.02)]
    found = base.measure(ToneCommands(), clips, foreign, seed=0)
    assert found.closest.value == 100
    assert found.accuracy.value == 75
    assert found.at_one_percent.value == 50


def test_without_distances_there_is_no_strict_threshold():
    class Certain(ToneCommands):
        def guess(self, recording):
            return super().guess(recording)._replace(distance=math.nan)

    found = base.measure(Certain(), [clip("up")], [clip("open")], seed=0)
    assert found.accuracy.value == 100
    assert math.isnan(found.at_one_percent.value)


def test_a_sample_is_drawn_once_and_stays_in_order():
    numbers = list(range(50))
    assert base.sample(numbers, 50, seed=1) == numbers
    drawn = base.sample(numbers, 20, seed=1)
    assert len(set(drawn)) == 20
    assert drawn == sorted(drawn) == base.sample(numbers, 20, seed=1)
    assert drawn != base.sample(numbers, 20, seed=2)


def takes(speaker, words=OTHERS, detuned=()):
    """Eight takes of each word; `detuned` are indices of takes that sound like no word."""
    return {word: [clip(word, speaker, detune=OFF if at in detuned else 1.0) for at in range(8)] for word in words}


def test_words_are_taught_by_the_first_takes_and_tested_on_the_last():
    """Takes that are neither taught nor tested may be anything."""
    trial = personal.measure(ToneWords(), "anna", takes("anna", detuned=(3, 4)), [], [], takes=3)
    assert len(trial.own) == 3 * len(OTHERS)
    assert all(hit and guess.accepted for hit, guess in trial.own)
    spoilt = personal.measure(ToneWords(), "anna", takes("anna", detuned=(6,)), [], [], takes=3)
    assert sum(hit and guess.accepted for hit, guess in spoilt.own) == 2 * len(OTHERS)


def test_a_word_that_is_not_taught_is_tried_against_the_others():
    trial = personal.measure(ToneWords(), "anna", takes("anna"), [], [], takes=1)
    assert len(trial.untaught) == 3 * len(OTHERS)
    assert not any(guess.accepted for guess in trial.untaught)
    neighbours = {guess.word for guess in trial.untaught[:3]}
    assert neighbours == {OTHERS[1]}


def test_foreign_clips_and_other_speakers_are_tried_too():
    trial = personal.measure(ToneWords(), "anna", takes("anna"), [clip("left")], [clip("open", "ben")], takes=1)
    assert [guess.accepted for guess in trial.foreign] == [False]
    assert [guess.accepted for guess in trial.others] == [True]


def trial(speaker, own, foreign):
    """Own clips as (right, distance); accepted are distances up to 0.5."""
    guesses = tuple(Guess("open", distance, distance <= 0.5) for distance in foreign)
    return personal.PersonalTrial(
        speaker,
        3,
        tuple((hit, Guess("open", distance, distance <= 0.5)) for hit, distance in own),
        guesses,
        guesses[:2],
        guesses[2:],
        refused=1,
    )


def test_one_threshold_is_for_all_speakers():
    """Of 200 foreign distances 2 may pass: those of the first speaker, 0.2 and 0.3."""
    anna = trial("anna", [(True, 0.25), (True, 0.45), (False, 0.1), (True, 0.9)], [0.2, 0.3, *[0.6] * 98])
    ben = trial("ben", [(True, 0.1)] * 4, [0.4, *[0.7] * 99])
    found = personal.figures([anna, ben], seed=0)
    assert 0.3 <= found.threshold < 0.4
    assert found.closest.value == pytest.approx(100 * 7 / 8)
    assert found.accuracy.value == pytest.approx(100 * 6 / 8)
    assert found.worst == 50
    assert found.at_one_percent.value == pytest.approx(100 * 5 / 8)
    assert found.worst_at_one_percent == 25
    assert found.foreign.value == pytest.approx(100 * 3 / 200)
    assert found.others.value == pytest.approx(100 * 3 / 4)
    assert found.others_at_one_percent.value == pytest.approx(100 * 2 / 4)
    assert found.untaught.value == 0
    assert found.refused == 2
    assert found.by_speaker == {"anna": 50, "ben": 100}
    assert (found.speakers, found.clips) == (2, 8)


class ToneCorrected(ToneCommands):
    """Learns how its speaker says a word: exactly so."""

    def __init__(self):
        self.given = []

    def recognise(self, recording):
        for known, word in self.given:
            if np.array_equal(known.pcm, recording.pcm):
                return word
        return super().recognise(recording)

    def correct(self, recording, word):
        self.given.append((recording, word))


def test_digits_before_and_after_the_own_takes_of_them():
    said = {
        word: [clip(word, detune=OFF)] * 5 + [clip(word)] * 3 + [clip(word, detune=OFF)] * 2 for word in ("zero", "one")
    }
    said["two"] = [clip("two")] * 10
    corrected = ToneCorrected()
    trials = digits.measure(corrected, "anna", said)
    assert [each.takes for each in trials] == [0, 1, 3, 5]
    assert [each.errors for each in trials] == [Share(4, 10), Share(0, 10), Share(0, 10), Share(0, 10)]
    assert all(each.others == Share(0, 5) for each in trials)
    assert len(corrected.given) == 10
    assert {word for _, word in corrected.given} == {"zero", "one"}
    found = {each.takes: each for each in digits.figures([*trials, *trials], seed=0)}
    assert found[0].error.value == pytest.approx(40)
    assert math.isnan(found[0].ratio.value)
    assert found[3].error.value == 0
    assert found[3].ratio.value == 0
    assert found[3].clips == 20
