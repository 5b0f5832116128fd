"""The SDK's voice as it is measured, beside a device that is used as an app does, on tones and noise."""

from contextlib import closing

import numpy as np
from tone_words import OTHERS, clip

from hushfold import Device, KeyFile
from hushfold_evaluation.voice.clips import RATE, Clip
from hushfold_evaluation.voice.ours import OwnVoice, OwnWords

WORDS = OTHERS[:4]


def varied(word, seed, detune=1.0):
    """A word with noise, not twice the same: falling in pitch, so that there is something to compare over time."""
    chance = np.random.default_rng(seed)
    length = chance.uniform(0.35, 0.5)
    parts = [clip(word, seconds=length / 3, around=0, detune=detune * step).pcm for step in (1.3, 1.0, 0.8)]
    rest = np.zeros(round(0.25 * RATE))
    pcm = np.concatenate((rest, *parts, rest)) + 0.003 * chance.standard_normal(sum(map(len, parts)) + 2 * len(rest))
    return Clip(pcm.astype(np.float32), word, "anna")


SAID = {word: [varied(word, 10 * number + take) for take in range(3)] for number, word in enumerate(WORDS)}
HEARD = [varied(word, 1000 + number, detune) for number, word in enumerate(OTHERS) for detune in (1.0, 1.1, 1.6, 0.4)]
SILENCE = Clip(np.zeros(RATE, np.float32), "", "anna")
TOO_SHORT = Clip(np.full(100, 0.1, np.float32), "", "anna")


def test_taught_words_are_told_as_a_device_tells_them(tmp_path):
    taught = OwnWords().teach(SAID)
    with Device(tmp_path, KeyFile(tmp_path / "key")) as device:
        for word, takes in SAID.items():
            device.voice.words.teach(word, [take.pcm for take in takes])
        answers = [device.voice.recognise(each.pcm) for each in (*HEARD, SILENCE, TOO_SHORT)]
    guesses = [taught.guess(each) for each in (*HEARD, SILENCE, TOO_SHORT)]
    assert [guess.word if guess.accepted else None for guess in guesses] == [
        answer.word if answer and answer.own else None for answer in answers
    ]
    assert 4 <= sum(guess.accepted for guess in guesses) < len(guesses)  # or the comparison says nothing
    assert taught.refused == 0


def test_a_word_that_is_left_out_is_not_told():
    taught = OwnWords().teach(SAID)
    for word in WORDS:
        assert taught.guess(varied(word, 99)).word == word
        assert taught.without(word).guess(varied(word, 99)).word != word


def test_recordings_that_are_refused_are_left_out():
    taught = OwnWords().teach({**SAID, "silence!": [SILENCE], "print": [SILENCE, *SAID[WORDS[0]][:1]]})
    assert taught.refused == 2
    assert taught.guess(SAID[WORDS[1]][0]).word == WORDS[1]


def test_nothing_taught_is_nothing_told():
    taught = OwnWords().teach({"silence!": [SILENCE]})
    assert taught.guess(HEARD[0]).accepted is False
    assert taught.guess(HEARD[0]).distance == np.inf


def rising(seed):
    falling = varied("close", seed)
    return Clip(np.ascontiguousarray(falling.pcm[::-1]), "close", "anna")


def test_a_correction_is_kept_by_the_device():
    with closing(OwnVoice()) as own:
        assert own.recognise(varied("open", 50)) is None
        for take in range(3):
            own.correct(varied("open", take), "zero")
            own.correct(rising(take), "five")
        own.correct(SILENCE, "zero")
        own.correct(TOO_SHORT, "zero")
        assert own.recognise(varied("open", 50)) == "zero"
        assert own.recognise(rising(50)) == "five"


def test_a_stream_tells_taught_words():
    pause = np.random.default_rng(3).normal(0, 0.0005, RATE).astype(np.float32)
    with closing(OwnVoice()) as own:
        for word, takes in SAID.items():
            own.teach(word, takes)
        assert {known.name for known in own.known()} == set(WORDS)
        listening = own.listen()
        told = [*listening.feed(pause), *listening.feed(SAID[WORDS[0]][0].pcm), *listening.feed(pause)]
        told += listening.flush()
    assert [(each.word, each.own) for each in told] == [(WORDS[0], True)]
    assert 1.0 <= told[0].start < told[0].end < 2.0


def test_base_words_are_given_out_as_a_device_does():
    with closing(OwnVoice()) as own:
        guesses = [own.guess(each) for each in (*HEARD, SILENCE)]
        assert [guess.word if guess.accepted else None for guess in guesses] == [
            own.recognise(each) for each in (*HEARD, SILENCE)
        ]
    assert all(0 <= guess.distance <= 1 for guess in guesses[:-1])
    assert guesses[-1].distance == np.inf
