"""A voice as an app uses it: streams, files, several at once, and nothing of it outside the encrypted store."""

import sys
import threading
import time
from functools import cache

import numpy as np
import pytest
import soundfile
import soxr
from eventually import eventually
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up_words import COMMANDS, RATE, say, takes
from store_pages import on_disk
from synthetic_speech import noise, placed, silence

from hushfold.errors import AudioError, ModelError, StoreError, VoiceError
from hushfold.voice.model import VoiceModel
from hushfold.voice.recognition import Recogniser
from hushfold.voice.sound import SpokenSound
from hushfold.voice.stream import REFRACTORY

AROUND = 0.1  # seconds before and after the word, in what is placed


def word(name, take=20, **how):
    return say(name, take, around=AROUND, **how)


PLACES = (0.5, 1.9, 3.3, 4.6, 6.0)  # seconds, in the scene
SAID = ("katam", "eskau", "imax", "atofe", "katam")  # lumos, nox, no word at all, up, lumos


@cache
def scene():
    """A stream of seven and a half seconds."""
    said = (word(name, 20 + number) for number, name in enumerate(SAID))
    return placed(7.5, *zip(PLACES, said, strict=True), floor=-65)


def taught_two(voice):
    voice.words.teach("lumos", takes("katam", 3))
    voice.words.teach("nox", takes("eskau", 3))
    return voice


@pytest.fixture
def taught(obeying):
    """It knows two words of its user's, and "up" by the base."""
    return taught_two(obeying)


@pytest.fixture(scope="module")
def listening(make_shared_voice, commanded):
    """The same, for tests that change nothing of it."""
    return taught_two(make_shared_voice("listening", commanded))


@pytest.fixture(scope="module")
def whole(listening):
    """What is heard in the scene."""
    return heard_in(listening, scene())


def heard_in(voice, pcm):
    stream = voice.stream()
    return [*stream.feed(pcm), *stream.flush()]


def in_blocks(pcm, *lengths):
    """Cut into blocks of these lengths, again and again."""
    start, number = 0, 0
    while start < len(pcm):
        length = lengths[number % len(lengths)]
        yield pcm[start : start + length]
        start, number = start + length, number + 1


# ------------------------------------------------------------------ a stream


def test_words_and_commands_are_found_in_a_stream_with_their_places(listening):
    found = heard_in(listening, scene())
    assert [(each.word, each.own) for each in found] == [("lumos", True), ("nox", True), ("up", False), ("lumos", True)]
    said = [(at, name, 20 + number) for number, (at, name) in enumerate(zip(PLACES, SAID, strict=True)) if number != 2]
    for each, (at, name, take) in zip(found, said, strict=True):
        length = len(word(name, take)) / RATE - 2 * AROUND
        assert each.start == pytest.approx(at + AROUND, abs=0.12)
        assert each.end == pytest.approx(at + AROUND + length, abs=0.12)
        assert 0.5 <= each.score <= 1
        assert isinstance(each.sound, SpokenSound)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.one_of(st.integers(0, 400), st.integers(0, 40_000)), min_size=1, max_size=6).filter(any))
def test_however_it_is_cut_into_blocks_the_same_is_heard(listening, near, lengths):
    pcm = scene()[: round(2.9 * RATE)]
    whole = heard_in(listening, pcm)
    assert len(whole) == 2
    stream = listening.stream()
    found = [each for block in in_blocks(pcm, *lengths) for each in stream.feed(block)]
    assert near([*found, *stream.flush()], whole)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_at_any_rate_the_same_is_heard(listening, whole, rate):
    pcm = soxr.resample(scene(), RATE, rate, quality="VHQ")
    stream = listening.stream()
    found = [each for block in in_blocks(pcm, rate // 50) for each in stream.feed(block, rate)]
    found += stream.flush()
    assert [each.word for each in found] == [each.word for each in whole]
    assert [each.start for each in found] == pytest.approx([each.start for each in whole], abs=0.05)
    assert [each.end for each in found] == pytest.approx([each.end for each in whole], abs=0.05)


def test_integers_and_two_channels_are_heard_the_same(listening, whole):
    integers = np.round(scene() * 32767).astype(np.int16)
    for pcm in (integers, np.stack([scene(), scene()], axis=1)):
        assert [each.word for each in heard_in(listening, pcm)] == [each.word for each in whole]


def test_the_rate_may_change_within_a_stream(listening, whole):
    """As it does when a headset is plugged in. Nothing is lost, and places are still in seconds."""
    stream, found = listening.stream(), []
    for number, second in enumerate(in_blocks(scene(), RATE)):
        rate = (48_000, RATE, 32_000)[number % 3]
        found += stream.feed(soxr.resample(second, RATE, rate), rate)
    found += stream.flush()
    assert [each.word for each in found] == [each.word for each in whole]
    assert [each.start for each in found] == pytest.approx([each.start for each in whole], abs=0.05)


def test_a_word_is_told_soon_after_its_end(listening):
    stream, pcm = listening.stream(), scene()
    for number, block in enumerate(in_blocks(pcm, 320)):
        if found := stream.feed(block):
            assert (number + 1) * 320 / RATE - found[0].end <= 0.25
            return
    pytest.fail("nothing was heard")


def test_silence_and_noise_are_nothing(listening):
    for pcm in (silence(3.0), noise(3.0, -50), np.concatenate([noise(2.0, -60), noise(1.0, -20, seed=1)])):
        assert heard_in(listening, pcm) == []


def test_the_same_word_is_not_told_twice_at_once(listening):
    """But it is after a while, and another word is at any time."""
    first, length = word("katam"), len(word("katam")) / RATE
    soon = 0.3 + length + 0.1
    pcm = placed(5.0, (0.3, first), (soon, word("katam", 21)), (3.0, word("katam", 22)), floor=-65)
    segments = heard_in(listening, pcm)
    assert [each.word for each in segments] == ["lumos", "lumos"]
    assert segments[1].start - segments[0].end >= REFRACTORY
    pcm = placed(4.0, (0.3, first), (soon, word("eskau", 21)), floor=-65)
    assert [each.word for each in heard_in(listening, pcm)] == ["lumos", "nox"]


def test_a_word_at_the_end_of_a_sound_is_told_by_the_flush(listening):
    stream = listening.stream()
    pcm = placed(2.0, (0.5, word("katam")), floor=-65)[: round(0.5 * RATE) + len(word("katam")) - round(AROUND * RATE)]
    assert stream.feed(pcm) == []
    assert [each.word for each in stream.flush()] == ["lumos"]
    assert stream.flush() == []


def test_after_a_flush_it_is_another_stream(listening, whole, near):
    stream, pcm = listening.stream(), scene()
    for _ in range(2):  # places begin at zero again, and nothing counts as just heard
        assert near([*stream.feed(pcm), *stream.flush()], whole)
        assert (stream.level, stream.in_speech) == (0.0, False)


def test_level_and_speech_are_there_to_be_shown(listening):
    stream = listening.stream()
    assert (stream.level, stream.in_speech) == (0.0, False)
    stream.feed(placed(1.0, floor=-65))
    assert (stream.level, stream.in_speech) == (0.0, False)
    said = word("katam")
    stream.feed(said[: len(said) // 2])
    assert stream.level > 0.5
    assert stream.in_speech
    stream.feed(noise(2.0, -65))
    assert stream.level < 0.1
    assert not stream.in_speech


def test_what_is_no_sound_is_refused_and_the_stream_goes_on(listening, whole):
    stream, pcm = listening.stream(), scene()
    stream.feed(pcm[:3200])
    for block in ("lumos", [[1.0], [1.0, 2.0]], np.full(320, np.nan), np.full(320, 9e9), b"\0\0", None):
        with pytest.raises(AudioError):
            stream.feed(block)
    for rate in (0, -16_000, 1e9, float("nan")):
        with pytest.raises(AudioError, match="samples a second"):
            stream.feed(pcm[:320], rate)
    assert [each.word for each in stream.feed(pcm[3200:])] == [each.word for each in whole]


# ------------------------------------------------------------------ recordings and files


def test_a_recording_with_one_word(listening):
    detection = listening.recognise(say("katam", 20))
    assert (detection.word, detection.own) == ("lumos", True)
    assert (detection.start, detection.end) == (0.0, len(say("katam", 20)) / RATE)
    assert listening.recognise(say("imax")) is None
    for nothing in (silence(1.0), np.zeros(0), say("katam")[:100]):
        assert listening.recognise(nothing) is None
    for no_sound in ("lumos", np.full(16_000, np.inf), [[1.0], [1.0, 2.0]]):
        with pytest.raises(AudioError):
            listening.recognise(no_sound)


def test_sensitivity_is_the_apps_to_choose(taught):
    taught.sensitivity = -100.0
    assert taught.recognise(say("katam", 20)) is None
    taught.sensitivity = 10.0
    assert taught.recognise(say("imax", 20)).own


@pytest.mark.parametrize(
    ("name", "rate", "options"),
    [
        ("said.wav", RATE, {}),
        ("said.wav", 44_100, {"subtype": "PCM_24"}),
        ("said.flac", 48_000, {}),
        ("said.ogg", 48_000, {"format": "OGG", "subtype": "VORBIS"}),
    ],
)
def test_files_are_read_like_streams(listening, whole, tmp_path, name, rate, options):
    soundfile.write(tmp_path / name, soxr.resample(scene(), RATE, rate, quality="VHQ"), rate, **options)
    found = list(listening.read(tmp_path / name))
    assert [each.word for each in found] == [each.word for each in whole]
    assert [each.start for each in found] == pytest.approx([each.start for each in whole], abs=0.08)
    assert next(iter(listening.read(str(tmp_path / name)))).word == "lumos"  # and the rest is left


def test_a_file_that_is_none_is_named(listening, tmp_path):
    (tmp_path / "notes.txt").write_text("lumos")
    for name in ("notes.txt", "missing.wav"):
        with pytest.raises(AudioError, match=name):
            list(listening.read(tmp_path / name))


# ------------------------------------------------------------------ at the same time


def test_two_streams_do_not_disturb_each_other(listening, near):
    pcm, other = scene(), np.roll(scene(), 4 * RATE)
    expected = heard_in(listening, pcm), heard_in(listening, other)
    streams, found = (listening.stream(), listening.stream()), ([], [])
    for blocks in zip(in_blocks(pcm, 1600), in_blocks(other, 1600), strict=True):
        for stream, block, told in zip(streams, blocks, found, strict=True):
            told += stream.feed(block)
    for stream, told, whole in zip(streams, found, expected, strict=True):
        assert near([*told, *stream.flush()], whole)


class Listener(threading.Thread):
    """Listens to the same recording again and again, until it is told to stop."""

    def __init__(self, voice, pcm):
        super().__init__()
        self.voice, self.pcm = voice, pcm
        self.heard, self.error = [], None
        self.enough = threading.Event()

    def run(self):
        try:
            while not self.enough.is_set():
                self.heard.append([(each.word, each.own) for each in heard_in(self.voice, self.pcm)])
        except Exception as error:
            self.error = error

    def stop(self):
        self.enough.set()
        self.join()
        assert self.error is None


def test_one_thread_teaches_while_others_listen(voice):
    pcm = placed(1.5, (0.4, word("katam")), floor=-65)
    listeners = [Listener(voice, pcm) for _ in range(2)]
    for listener in listeners:
        listener.start()
    eventually(lambda: all(listener.heard for listener in listeners))
    assert not any(own for listener in listeners for found in listener.heard for _, own in found)
    voice.words.teach("lumos", takes("katam", 3))
    counts = [len(listener.heard) for listener in listeners]
    for name, other in (("nox", "eskau"), ("finite", "kimi")):
        voice.words.teach(name, takes(other, 3))
        voice.correct(voice.recognise(say(other, 20)), "left")
    eventually(lambda: all(len(one.heard) >= count + 2 for one, count in zip(listeners, counts, strict=True)))
    voice.words.delete("lumos")
    ends = [len(listener.heard) for listener in listeners]
    eventually(lambda: all(len(one.heard) >= end + 2 for one, end in zip(listeners, ends, strict=True)))
    for listener, count, end in zip(listeners, counts, ends, strict=True):
        listener.stop()
        while_taught = listener.heard[count + 1 : end]
        assert [("lumos", True)] in while_taught
        assert {word for found in while_taught for word, _ in found} == {"lumos"}
        assert not any(own for found in listener.heard[end + 1 :] for _, own in found)


def test_whoever_listens_while_other_weights_are_served_hears_by_one_or_the_other(taught, voice_files, commanded):
    """Never a sound heard by one model and compared with recordings heard by another."""
    pcm = placed(1.5, (0.4, word("katam")), floor=-65)
    listener = Listener(taught, pcm)
    listener.start()
    for _ in range(3):
        for vector in (voice_files.weights, commanded):
            taught.serve(vector)
    seen = len(listener.heard)
    eventually(lambda: len(listener.heard) > seen)
    listener.stop()
    assert all(found == [("lumos", True)] for found in listener.heard)


def test_recordings_are_heard_anew_by_other_weights(taught, voice_files):
    """What one model makes of a recording is nothing to compare another's with."""
    other = voice_files.weights * np.random.default_rng(0).uniform(0.9, 1.1, voice_files.weights.shape)
    vector = other.astype(np.float32)
    before = [recording.frames for word in taught.words.known() for recording in word.recordings]
    taught.serve(vector)
    after = [recording.frames for word in taught.words.known() for recording in word.recordings]
    recogniser = Recogniser(voice_files, vector)
    expected = [recogniser.utterance(SpokenSound(each.features)).frames for each in taught.recordings.all()]
    assert all(np.array_equal(one, other) for one, other in zip(after, expected, strict=True))
    assert not any(np.allclose(one, other) for one, other in zip(before, after, strict=True))
    assert [taught.recognise(say(word, 20)).word for word in ("katam", "eskau")] == ["lumos", "nox"]


def test_other_weights_are_served_at_once(taught, voice_files, commanded):
    assert taught.recognise(say(COMMANDS["up"], 20)).word == "up"
    deaf = commanded.copy()
    voice_files.manifest.split(deaf)["head_bias"][voice_files.labels.index("unknown")] += 1000
    taught.serve(deaf)
    assert taught.recognise(say(COMMANDS["up"], 20)) is None
    assert taught.recognise(say("katam", 20)).word == "lumos"
    with pytest.raises(ModelError):
        taught.serve(commanded[1:])
    assert taught.recognise(say("katam", 20)).word == "lumos"


def test_a_segment_is_answered_within_milliseconds(voice):
    """Ten words of five recordings each. Of processor time, as other tests may run beside it."""
    names = ("katam", "eskau", "atofe", "kimi", "souf", "imax", "sexunex", "nufixuf", "unafi", "xoket")
    for name in names:
        voice.words.teach(f"the word {name}", takes(name, 5))
    sound = SpokenSound.of(say("katam", 20))
    spent = []
    for _ in range(10):
        began = time.thread_time()
        voice._repertoires.now().recognise(sound)
        spent.append(time.thread_time() - began)
    assert min(spent) < 0.03


def test_a_recording_is_heard_by_the_model_once(voice, monkeypatch):
    """Teaching one word more does not cost more the more words there are."""
    voice.words.teach("lumos", takes("katam", 5))
    voice.recognise(say("katam", 20))
    embedded = []
    embed = VoiceModel.embed
    monkeypatch.setattr(VoiceModel, "embed", lambda model, features: embedded.append(1) or embed(model, features))
    voice.words.teach("nox", takes("eskau", 1))
    assert len(embedded) <= 2  # for the answer, and as it is kept
    embedded.clear()
    voice.recognise(say("katam", 20))
    assert len(embedded) == 1


def test_a_stream_is_ready_when_it_is_given(make_voice, monkeypatch):
    """The first word must wait neither for the runtime nor for recordings to be compared."""
    make_voice().words.teach("lumos", takes("katam", 3))
    voice = make_voice()
    stream = voice.stream()
    monkeypatch.setattr("ai_edge_litert.interpreter.Interpreter", None)
    monkeypatch.setattr(voice._repertoires._builder, "_built", None)
    assert [each.word for each in stream.feed(scene()) if each.own] == ["lumos", "lumos"]


# ------------------------------------------------------------------ what is kept, and where


def pieces(array):
    """Samples of the bytes that would be found wherever an array was written, as it is or as float16."""
    for content in (array.astype("<f4").tobytes(), array.astype("<f2").tobytes(), array.astype("<f8").tobytes()):
        yield from (content[start : start + 24] for start in range(0, len(content) - 24, 4096))


def test_nothing_that_was_said_is_anywhere_in_clear(taught, tmp_path):
    said = [say("katam", 0), say("katam", 20), say("atofe", 20)]
    taught.confirm(taught.recognise(said[1]))
    taught.correct(taught.recognise(said[2]), None)
    list(taught.stream().feed(scene()))
    everything = on_disk(tmp_path / "obeying" / "store.db")
    assert len(everything) > 50_000
    for pcm in said:
        sound = SpokenSound.of(pcm)
        assert not any(piece in everything for piece in pieces(pcm) if any(piece))
        assert not any(piece in everything for piece in pieces(sound.features))
    assert [path.name for path in tmp_path.iterdir()] == ["obeying"]
    assert all(path.name.startswith("store.db") for path in (tmp_path / "obeying").iterdir())


def test_what_is_kept_is_of_features_only(taught):
    taught.confirm(taught.recognise(say("katam", 20)))
    tables = [name for (name,) in taught._store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    kept = dict.fromkeys(tables, 0)  # bytes that are no text and no number
    for table in tables:
        for row in taught._store.execute(f"SELECT * FROM {table}"):
            kept[table] += sum(len(value) for value in row if isinstance(value, bytes))
    sounds = [SpokenSound.of(pcm) for pcm in (*takes("katam", 3), *takes("eskau", 3), say("katam", 20))]
    assert kept.pop("recordings") == sum(2 * sound.features.size for sound in sounds)  # float16
    assert not any(kept.values())


def test_a_closed_store_is_an_error_that_says_so(taught):
    taught._store.close()
    with pytest.raises(StoreError, match="closed"):
        taught.recognise(say("katam", 20))


def test_without_webrtcvad_it_says_what_to_install(listening, monkeypatch):
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    with pytest.raises(VoiceError, match=r"webrtcvad-wheels.*pip install 'hushfold\[voice\]'"):
        listening.stream()
    assert listening.recognise(say("katam", 20)).word == "lumos"  # needs none
