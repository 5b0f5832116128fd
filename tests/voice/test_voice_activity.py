"""Somebody speaks from here to there: whoever it is, however loud, over whatever noise, however the stream is cut."""

import csv
import io
import os
import sys
import tarfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_speech import RATE, noise, placed, silence, voice

from hushfold.errors import VoiceError
from hushfold.voice.activity import FRAME, VoiceActivity

BLOCK = 320  # samples, as a microphone gives them


def segments_of(stream, activity=None):
    activity = activity or VoiceActivity()
    found = []
    for start in range(0, len(stream), BLOCK):
        found += activity.feed(stream[start : start + BLOCK])
    return found + activity.flush()


def seconds(*samples):
    return [sample / RATE for sample in samples]


def test_a_word_is_a_segment_with_its_place_and_its_sound():
    stream = placed(3.0, (1.0, voice(0.5)))
    [segment] = segments_of(stream)
    assert seconds(segment.onset, segment.offset) == pytest.approx([1.0, 1.5], abs=0.04)
    assert segment.onset - segment.start == pytest.approx(0.2 * RATE, abs=FRAME)
    assert segment.end - segment.offset == pytest.approx(0.16 * RATE, abs=FRAME)
    assert np.array_equal(segment.pcm, stream[segment.start : segment.end])


def test_a_segment_is_given_within_a_quarter_of_a_second_of_the_words_end():
    stream, activity = placed(3.0, (1.0, voice(0.5))), VoiceActivity()
    fed, spoke = 0, []
    while not activity.feed(stream[fed : fed + BLOCK]):
        fed += BLOCK
        if activity.in_speech:
            spoke.append(fed / RATE)
    assert 1.5 + 0.16 - 0.03 < (fed + BLOCK) / RATE < 1.75
    assert spoke[0] == pytest.approx(1.06, abs=0.04)
    assert not activity.in_speech


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3 * RATE), max_size=30))
def test_how_a_stream_is_cut_into_blocks_does_not_matter(cuts):
    stream = placed(3.0, (0.5, voice(0.4)), (1.6, voice(0.6)))
    activity, found = VoiceActivity(pause=0.08), []
    for block in np.split(stream, sorted(cuts)):
        found += activity.feed(block)
    found += activity.flush()
    expected = segments_of(stream, VoiceActivity(pause=0.08))
    assert [each.ended for each in expected] == [False, True] * 2
    places = [[(s.start, s.onset, s.offset, s.end, s.ended, s.given) for s in some] for some in (found, expected)]
    assert places[0] == places[1]
    assert all(np.array_equal(a.pcm, b.pcm) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("peak", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("pitch", [100, 220])
def test_quiet_and_loud_voices_are_found_high_ones_and_low_ones(peak, pitch):
    [segment] = segments_of(placed(3.0, (1.0, voice(0.5, peak, pitch))))
    assert seconds(segment.onset, segment.offset) == pytest.approx([1.0, 1.5], abs=0.06)


@pytest.mark.parametrize("start", [0.0, 0.05])
def test_a_recording_may_begin_with_the_word(start):
    stream = placed(1.0, (start, voice(0.5)))
    [segment] = segments_of(stream)
    assert segment.start == 0


@pytest.mark.parametrize(
    "stream",
    [silence(5), noise(5, -70), noise(5, -50), np.empty(0, np.float32)],
    ids=["silence", "quiet", "a room", "empty"],
)
def test_where_nobody_speaks_there_is_no_segment(stream):
    assert segments_of(stream) == []


def test_clicks_and_knocks_are_no_words():
    click = np.r_[0.9, -0.9, noise(0.005, -20)].astype(np.float32)
    assert segments_of(placed(4.0, *((0.5 + 0.4 * n, click) for n in range(8)))) == []


def test_a_loud_noise_that_stays_does_not_hold_the_gate_open():
    """From one moment to the next; seconds later a voice is found over it."""
    stream = np.concatenate([noise(2, -70), noise(18, -25, seed=1)])
    word = voice(0.6, peak=0.7)
    stream[16 * RATE : 16 * RATE + len(word)] += word
    found = segments_of(np.clip(stream, -1, 1))
    before = [s for s in found if s.offset < 15 * RATE]
    assert sum(s.offset - s.onset for s in before) < 3 * RATE
    [segment] = [s for s in found if s.offset > 15 * RATE]
    assert seconds(segment.onset, segment.offset) == pytest.approx([16.0, 16.6], abs=0.15)


def test_a_short_pause_belongs_to_the_word_and_a_long_one_does_not():
    parts = (1.0, voice(0.3)), (1.4, voice(0.3))  # 0.1 s apart: the closure of a plosive
    assert len(segments_of(placed(3.0, *parts))) == 1
    first, second = segments_of(placed(3.0, (1.0, voice(0.3)), (1.6, voice(0.3))))
    assert first.end <= second.start
    assert second.onset - second.start < 0.2 * RATE  # what the first one holds is not given again


def test_the_hangover_is_the_callers():
    stream = placed(3.0, (1.0, voice(0.3)), (1.6, voice(0.3)))
    assert len(segments_of(stream, VoiceActivity(hangover=0.4))) == 1


def murmured(seconds):
    """A voice that is far below a word, and above the background."""
    return voice(seconds, peak=0.5 * 10 ** (-22 / 20), pitch=90)


def test_a_word_is_given_in_the_pause_after_it_though_somebody_murmurs_on():
    """And again, with what was murmured, in pauses of that and when it has ended."""
    stream = placed(4.5, (1.5, voice(0.5)), (2.0, murmured(1.3)), floor=-50.0)
    activity, given = VoiceActivity(pause=0.08), []
    for start in range(0, len(stream), BLOCK):
        given += [((start + BLOCK) / RATE, each) for each in activity.feed(stream[start : start + BLOCK])]
    at, word = given[0]
    assert at == pytest.approx(2.0 + 0.08, abs=0.05)
    assert not word.ended
    assert seconds(word.onset, word.offset) == pytest.approx([1.5, 2.0], abs=0.04)
    assert np.array_equal(word.pcm, stream[word.start : word.end])
    ended = [(at, each) for at, each in given if each.ended]
    later, whole = ended[0]
    assert later > at + 0.5
    assert whole.start == word.start
    places = [(each.start, each.onset, each.offset, each.end) for _, each in ended]
    assert places == [(each.start, each.onset, each.offset, each.end) for each in segments_of(stream)]


def test_two_looks_are_never_nearer_to_one_another_than_a_pause_is_long():
    """Nearly the same, they would agree on anything."""
    word, low = voice(0.4), voice(1.5, peak=0.5 * 10 ** (-22 / 20), pitch=90)
    second = voice(0.35, peak=0.5 * 10 ** (-14 / 20))
    found = segments_of(placed(5.0, (1.0, word), (1.4, low), (1.75, second), floor=-50.0), VoiceActivity(pause=0.08))
    given = [segment.given for segment in found if not segment.ended]
    assert len(given) > 5
    assert min(after - before for before, after in pairwise(given)) >= 0.08 * RATE


def test_in_every_pause_there_are_a_few_looks_and_in_a_shorter_one_none():
    parts = (1.5, voice(0.3)), (1.8, murmured(0.4)), (2.2, voice(0.3)), (2.5, murmured(0.06)), (2.56, voice(0.3))
    stream = placed(4.0, *parts, floor=-50.0)
    found = segments_of(stream, VoiceActivity(pause=0.15, longest=3.0))
    assert [each.ended for each in found] == [False, False, False, True]
    assert seconds(*(each.offset for each in found)) == pytest.approx([1.8, 1.8, 2.86, 2.86], abs=0.06)


def test_an_echo_is_not_another_word():
    stream = placed(3.0, (1.0, voice(0.4, peak=0.8)), (1.7, voice(0.2, peak=0.02)))
    assert len(segments_of(stream)) == 1


def test_running_speech_is_cut_where_it_is_quietest():
    """Eight seconds of syllables without a pause that would end a segment, with a dip of 60 ms every 1.4 s."""
    dips = [0.5 + 1.4 * n for n in range(1, 6)]
    speech = voice(8.0)
    speech *= (0.2 + 0.8 * np.sin(np.pi * 4 * np.arange(len(speech)) / RATE) ** 2).astype(np.float32)
    for dip in dips:
        start = round((dip - 0.5) * RATE)
        speech[start : start + 960] *= 0.02
    found = segments_of(placed(9.5, (0.5, speech)))
    assert all(len(segment.pcm) <= 2 * RATE for segment in found)
    for before, after in pairwise(found):
        assert after.start == before.end
        assert any(dip <= before.end / RATE <= dip + 0.06 for dip in dips)
    assert found[0].onset / RATE == pytest.approx(0.5, abs=0.06)
    assert found[-1].offset / RATE == pytest.approx(8.5, abs=0.15)


def test_the_end_of_the_stream_ends_the_segment_to_the_last_sample():
    stream = placed(1.5, (1.0, voice(0.5)))[: -FRAME // 2]
    activity = VoiceActivity()
    assert activity.feed(stream) == []
    assert activity.in_speech
    [segment] = activity.flush()
    assert segment.end == len(stream)
    assert np.array_equal(segment.pcm, stream[segment.start :])
    assert not activity.in_speech
    assert activity.flush() == []


def test_after_the_end_another_stream_begins():
    stream, activity = placed(2.0, (0.5, voice(0.5))), VoiceActivity()
    [first], [second] = (segments_of(stream, activity) for _ in range(2))
    assert (first.start, first.end) == (second.start, second.end)


def test_what_waits_for_a_segment_does_not_grow():
    """Neither in silence nor in speech without end: what it keeps is less than its longest segment."""
    activity = VoiceActivity()
    for sound in (noise(1, -60), voice(1.0)):
        for _ in range(20):
            activity.feed(sound)
        kept = [value for value in vars(activity).values() if isinstance(value, list)]
        assert len(kept) == 4
        assert all(len(values) <= 200 for values in kept)


@pytest.mark.parametrize(
    "arguments",
    [{"hangover": 0}, {"pre_roll": -1}, {"shortest": 0}, {"longest": 0.5}, {"pause": -0.1}, {"pause": 0.004}],
    ids=lambda given: next(iter(given)),
)
def test_lengths_that_cannot_be_are_refused(arguments):
    with pytest.raises(ValueError, match="at least"):
        VoiceActivity(**arguments)


def test_without_the_detector_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    with pytest.raises(VoiceError, match=r"webrtcvad-wheels.*pip install 'hushfold\[voice\]'"):
        VoiceActivity()


# ---------------------------------------------------------------- people


def people():
    """Every 20th clip of the single words of people, if the data are here."""
    root = Path(__file__).parents[2]
    folder = Path(os.environ.get("HUSHFOLD_DATA") or root.parent / "shared" / "data") / "speech"
    if not (folder / "personal-words.tar").exists():
        pytest.skip("the recordings are not here: HUSHFOLD_DATA names the folder that has speech/personal-words.tar")
    with (folder / "personal-words.csv").open() as table, tarfile.open(folder / "personal-words.tar") as archive:
        for row in list(csv.DictReader(table))[::20]:
            samples, rate = soundfile.read(io.BytesIO(archive.extractfile(row["file"]).read()), dtype="float32")
            assert rate == RATE
            yield np.clip(samples, -1, 1)


def test_the_words_of_people_are_found():
    """Against an oracle that knows the whole clip: the stretch around its peak that is within 30 dB of it."""
    alone, covered = [], []
    for clip in people():
        levels = 10 * np.log10(np.mean(clip[: len(clip) // FRAME * FRAME].reshape(-1, FRAME) ** 2, axis=1) + 1e-9)
        peak = int(np.argmax(levels))
        loud = np.flatnonzero(levels > levels[peak] - 25)
        first, last = loud[0] * FRAME, (loud[-1] + 1) * FRAME
        found = segments_of(clip)
        words = [s for s in found if s.onset <= peak * FRAME < s.offset]
        alone.append(len(words) == 1)
        inside = np.zeros(len(clip), bool)
        for segment in found:
            inside[segment.start : segment.end] = True
        covered.append(inside[first:last].mean())
    assert len(alone) > 100
    assert np.mean(alone) == 1
    assert np.mean(covered) > 0.99
