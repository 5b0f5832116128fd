"""When a word is told, and which are not, whatever it is that recognises them: here a table."""

import numpy as np
import pytest
from synthetic_speech import RATE, placed, silence, voice

from hushfold.voice import stream as telling
from hushfold.voice.activity import Segment
from hushfold.voice.recognition import Heard
from hushfold.voice.stream import CERTAIN, LATEST, VoiceStream

BLOCK = 320  # samples
SURER, SURE, UNSURE = (Heard("up", score, own=False) for score in (0.9, CERTAIN, CERTAIN - 0.01))
OWN, NOT_SURER = UNSURE._replace(own=True), Heard("up", 0.89, own=False)


def murmured(seconds, below=22):
    """What is taken for speech, so many dB below a word."""
    return voice(seconds, peak=0.5 * 10 ** (-below / 20), pitch=90)


class Said:
    """Recognises, one after the other, what it is told to; the last of them ever after."""

    def __init__(self, *heard):
        self.heard, self.sounds = list(heard), []

    def __call__(self, sound):
        self.sounds.append(sound)
        return self.heard.pop(0) if len(self.heard) > 1 else self.heard[0]


def told(stream, *heard):
    """Words and their places, with the second at which each was told; the last one may be told by the end."""
    recognise = Said(*heard)
    listening, found = VoiceStream(recognise), []
    for start in range(0, len(stream), BLOCK):
        found += [((start + BLOCK) / RATE, each) for each in listening.feed(stream[start : start + BLOCK])]
    return found + [(len(stream) / RATE, each) for each in listening.flush()], recognise


def over_a_murmur(*parts, floor=-50.0):
    return placed(5.0, *parts, floor=floor)


def test_a_certain_word_is_told_at_the_first_look():
    [(at, detection)], _ = told(over_a_murmur((1.5, voice(0.5)), (2.0, murmured(1.3))), SURE, None)
    assert at == pytest.approx(2.0 + 0.08, abs=0.05)
    assert (detection.word, detection.score, detection.own) == ("up", CERTAIN, False)
    assert [detection.start, detection.end] == pytest.approx([1.5, 2.0], abs=0.05)


@pytest.mark.parametrize("word", [UNSURE, UNSURE._replace(own=True)])
def test_another_is_told_when_two_looks_in_a_row_agree(word):
    [(at, _)], _ = told(over_a_murmur((1.5, voice(0.5)), (2.0, murmured(1.3)), floor=-47.0), word, word, None)
    assert at == pytest.approx(2.0 + 0.16, abs=0.09)


def test_what_one_look_alone_takes_for_a_word_is_none():
    stream = over_a_murmur((1.5, voice(0.5)), (2.0, murmured(1.3)))
    found, recognise = told(stream, UNSURE, UNSURE._replace(word="down"), None)
    assert found == []
    assert len(recognise.sounds) > 2


def test_looks_agree_only_in_a_row():
    stream = over_a_murmur((1.5, voice(0.5)), (2.0, murmured(1.3)), floor=-47.0)
    found, recognise = told(stream, UNSURE, None, UNSURE, None)
    assert found == []
    assert len(recognise.sounds) > 3


def test_a_look_in_another_pause_confirms_nothing():
    """Each is too short for two: the level is that of five frames."""
    parts = (1.0, voice(0.3)), (1.3, murmured(0.1)), (1.4, voice(0.3)), (1.7, murmured(0.1)), (1.8, voice(0.4))
    found, recognise = told(over_a_murmur(*parts), UNSURE, UNSURE, None)
    assert found == []
    assert len(recognise.sounds) >= 3


@pytest.mark.parametrize("quieter", [8, 12, 14])
def test_a_quieter_word_after_a_loud_one_is_looked_at_in_time(quieter):
    """It is no pause after the loud one, though its level has fallen as far."""
    second = voice(0.35, peak=0.5 * 10 ** (-quieter / 20))
    stream, fed = over_a_murmur((1.0, voice(0.4)), (1.4, murmured(1.5)), (1.75, second)), 0
    word = SURE._replace(own=True)
    listening, found = VoiceStream(lambda _: word if 2.0 < fed / RATE < 2.3 else None), []
    for fed in range(0, len(stream), BLOCK):
        found += [(fed + BLOCK, each) for each in listening.feed(stream[fed : fed + BLOCK])]
    [(at, detection)] = found
    assert at / RATE < 2.1 + 0.25
    assert detection.end == pytest.approx(2.1, abs=0.06)


def test_what_was_told_in_a_pause_is_not_told_again_and_the_rest_is_heard_by_itself():
    stream = over_a_murmur((1.0, voice(0.5)), (1.5, murmured(0.3)), (1.8, voice(0.4)), (2.2, murmured(0.4)))
    found, recognise = told(stream, SURE, None)
    assert len(found) == 1
    first, *rest = (len(sound.features) / 100 for sound in recognise.sounds)
    assert first == pytest.approx(0.2 + 0.5 + 0.08, abs=0.1)
    assert rest
    assert max(rest) < 1.3  # nothing of the word that was told
    found, _ = told(stream, SURE, SURE._replace(word="down"), None)
    assert [each.word for _, each in found] == ["up", "down"]
    assert found[1][1].start == pytest.approx(1.8, abs=0.06)  # where it begins, and not where the first was told


@pytest.mark.parametrize(("below", "again"), [(22, 2.3), (26, 2.2)])
def test_the_same_word_may_come_again_in_one_stretch_of_speech(below, again):
    low = murmured(again - 1.5, below)
    stream, fed = over_a_murmur((1.0, voice(0.5)), (1.5, low), (again, voice(0.4)), (again + 0.4, low)), 0
    listening, found = VoiceStream(lambda _: SURE if fed / RATE < 1.75 or fed / RATE > again + 0.3 else None), []
    for fed in range(0, len(stream), BLOCK):
        found += listening.feed(stream[fed : fed + BLOCK])
    assert [each.word for each in found] == ["up", "up"]
    assert found[1].start == pytest.approx(again, abs=0.06)


def test_a_word_that_is_told_when_its_speech_has_ended_need_not_be_certain():
    stream = np.concatenate([placed(1.0), placed(1.0, (0.0, voice(0.5)))[: RATE // 2], silence(0.5)])
    [(at, detection)], _ = told(stream, None, UNSURE)
    assert detection.score == UNSURE.score
    assert at <= 1.5 + 0.25


def test_a_word_is_told_in_time_though_a_noise_has_come_with_it():
    """One that is no background yet: it is far above what there was before."""
    stream = over_a_murmur((1.5, voice(0.5)), (1.5, murmured(1.5, below=12)), floor=-60.0)
    [(at, _)], _ = told(stream, SURE, None)
    assert at == pytest.approx(2.0 + 0.08, abs=0.05)


@pytest.mark.parametrize(("latest", "words"), [(LATEST, []), (1.0, ["up"])])
def test_what_is_recognised_only_long_after_it_was_said_is_not_told(latest, words, monkeypatch):
    """Speech of more than two seconds is cut where it is quietest, which may have been a while ago."""
    monkeypatch.setattr(telling, "LATEST", latest)
    parts = (1.0, voice(1.2)), (2.2, murmured(0.1, below=7)), (2.3, voice(1.5))
    stream, fed, at = placed(5.0, *parts), 0, []
    listening, found = VoiceStream(lambda _: at.append(fed / RATE) or SURE._replace(own=True)), []
    while fed / RATE < 3.2:
        found += listening.feed(stream[fed : fed + BLOCK])
        fed += BLOCK
    assert [each.word for each in found] == words
    assert listening._chatter < 0  # what was not listened to is no chatter
    assert all(place > 2.7 for place in at)  # no look before: that is the cut


@pytest.mark.parametrize("below", [6, 10, 14, 18, 20, 22, 24, 30])
@pytest.mark.parametrize("heard", [[OWN], [None, OWN], [SURE._replace(own=True)], [None, None, OWN]])
def test_no_word_is_told_later_than_a_quarter_of_a_second_after_its_end(below, heard):
    """The end of the speech that it was in, which a noise may make longer."""
    parts = (
        (0.5, voice(0.4)),
        (0.5, murmured(0.9, below)),
        (1.4, voice(0.3)),
        (1.8, voice(1.5)),
        (3.3, murmured(1.2, below)),
    )
    found, _ = told(over_a_murmur(*parts), *heard)
    assert found
    assert all(at - detection.end <= 0.25 + 1e-9 for at, detection in found)


@pytest.mark.parametrize(("late", "told_at_all"), [(0.0, True), (0.24, True), (0.25, False), (0.5, False)])
def test_a_segment_that_is_given_later_is_not_listened_to(late, told_at_all):
    pcm = placed(0.8, (0.2, voice(0.5)))
    place = round((0.7 + late) * RATE)
    segment = Segment(0, len(pcm), RATE // 5, round(0.7 * RATE), pcm, np.ones(80, bool), True, place)
    assert bool(VoiceStream(Said(OWN))._detected([segment])) is told_at_all


def test_the_last_look_of_a_pause_is_just_in_time():
    stream = over_a_murmur((1.5, voice(0.5)), (2.0, murmured(0.5)), floor=-47.0)
    [(at, detection)], _ = told(stream, None, OWN, OWN, None)
    assert 0.23 <= at - detection.end <= 0.25 + 1e-9


TALK = (0.5, voice(0.4)), (1.2, voice(0.4))
"""Two words without a pause of 0.4 s after them and before what comes at 1.9."""


@pytest.mark.parametrize("after", [0.3, 0.5])
@pytest.mark.parametrize(
    ("word", "amid"), [(NOT_SURER, False), (SURER, True), (OWN, True)], ids=["sure", "surer", "own"]
)
def test_a_command_amid_speech_has_to_be_more_certain_and_a_word_of_ones_own_need_not(after, word, amid):
    at = 1.6 + after
    stream, fed = placed(3.5, *TALK, (at, voice(0.4))), 0
    listening, found = VoiceStream(lambda _: word if fed / RATE > at + 0.2 else None), []
    for fed in range(0, len(stream), BLOCK):
        found += listening.feed(stream[fed : fed + BLOCK])
    assert [each.word for each in found] == (["up"] if amid or after > 0.4 else [])


def test_a_command_in_a_long_stretch_of_speech_has_to_be_more_certain():
    stream = placed(4.0, (1.0, voice(1.6)))
    assert told(stream, NOT_SURER)[0] == []
    assert len(told(stream, SURER)[0]) == 1


def test_commands_one_after_the_other_are_not_amid_speech():
    """The first was told: it is nothing that somebody else says."""
    stream = placed(4.0, (1.0, voice(0.4)), (1.65, voice(0.4)), (2.3, voice(0.4)))
    heard = [UNSURE._replace(word=word) for word in ("one", "one", "five", "five", "eight", "eight")]
    assert [each.word for _, each in told(stream, *heard)[0]] == ["one", "five", "eight"]


@pytest.mark.parametrize(("echo", "next_one"), [(0.25, True), (0.9, False)])
def test_the_end_of_a_word_that_was_told_is_no_chatter_unless_it_goes_on(echo, next_one):
    at = 1.5 + echo + 0.3
    stream, fed = over_a_murmur((1.0, voice(0.5)), (1.5, murmured(echo)), (at, voice(0.4)), floor=-52.0), 0

    def recognise(_):
        now = fed / RATE
        return SURE._replace(word="lumos", own=True) if now < 1.75 else UNSURE if now > at + 0.3 else None

    listening, found = VoiceStream(recognise), []
    for fed in range(0, len(stream), BLOCK):
        found += listening.feed(stream[fed : fed + BLOCK])
    assert [each.word for each in found] == (["lumos", "up"] if next_one else ["lumos"])


def test_a_stream_that_begins_with_a_command_has_nothing_before_it():
    assert len(told(placed(1.5, (0.1, voice(0.4))), UNSURE)[0]) == 1


def test_another_stream_begins_with_nothing_before_it_too():
    listening = VoiceStream(Said(None))
    listening.feed(placed(1.0, (0.3, voice(0.6))))
    listening.flush()
    listening._recognise = Said(UNSURE)
    assert [each.word for each in (*listening.feed(placed(1.5, (0.1, voice(0.4)))), *listening.flush())] == ["up"]
