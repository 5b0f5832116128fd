"""A sound is kept as features that tell what was said, and neither how loud nor with how much around it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_words import RATE, say
from synthetic_speech import noise, placed, silence, voice

from hushfold.errors import AudioError
from hushfold.voice.sound import LONGEST, SHORTEST, SpokenSound
from hushfold_format.logmel import BANDS, FRAME, HOP, frames, log_mel

SECOND = 100  # frames


@pytest.mark.parametrize("gain", [0.05, 0.3, 2.0])
def test_level_does_not_matter(gain):
    pcm = say("katam")
    assert np.allclose(SpokenSound.of(gain * pcm).features, SpokenSound.of(pcm).features, atol=1e-3)


def test_features_are_log_mel_of_the_whole():
    pcm = say("katam")
    sound = SpokenSound.of(pcm)
    assert sound.features.shape == (frames(len(pcm)), BANDS)
    assert sound.features.dtype == np.float32
    difference = sound.features - log_mel(pcm)
    assert np.ptp(difference[sound.word()]) == pytest.approx(0, abs=0.3)  # another level, and nothing else


def test_of_a_long_recording_the_loudest_two_seconds_count():
    word = say("katam", around=0.0)
    sound = SpokenSound.of(placed(10.0, (2.0, 0.2 * word), (6.0, word)))
    assert len(sound.features) == LONGEST
    found = sound.word()
    assert (found.stop - found.start) * HOP == pytest.approx(len(word), abs=0.1 * RATE)


@pytest.mark.parametrize("at", [0.1, 0.7, 1.2])
def test_the_word_is_found_in_its_sound(at):
    word = SpokenSound.of(placed(2.0, (at, voice(0.5)))).word()
    assert word.start * HOP / RATE == pytest.approx(at, abs=0.06)
    assert word.stop * HOP / RATE == pytest.approx(at + 0.5, abs=0.06)


def test_a_sound_without_a_room_around_its_word_is_told_from_one_with_the_quietest():
    word = voice(0.5)
    alone = np.concatenate((silence(0.2), word, silence(0.2)))
    assert SpokenSound.of(alone).gated
    assert SpokenSound.of(0.05 * alone).gated
    room = noise(0.9, -70)  # under a word at -6 dBFS
    assert not SpokenSound.of(alone + room).gated
    assert not SpokenSound.of(word).gated


def test_in_a_sound_without_a_beginning_or_an_end_all_is_the_word():
    sound = SpokenSound.of(noise(0.5, -20))
    word = sound.word()
    assert word.stop - word.start >= 0.7 * len(sound.features)


def test_a_window_has_the_word_in_its_middle():
    for at in (0.1, 1.2):
        sound = SpokenSound.of(placed(2.0, (at, voice(0.4))))
        window = sound.window(SECOND)
        assert window.shape == (SECOND, BANDS)
        level = window.mean(axis=1)
        loud = np.flatnonzero(level > (level.min() + level.max()) / 2)
        assert (loud[0] + loud[-1]) / 2 == pytest.approx(SECOND / 2, abs=4)


def test_beyond_its_ends_a_sound_is_as_quiet_as_it_was():
    sound = SpokenSound.of(placed(1.0, (0.3, voice(0.4)), floor=-50))
    beyond = sound.between(-SECOND, 0)
    assert np.ptp(beyond, axis=0).max() == 0  # every frame the same
    assert beyond.mean() == pytest.approx(sound.features[:20].mean(), abs=2.5)


def test_even_if_it_was_cut_close_to_the_word():
    """Then there is no frame in it that is quiet."""
    sound = SpokenSound.of(voice(0.4)[800:-800])
    assert sound.between(-SECOND, 0).mean() < sound.features.mean() - 3


@given(st.integers(-300, 300), st.integers(0, 300))
def test_between_any_two_places(start, length):
    sound = SpokenSound.of(say("katam"))
    part = sound.between(start, start + length)
    assert part.shape == (length, BANDS)
    inside = range(max(0, start), min(len(sound.features), start + length))
    for number in (*inside[:1], *inside[-1:]):
        assert np.array_equal(part[number - start], sound.features[number])


def test_what_is_no_word_is_refused():
    enough = FRAME + (SHORTEST - 1) * HOP
    with pytest.raises(AudioError, match="silent") as caught:
        SpokenSound.of(silence(1.0))
    assert "speak louder" in caught.value.advice
    with pytest.raises(AudioError, match="too short"):
        SpokenSound.of(voice(1.0)[: enough - 1])
    with pytest.raises(AudioError, match="too short"):
        SpokenSound.of(silence(0))
    assert len(SpokenSound.of(voice(1.0)[:enough]).features) == SHORTEST


@pytest.mark.parametrize("length", [0.15, 0.3, 1.0, 1.99, 2.0, 3.0])
def test_every_length_has_a_word_within_its_features(length):
    sound = SpokenSound.of(noise(length, -30))
    word = sound.word()
    assert 0 <= word.start < word.stop <= len(sound.features) <= LONGEST
