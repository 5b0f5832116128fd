"""A user teaches words, and takes them along, and they are gone when they are deleted."""

import base64
import gc
import json
import weakref
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from made_up_words import COMMANDS, WORDS, say, takes
from synthetic_speech import noise, placed, silence
from synthetic_speech import voice as vowel

from hushfold.errors import RecordingRefused, VoiceError, WordRefused
from hushfold.voice import spoken_words
from hushfold.voice.recognition import Recogniser, away
from hushfold.voice.recordings import MOST_TAUGHT, Kind
from hushfold.voice.repertoire import MOST_OF_WORD
from hushfold.voice.sound import SpokenSound
from hushfold.voice.spoken_words import LONGEST_NAME, SpokenWord
from hushfold.voice.stream import Detection
from hushfold_format.logmel import BANDS

INFINITE = base64.b64encode(np.full((20, BANDS), np.inf, "<f2").tobytes())
IN_PLACE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)


def heard(voice, word, take=20):
    """The name of what is recognised as a word of the user's."""
    detection = voice.recognise(say(word, take))
    return detection.word if detection and detection.own else None


def taught_two(voice):
    voice.words.teach("lumos", takes("katam", 3))
    voice.words.teach("nox", takes("eskau", 3))
    return voice


@pytest.fixture
def taught(voice):
    """A voice that knows two words."""
    return taught_two(voice)


@pytest.fixture(scope="module")
def settled(make_shared_voice):
    """The same, for tests that must change nothing of it."""
    return taught_two(make_shared_voice("settled"))


# ------------------------------------------------------------------ teaching


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_a_word_is_taught_with_one_to_five_recordings(voice, count):
    answer = voice.words.teach("lumos", takes("katam", count))
    assert answer.word == SpokenWord("lumos", count)
    assert (answer.unlike, voice.words.all()) == ((), [answer.word])
    assert heard(voice, "katam") == "lumos"
    for other in WORDS[1:]:
        assert heard(voice, other) is None
    assert voice.recognise(silence(1.0)) is None


def test_words_are_told_apart(taught):
    assert [heard(taught, word) for word in ("katam", "eskau", "atofe")] == ["lumos", "nox", None]
    assert taught.words.all() == [SpokenWord("lumos", 3), SpokenWord("nox", 3)]


def test_any_recording_of_an_app_will_do(voice):
    """Integers, two channels, quiet or loud; and none is changed."""
    pcm = say("katam")
    integers = np.round(pcm * 32767).astype(np.int16)
    before = integers.copy()
    voice.words.teach("lumos", [integers, np.stack([say("katam", 1)] * 2, axis=1), 0.05 * say("katam", 2)])
    assert np.array_equal(integers, before)
    assert heard(voice, "katam") == "lumos"
    assert voice.recognise(0.05 * say("katam", 20)).word == "lumos"


def test_of_more_than_five_recordings_the_newest_are_kept(voice):
    voice.words.teach("lumos", takes("katam", 4))
    assert voice.words.teach("lumos", takes("katam", 3, first=4)).word.recordings == MOST_TAUGHT
    newest = [recording.features for recording in voice.recordings.all()]
    expected = [voice.recognise(say("katam", take)).sound.features for take in range(2, 7)]
    assert all(np.allclose(ours, theirs, atol=0.01) for ours, theirs in zip(newest, expected, strict=True))


def test_the_same_recording_counts_once(voice):
    """Or the word would be taken to sound just so, always."""
    pcm = say("katam")
    assert voice.words.teach("lumos", [pcm, pcm, say("katam", 1)]).word.recordings == 2
    assert voice.words.teach("lumos", [pcm]).word.recordings == 2
    assert heard(voice, "katam") == "lumos"


@pytest.mark.parametrize(
    ("recording", "message"),
    [
        (silence(1.0), "silent"),
        (vowel(1.0)[:1600], "too short"),
        (silence(0), "too short"),
        (placed(1.0, (0.5, vowel(0.02)), floor=-90), "too little for a word"),
        (np.full(16_000, np.nan), "not numbers"),
        (b"lumos", "type bytes"),
        ("lumos.wav", "there is no file lumos.wav"),
        (0.5 * np.ones(16_000), "no word in it: it is as loud all the time"),
        (0.3 * np.sin(np.arange(16_000) / 51), "no word in it"),
        (noise(1.0, -20), "no word in it"),
        ([[0.0], [0.0, 1.0]], "cannot be made"),
    ],
    ids=["silence", "short", "empty", "click", "nan", "bytes", "file", "constant", "hum", "noise", "ragged"],
)
def test_a_recording_of_no_use_is_refused_by_its_number_and_nothing_is_learned(voice, recording, message):
    with pytest.raises(RecordingRefused, match=rf"recording 2.*{message}") as caught:
        voice.words.teach("lumos", [say("katam"), recording])
    assert caught.value.advice
    assert voice.words.all() == []
    assert voice.recordings.all() == []


@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000])
def test_a_word_is_taught_from_files_and_from_samples_at_any_rate(voice, tmp_path, rate):
    recordings = [soxr.resample(pcm, 16_000, rate) for pcm in takes("katam", 3)]
    paths = [tmp_path / f"take {number}.wav" for number in range(3)]
    for path, pcm in zip(paths, recordings, strict=True):
        soundfile.write(path, pcm, rate)
    assert voice.words.teach("files", [paths[0], str(paths[1]), paths[2]]).word.recordings == 3
    assert voice.recognise(paths[0]).word == "files"
    voice.words.delete("files")
    assert voice.words.teach("samples", recordings, rate).word.recordings == 3
    assert voice.recognise(soxr.resample(say("katam", 4), 16_000, rate), rate).word == "samples"
    with pytest.raises(RecordingRefused, match="recording 1: audio with '16000' samples a second"):
        voice.words.teach("other", recordings, "16000")


@pytest.mark.parametrize("given", ["take.wav", b"samples", Path("take.wav")])
def test_one_recording_is_given_in_a_list(voice, given):
    with pytest.raises(RecordingRefused, match=r"a list of them is taken. Give a list"):
        voice.words.teach("lumos", given)


def test_a_file_of_more_than_a_minute_is_no_recording_of_a_word(voice, tmp_path):
    soundfile.write(tmp_path / "hour.wav", np.tile(say("katam"), 80), 16_000)
    with pytest.raises(RecordingRefused, match=r"recording 1: .*hour.wav is longer than 60 s"):
        voice.words.teach("lumos", [tmp_path / "hour.wav"])


@pytest.mark.parametrize("name", ["\u200b", "LEFT", "Zero"])
def test_a_name_is_seen_and_none_of_a_command(voice, name):
    with pytest.raises(WordRefused):
        voice.words.teach(name, [say("katam")])


@pytest.mark.parametrize("count", [0, 6])
def test_no_recordings_and_too_many_are_refused(voice, count):
    with pytest.raises(RecordingRefused, match=f"{count} recordings"):
        voice.words.teach("lumos", takes("katam", count))


def test_there_is_a_limit_to_the_words(voice, monkeypatch):
    monkeypatch.setattr(spoken_words, "MOST_WORDS", 2)
    for number, word in enumerate(WORDS[:2]):
        voice.words.teach(f"word {number}", [say(word)])
    with pytest.raises(RecordingRefused, match="more than 2 words"):
        voice.words.teach("one more", [say("atofe")])
    voice.words.teach("word 0", [say(WORDS[0], 1)])  # known already
    assert len(voice.words.all()) == 2


# ------------------------------------------------------------------ what the user is told


def test_a_recording_that_is_unlike_the_others_is_named(voice):
    answer = voice.words.teach("lumos", [say("katam", 0), say("eskau", 1), say("katam", 2)])
    assert answer.unlike == (1,)
    assert voice.words.teach("nox", [say("atofe", 0), say("kimi", 1)]).unlike == ()  # which of the two is it?


def test_it_is_counted_among_those_that_were_given(voice):
    voice.words.teach("lumos", takes("katam", 3))
    assert voice.words.teach("lumos", [say("katam", 3), say("eskau")]).unlike == (1,)


def test_words_that_sound_alike_are_named(taught):
    answer = taught.words.teach("another", takes("katam", 2, first=5))
    assert "lumos" in answer.too_close_to
    assert not {"nox", "another"} & set(answer.too_close_to)


def test_so_is_a_command_that_sounds_alike(obeying):
    assert "left" in obeying.words.teach("lumos", takes(COMMANDS["left"], 3)).too_close_to
    assert obeying.words.teach("nox", takes("souf", 3)).too_close_to == ()


# ------------------------------------------------------------------ names


@pytest.mark.parametrize("name", ["", "  ", "two\nlines", "bell\a", "x" * (LONGEST_NAME + 1), "\ud800", "a\u2028b"])
def test_what_is_no_name_is_refused(settled, name):
    for attempt in (
        lambda: settled.words.teach(name, takes("atofe", 1)),
        lambda: settled.words.rename("lumos", name),
        lambda: settled.words.import_words(settled.words.export().replace(b"lumos", json.dumps(name).encode()[1:-1])),
    ):
        with pytest.raises(WordRefused, match="is no name"):
            attempt()
    assert [word.name for word in settled.words.all()] == ["lumos", "nox"]


def test_a_command_keeps_its_name(settled):
    for name in (*settled.commands, "unknown", "silence"):
        with pytest.raises(WordRefused, match="known without being taught"):
            settled.words.teach(name, takes("atofe", 1))
        with pytest.raises(WordRefused, match="known without being taught"):
            settled.words.rename("lumos", name)


@IN_PLACE
@given(st.text(min_size=1, max_size=LONGEST_NAME))
@example("می‌خواهم")  # with a zero-width non-joiner
@example("धन्यवाद")
@example("hey, computer! 👩‍💻")
@example("'; DROP TABLE recordings; --")
def test_a_name_is_any_text_of_one_line(voice, name):
    try:
        given_name = voice.words.teach(name, [say("katam")]).word.name
    except WordRefused:
        return
    assert given_name == name.strip()
    assert voice.recognise(say("katam", 20)).word == given_name
    assert voice.words.import_words(voice.words.export()) == [SpokenWord(given_name, 1)]
    voice.words.delete(given_name)
    assert voice.words.all() == []


# ------------------------------------------------------------------ afterwards


def test_renamed_it_is_recognised_by_its_new_name(taught):
    taught.confirm(taught.recognise(say("katam", 20)))
    taught.words.rename("lumos", "licht")
    assert heard(taught, "katam") == "licht"
    assert {recording.word for recording in taught.recordings.all()} == {"licht", "nox"}
    taught.words.rename("licht", "licht")
    with pytest.raises(WordRefused, match="'lumos'"):
        taught.words.rename("lumos", "light")
    with pytest.raises(WordRefused, match="'nox' already"):
        taught.words.rename("licht", "nox")
    assert heard(taught, "katam") == "licht"


def test_deleted_it_is_not_recognised_and_the_others_are(taught):
    taught.confirm(taught.recognise(say("katam", 20)))
    taught.words.delete("lumos")
    assert [heard(taught, word) for word in ("katam", "eskau")] == [None, "nox"]
    assert {recording.word for recording in taught.recordings.all()} == {"nox"}
    for name in ("lumos", "never taught", "left"):
        with pytest.raises(WordRefused, match=f"no word '{name}'"):
            taught.words.delete(name)


def forget(voice):
    voice.words.delete("lumos")


def switch_off(voice):
    voice.learning_enabled = False


@pytest.mark.parametrize("end", [forget, switch_off])
def test_what_is_deleted_does_not_stay_in_memory(taught, end):
    (word,) = [word for word in taught.words.known() if word.name == "lumos"]
    traces = [weakref.ref(recording) for recording in word.recordings]
    del word
    assert all(trace() is not None for trace in traces)
    end(taught)
    gc.collect()
    assert [trace() for trace in traces] == [None] * 3


def test_words_survive_a_restart(make_voice):
    make_voice().words.teach("lumos", takes("katam", 3))
    again = make_voice()
    assert again.words.all() == [SpokenWord("lumos", 3)]
    assert heard(again, "katam") == "lumos"
    assert heard(again, "eskau") is None


def test_words_survive_other_weights(taught, commanded):
    taught.serve(commanded)
    assert [heard(taught, word) for word in ("katam", "eskau", "souf")] == ["lumos", "nox", None]


def test_a_word_that_was_confirmed_is_known_better(voice, voice_files):
    """The user says it in another way, too."""
    another = {"pitch": 210.0, "tract": 1.15}
    spoken = Recogniser(voice_files, voice_files.weights).utterance(SpokenSound.of(say("katam", 21, **another)))
    voice.words.teach("lumos", takes("katam", 3))
    before = away(spoken, voice.words.known())["lumos"]
    for take in range(MOST_OF_WORD + 2):
        sound = SpokenSound.of(say("katam", take, **another))
        assert voice.confirm(Detection("lumos", 0.5, 0.0, 1.0, own=True, sound=sound)) is None  # nothing to be proven
    (word,) = voice.words.known()
    assert away(spoken, [word])["lumos"] < before
    assert len(word.recordings) == 3 + MOST_OF_WORD
    assert voice.words.all() == [SpokenWord("lumos", 3)]  # these are no part of the word


# ------------------------------------------------------------------ taken along


def test_words_go_from_one_device_to_another(taught, make_voice):
    other = make_voice("tablet")
    other.words.teach("lumos", [say("katam", 9)])
    other.words.teach("here", [say("kimi")])
    content = taught.words.export()
    everything = [SpokenWord("here", 1), SpokenWord("lumos", 4), SpokenWord("nox", 3)]
    assert other.words.import_words(content) == everything
    assert [heard(other, word) for word in ("katam", "eskau", "kimi", "souf")] == ["lumos", "nox", "here", None]
    assert other.words.import_words(content) == everything  # again changes nothing
    assert {recording.kind for recording in other.recordings.all()} == {Kind.TAUGHT}


def test_an_export_has_what_is_kept_and_no_more(taught, make_voice):
    taught.correct(taught.recognise(say("katam", 20)), "left")
    exported = json.loads(taught.words.export())
    assert {name: len(recordings) for name, recordings in exported["words"].items()} == {"lumos": 3, "nox": 3}
    other = make_voice("tablet")
    other.words.import_words(taught.words.export())
    for ours, theirs in zip(taught.recordings.all((Kind.TAUGHT,)), other.recordings.all(), strict=True):
        assert (ours.word, ours.kind) == (theirs.word, theirs.kind)
        assert np.array_equal(ours.features, theirs.features)
    assert make_voice("empty").words.import_words(make_voice("nothing").words.export()) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-10],
        lambda content: b"\xff" + content,
        lambda content: content.replace(b"words/1", b"words/2"),
        lambda content: b"[]",
        lambda content: b'{"format": "hushfold-spoken-words/1"}',
        lambda content: b'{"format": "hushfold-spoken-words/1", "words": ["lumos"]}',
        lambda content: b'{"format": "hushfold-spoken-words/1", "words": {"lumos": "AAAA"}}',
        lambda content: b'{"format": "hushfold-spoken-words/1", "words": {"lumos": [1]}}',
        lambda content: b'{"format": "hushfold-spoken-words/1", "words": {"lumos": [""]}}',
        lambda content: b"[" * 100_000,
        lambda content: content.replace(b"A", b"!"),
        lambda content: b'{"format": "hushfold-spoken-words/1", "words": {"lumos": ["%b"]}}' % INFINITE,
    ],
)
def test_what_is_no_export_is_refused_and_changes_nothing(settled, damage):
    content = damage(settled.words.export())
    with pytest.raises(RecordingRefused):
        settled.words.import_words(content)
    assert settled.words.all() == [SpokenWord("lumos", 3), SpokenWord("nox", 3)]


@IN_PLACE
@given(st.data())
def test_whatever_happens_to_an_export_only_the_right_errors_come(settled, data):
    content = bytearray(settled.words.export()[:2000] + settled.words.export()[-300:])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with pytest.raises((RecordingRefused, WordRefused)):
        settled.words.import_words(bytes(content))


def test_a_huge_export_is_not_even_read(settled, monkeypatch):
    content = settled.words.export()
    monkeypatch.setattr(spoken_words, "_LARGEST", len(content) - 1)
    with pytest.raises(RecordingRefused, match="no export"):
        settled.words.import_words(content)


def test_while_learning_is_off_no_word_is_taken(taught):
    content = taught.words.export()
    taught.learning_enabled = False
    for attempt in (
        lambda: taught.words.teach("lumos", takes("katam", 3)),
        lambda: taught.words.import_words(content),
    ):
        with pytest.raises(VoiceError, match="switched off"):
            attempt()
    assert taught.words.all() == []
    assert heard(taught, "katam") is None
