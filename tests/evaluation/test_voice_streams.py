"""Streams that are composed, what is told in them, and what that is worth."""

from itertools import islice, pairwise

import numpy as np
import pytest
from tone_words import OTHERS, ToneListening, clip, frequency, pitch

from hushfold_evaluation.voice import alarms, composing, streaming
from hushfold_evaluation.voice.clips import COMMANDS, RATE
from hushfold_evaluation.voice.composing import Placed
from hushfold_evaluation.voice.figures import Share
from hushfold_evaluation.voice.recognisers import Told

COMMAND_CLIPS = [clip(word) for word in COMMANDS]
OTHER_CLIPS = [clip(word) for word in OTHERS]
NOISES = [0.1 * np.random.default_rng(seed).standard_normal(5 * RATE).astype(np.float32) for seed in range(2)]


def joined(pieces):
    pieces = list(pieces)
    return np.concatenate([piece.pcm for piece in pieces]), [word for piece in pieces for word in piece.words]


def test_running_speech_has_its_words_where_it_says():
    pcm, words = joined(composing.running_speech(OTHER_CLIPS, NOISES, 0.5, seed=1))
    assert 0.5 * 60 <= len(pcm) / RATE < 0.5 * 60 + 2
    assert pcm.dtype == np.float32
    assert np.abs(pcm).max() <= 1
    assert {word.word for word in words} == set(OTHERS)
    for word in words:
        assert word.end - word.start == pytest.approx(0.4, abs=0.011)
        heard = pcm[round(word.start * RATE) : round(word.end * RATE)]
        assert pitch(heard) == pytest.approx(frequency(word.word), rel=0.01)
    gaps = [after.start - before.end for before, after in pairwise(words)]
    low, high = composing.SHORT_GAP
    assert low <= min(gaps)
    assert max(gaps) <= high + 0.06  # what is kept around a word
    assert max(gaps) > 3 * min(gaps)


def test_commands_stand_alone():
    words = joined(composing.commands(COMMAND_CLIPS, OTHER_CLIPS, NOISES, 2, seed=1))[1]
    at = [index for index, word in enumerate(words) if word.word in COMMANDS]
    assert len(at) > 10
    assert any(word.word in OTHERS for word in words)
    for index in at[1:-1]:
        assert words[index].start - words[index - 1].end >= composing.LONG_GAP[0]
        assert words[index + 1].start - words[index].end >= composing.LONG_GAP[0]


def test_a_stream_is_the_same_for_the_same_seed_and_another_for_another():
    first, again, other = (
        joined(islice(composing.running_speech(OTHER_CLIPS, NOISES, 1, seed), 20))[0] for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:1000], other[:1000])


def test_noise_comes_at_different_levels_and_has_no_words():
    pieces = list(composing.noise(NOISES, 1, seed=3))
    assert not any(piece.words for piece in pieces)
    assert sum(len(piece.pcm) for piece in pieces) >= 60 * RATE
    levels = [20 * np.log10(np.sqrt(np.mean(piece.pcm**2))) for piece in pieces]
    assert max(levels) - min(levels) > 6


def test_what_is_told_without_a_command_is_an_alarm():
    stream = list(composing.running_speech([*OTHER_CLIPS, clip("left")], [NOISES[0] * 1e-4], 1, seed=4))
    said = [word.word for piece in stream for word in piece.words].count("left")
    listening = ToneListening(patience=0.02)
    rate = alarms.count(listening, stream)
    assert rate.count == said > 0
    assert rate.hours == pytest.approx(sum(len(piece.pcm) for piece in stream) / RATE / 3600)
    assert max(listening.blocks) <= alarms.BLOCK
    assert sum(listening.blocks) == sum(len(piece.pcm) for piece in stream)


def test_a_stream_is_fed_in_blocks_and_latency_is_sound_from_the_end_of_the_word():
    listening = ToneListening(patience=0.1)
    quiet = [NOISES[0] * 1e-4]
    stream = list(composing.commands(COMMAND_CLIPS, OTHER_CLIPS, quiet, 1, seed=5))
    found = streaming.measure(listening, stream, streaming.resident())
    assert set(listening.blocks) == {streaming.BLOCK}
    commands = [word for piece in stream for word in piece.words if word.word in COMMANDS]
    assert found.found.clips == len(commands) > 5
    assert found.found.count >= found.found.clips - 1  # the stream may end in the middle of the last one
    assert found.alarms.count == 0
    assert 0.1 <= found.p50 <= 0.1 + streaming.BLOCK / RATE + 0.02
    assert found.p50 <= found.p95 <= 0.15
    assert found.prompt == Share(found.found.count, found.found.count)
    assert 0 < found.share < 1
    assert found.seconds == pytest.approx(60, abs=5)


def told(word, start, end, at, own=False):
    return Told(word, start, end, own), at


def test_what_is_told_is_matched_with_what_was_said():
    placed = [Placed("left", 1.0, 1.5), Placed("open", 3.0, 3.5), Placed("up", 5.0, 5.4), Placed("go", 8.0, 8.4)]
    latencies, found, alarms_told = streaming.match(
        placed,
        [
            told("left", 1.0, 1.5, 1.7),
            told("left", 1.6, 1.7, 2.0),  # again: the first time counts
            told("down", 3.0, 3.5, 3.7),  # no command was said
            told("open", 3.0, 3.5, 3.7, own=True),  # a word that was taught is no alarm
            told("go", 5.0, 5.4, 5.6),  # another command: neither found nor an alarm
            told("go", 8.1, 8.6, 8.9),
            told("go", 20.0, 20.5, 20.7),
        ],
    )
    assert latencies == pytest.approx([0.2, 0.5])
    assert found == Share(2, 3)
    assert alarms_told == 2
