"""What was said is kept encrypted and within limits, and goes for good when its user wants it gone."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_pages import decrypted, on_disk
from synthetic_speech import voice

from hushfold import store as store_module
from hushfold.clock import ManualClock
from hushfold.errors import RecordingRefused, StoreError, StoreLocked, VoiceError, WordRefused
from hushfold.store import Checkpoint, Store
from hushfold.voice.recordings import MOST_TAUGHT, Kind, Recordings
from hushfold.voice.sound import LONGEST
from hushfold_format.logmel import BANDS, log_mel

KEY = bytes(range(32))
DAY = 86_400.0
WORD = "expelliarmus"
TAUGHT, CONFIRMED, CORRECTED, REJECTED = Kind
NUMBERS = itertools.count()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "phone" / "store.db"


@pytest.fixture
def store(path):
    with Store(path, KEY) as opened:
        yield opened


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def recordings(store, clock):
    return Recordings(store, clock)


def said(seed=None, frames=30):
    """Features that no other seed has; without one, that nothing else has."""
    seed = 1000 + next(NUMBERS) if seed is None else seed
    return np.random.default_rng(seed).uniform(-14, 6, (frames, BANDS)).astype(np.float32)


def pieces_in(content, features):
    """How many pieces of the kept features are there, and of how many: a few straddle two pages."""
    blob = features.astype("<f2").tobytes()
    pieces = [blob[start : start + 32] for start in range(0, len(blob) - 32, 320)]
    return sum(piece in content for piece in pieces), len(pieces)


def trained(store):
    """Weights and a checkpoint of both halves, as if trained."""
    for name in ("voice/commands", "next-word"):
        store.save_learned(name, b"weights")
        store.save_checkpoint(Checkpoint(name, bytes(32), 1, 7, b"weights"))


def what_is_trained(store):
    names = {name for (name,) in store.execute("SELECT name FROM learned")}
    assert names == {task for (task,) in store.execute("SELECT task FROM training_sessions")}
    return names


# ------------------------------------------------------------------ what is said


def test_recordings_come_back_as_they_were_said(recordings, clock):
    spoken = log_mel(voice(1.0))
    first = recordings.add(WORD, TAUGHT, spoken)
    clock.advance(5)
    second = recordings.add(None, REJECTED, said(1, LONGEST))
    one, two = recordings.all()
    assert (one.id, one.word, one.kind, one.spoken_at) == (first, WORD, TAUGHT, clock.now() - 5)
    assert (two.id, two.word, two.kind, two.spoken_at) == (second, None, REJECTED, clock.now())
    assert one.features.dtype == np.float32
    assert one.features == pytest.approx(spoken, abs=0.004)  # float16
    assert two.features.shape == (LONGEST, BANDS)


def test_kinds_and_words_are_told_apart(recordings):
    kept = [(WORD, TAUGHT), ("zero", CORRECTED), (None, REJECTED), (WORD, CONFIRMED), ("alohomora", TAUGHT)]
    ids = [recordings.add(word, kind, said()) for word, kind in kept]
    assert [each.id for each in recordings.all()] == ids
    assert [each.id for each in recordings.all((TAUGHT,))] == [ids[0], ids[4]]
    assert [each.id for each in recordings.all([REJECTED, CORRECTED])] == ids[1:3]
    assert recordings.all(()) == []
    assert [each.id for each in recordings.of(WORD)] == [ids[0], ids[3]]
    assert recordings.words() == ["alohomora", WORD]


@pytest.mark.parametrize(
    "features",
    [said(frames=0), said(frames=LONGEST + 1), said()[:, 1:], said()[0], np.full((3, BANDS), np.nan), said() * 1e4],
    ids=["empty", "too long", "bands", "one frame flat", "not a number", "too large for float16"],
)
def test_what_is_no_recording_is_refused_with_all_that_came_along(recordings, features):
    with pytest.raises(RecordingRefused):
        recordings.add_all(WORD, TAUGHT, [said(), features])
    with pytest.raises(RecordingRefused):
        recordings.add_words({"alohomora": [said()], WORD: [features]})
    assert recordings.all() == []


def test_a_word_goes_with_every_kind_but_rejected(recordings):
    for word, kind in ((None, TAUGHT), (None, CONFIRMED), (WORD, REJECTED)):
        with pytest.raises(ValueError, match=kind):
            recordings.add(word, kind, said())
    with pytest.raises(WordRefused, match="no name"):
        recordings.add("  ", TAUGHT, said())


# ------------------------------------------------------------------ limits


def test_examples_go_after_their_time_and_taught_words_stay(store, clock):
    recordings = Recordings(store, clock, ttl=10 * DAY)
    recordings.add(WORD, TAUGHT, said())
    for word, kind in (("zero", CONFIRMED), ("one", CORRECTED), (None, REJECTED)):
        recordings.add(word, kind, said())
    trained(store)
    clock.advance(10 * DAY)
    recordings.add("two", CONFIRMED, said())
    assert [each.word for each in recordings.all()] == [WORD, "zero", "one", None, "two"]
    clock.advance(1)
    recordings.add("three", CONFIRMED, said())
    assert [each.word for each in recordings.all()] == [WORD, "two", "three"]
    assert what_is_trained(store) == {"voice/commands", "next-word"}  # as for messages


def test_time_runs_out_without_anything_new(store, clock):
    Recordings(store, clock).add("zero", CONFIRMED, said())
    clock.advance(91 * DAY)
    assert Recordings(store, clock).all() == []


def test_the_quota_keeps_the_newest_examples_and_every_taught_word(store, clock):
    recordings = Recordings(store, clock, quota=3)
    for number in range(5):
        recordings.add(f"word {number}", TAUGHT, said())
    for number, kind in enumerate((CONFIRMED, CORRECTED, CONFIRMED, REJECTED, CONFIRMED)):
        clock.advance(1)
        recordings.add(None if kind is REJECTED else f"{number}", kind, said())
    assert [each.word for each in recordings.all(tuple(Kind)[1:])] == ["2", None, "4"]
    assert len(recordings.words()) == 5


def test_a_word_keeps_its_newest_recordings(recordings):
    recordings.add("alohomora", TAUGHT, said())
    ids = [recordings.add(WORD, TAUGHT, said(number)) for number in range(4)]
    ids += recordings.add_all(WORD, TAUGHT, [said(number) for number in range(4, 7)])
    assert [each.id for each in recordings.of(WORD)] == ids[-MOST_TAUGHT:]
    assert len(recordings.of("alohomora")) == 1


EVENTS = st.lists(st.tuples(st.sampled_from(Kind), st.sampled_from(["a", "b"]), st.sampled_from([0.0, 1.0, 40.0])))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS)
def test_the_limits_hold_whatever_is_said(store, events):
    store.wipe()
    clock = ManualClock()
    recordings = Recordings(store, clock, ttl=50, quota=4)
    expected = []
    for kind, word, pause in events:
        clock.advance(pause)
        word = None if kind is REJECTED else word
        expected.append((recordings.add(word, kind, said(frames=1)), word, kind, clock.now()))
        examples = [each for each in expected if each[2] is not TAUGHT and each[3] >= clock.now() - 50][-4:]
        own = [[each for each in expected if each[1:3] == (name, TAUGHT)][-MOST_TAUGHT:] for name in "ab"]
        expected = sorted(examples + own[0] + own[1])
        assert [(each.id, each.word, each.kind, each.spoken_at) for each in recordings.all()] == expected


@pytest.mark.parametrize(("word", "kind"), [("zero", CONFIRMED), ("one", CORRECTED), (None, REJECTED)])
def test_of_one_sound_the_last_word_counts_and_once(recordings, word, kind):
    features = said()
    taught = recordings.add(WORD, TAUGHT, features)  # which is the word, and no opinion of a detection
    other = recordings.add("one", CONFIRMED, said())
    for before, its_kind in (("zero", CORRECTED), (None, REJECTED), ("one", CONFIRMED), (word, kind)):
        last = recordings.add(before, its_kind, features)
    assert [(each.id, each.word, each.kind) for each in recordings.all()] == [
        (taught, WORD, TAUGHT),
        (other, "one", CONFIRMED),
        (last, word, kind),
    ]


# ------------------------------------------------------------------ renaming and deleting


def test_a_word_keeps_its_recordings_under_another_name(recordings):
    ids = [recordings.add(WORD, kind, said()) for kind in (TAUGHT, TAUGHT, CONFIRMED)]
    other = recordings.add("zero", CORRECTED, said())
    recordings.rename(WORD, "expecto")
    assert [each.id for each in recordings.of("expecto")] == ids
    assert (recordings.of(WORD), [each.id for each in recordings.of("zero")]) == ([], [other])
    recordings.rename("expecto", "expecto")
    assert recordings.words() == ["expecto"]


def test_a_name_that_is_taken_or_unknown_is_refused(recordings):
    recordings.add(WORD, TAUGHT, said())
    recordings.add("zero", CORRECTED, said())
    for old, new, why in ((WORD, "zero", "already"), ("zero", "one", "was taught"), (WORD, " ", "no name")):
        with pytest.raises(WordRefused, match=why):
            recordings.rename(old, new)
    assert [each.word for each in recordings.all()] == [WORD, "zero"]


def test_what_was_trained_goes_with_a_recording_and_no_other_half_does(store, recordings):
    number = recordings.add("zero", CONFIRMED, said())
    recordings.add(WORD, TAUGHT, said())
    for delete in (lambda: recordings.delete_recording(number), lambda: recordings.delete(WORD)):
        trained(store)
        recordings.delete("nothing")
        recordings.delete_recording(99)
        assert what_is_trained(store) == {"voice/commands", "next-word"}
        assert delete() == 1
        assert what_is_trained(store) == {"next-word"}
    assert recordings.all() == []


def test_a_word_goes_with_its_last_taught_recording(recordings):
    first, second = recordings.add_all(WORD, TAUGHT, [said(), said()])
    example = recordings.add(WORD, CONFIRMED, said())
    recordings.add("zero", CONFIRMED, said())
    assert recordings.delete_recording(first)
    assert [each.id for each in recordings.of(WORD)] == [second, example]
    assert recordings.delete_recording(second)
    assert [each.word for each in recordings.all()] == ["zero"]
    assert not recordings.delete_recording(second)
    assert recordings.add(WORD, TAUGHT, said()) > example  # never given out twice


def test_changes_tell_when_words_in_memory_are_stale(store, recordings, path, clock):
    seen = [recordings.changes]

    def changed():
        seen.append(recordings.changes)
        return seen[-1] > seen[-2]

    number = recordings.add(WORD, TAUGHT, said())
    assert changed()
    recordings.all(), recordings.expire(), recordings.delete("nothing"), store.add_message("hello", clock.now())
    assert not changed()
    recordings.rename(WORD, "expecto")
    assert changed()
    with Store(path, KEY) as other:
        Recordings(other, clock).add("zero", CONFIRMED, said())
        assert changed()
    recordings.delete_recording(number)
    assert changed()
    store.wipe()
    assert changed()


# ------------------------------------------------------------------ switching learning off


def test_switched_off_nothing_is_kept_and_nothing_stays(store, recordings, path, clock):
    recordings.add_all(WORD, TAUGHT, [said(), said()])
    recordings.add(None, REJECTED, said())
    trained(store)
    assert recordings.learning_enabled
    recordings.learning_enabled = False
    assert recordings.all() == []
    assert what_is_trained(store) == {"next-word"}
    for word, kind in ((WORD, TAUGHT), ("zero", CONFIRMED), (None, REJECTED)):
        with pytest.raises(VoiceError, match=r"switched off.*Switch it on"):
            recordings.add(word, kind, said())
    with Store(path, KEY) as reopened:
        again = Recordings(reopened, clock)
        assert not again.learning_enabled
        assert again.all() == []
        reopened.wipe()
        assert not again.learning_enabled
        again.learning_enabled = True
    recordings.add(WORD, TAUGHT, said())
    assert recordings.words() == [WORD]


def test_nothing_is_kept_once_switching_off_has_returned(recordings):
    said_enough = threading.Barrier(3, timeout=60)
    refused = []

    def speak():
        for number in range(100_000):
            try:
                recordings.add("zero", CONFIRMED, said())
            except VoiceError as error:
                refused.append(error)
                return
            if number == 5:
                said_enough.wait()

    speakers = [threading.Thread(target=speak) for _ in range(2)]
    for speaker in speakers:
        speaker.start()
    said_enough.wait()
    recordings.learning_enabled = False
    at_once = recordings.all()
    for speaker in speakers:
        speaker.join()
    assert at_once == recordings.all() == []
    assert len(refused) == 2


def test_switching_off_waits_for_what_is_being_kept(store, path, clock, monkeypatch):
    """Between the look at the setting and the recording that is kept, another process cannot switch learning off."""
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT", 0.01)
    with Store(path, KEY) as other_store:
        other = Recordings(other_store, clock)
        locked = []

        class Interrupting(ManualClock):
            def now(self):
                if self.monotonic():
                    with pytest.raises(StoreLocked):
                        other.learning_enabled = False
                    locked.append(True)
                return super().now()

        interrupting = Interrupting()
        recordings = Recordings(store, interrupting)
        interrupting.advance(1)
        recordings.add("zero", CONFIRMED, said())
        assert locked
        other.learning_enabled = False
        assert recordings.all() == []


def test_threads_share_the_recordings(recordings):
    first = {"zero": 0, "one": 10}

    def speak(word):
        for number in range(10):
            recordings.add(word, CONFIRMED, said(first[word] + number))

    speakers = [threading.Thread(target=speak, args=(word,)) for word in ("zero", "one")]
    for speaker in speakers:
        speaker.start()
    for speaker in speakers:
        speaker.join()
    for word in ("zero", "one"):
        kept = recordings.of(word)
        assert [each.features[0, 0] for each in kept] == [
            np.float16(said(first[word] + number)[0, 0]) for number in range(10)
        ]
    assert len(recordings.all()) == 20


# ------------------------------------------------------------------ on the disk


def test_nothing_that_was_said_can_be_read_without_the_key(store, recordings, path):
    features = [said(number, LONGEST) for number in range(10)]
    for each in features:
        recordings.add(WORD, CONFIRMED, each)

    def found(content):
        return [pieces_in(content, each)[0] for each in features], WORD.encode() in content

    assert path.with_name("store.db-wal").stat().st_size > 0
    assert found(on_disk(path)) == ([0] * 10, False)
    store.close()
    assert found(on_disk(path)) == ([0] * 10, False)
    pieces, word = found(decrypted(path, KEY))  # with the key they are there, so the search can find them
    assert min(pieces) > 0.9 * pieces_in(b"", features[0])[1]
    assert word


def switch_off(recordings, store):
    recordings.learning_enabled = False


@pytest.mark.parametrize(
    "forget",
    [
        switch_off,
        lambda recordings, store: recordings.delete(WORD),
        lambda recordings, store: [recordings.delete_recording(each.id) for each in recordings.of(WORD)],
        lambda recordings, store: store.wipe(),
    ],
    ids=["switched off", "word", "one by one", "wipe"],
)
def test_not_even_the_key_brings_it_back(store, recordings, path, forget):
    features = [said(number, LONGEST) for number in range(4)]
    recordings.add_all(WORD, TAUGHT, features[:3])
    recordings.add(WORD, CONFIRMED, features[3])
    store.save_learned("voice/commands", features[0].tobytes())
    store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    there = decrypted(path, KEY)
    assert all(pieces_in(there, each)[0] > 30 for each in features)
    recordings.add(WORD, TAUGHT, said(5))  # so that the log holds something, too
    forget(recordings, store)
    assert path.with_name("store.db-wal").stat().st_size == 0
    left = decrypted(path, KEY)
    assert [pieces_in(left, each)[0] for each in (*features, said(5))] == [0] * 5
    assert WORD.encode() not in left
    assert features[0].tobytes()[:400] not in left
    assert recordings.all() == []


@pytest.mark.parametrize(
    "attempt",
    [
        switch_off,
        lambda recordings, store: recordings.delete(WORD),
        lambda recordings, store: recordings.delete_recording(recordings.of(WORD)[0].id),
    ],
    ids=["switched off", "word", "recording"],
)
def test_a_deletion_that_fails_changes_nothing(store, recordings, attempt):
    recordings.add(WORD, TAUGHT, said())
    recordings.add("zero", CONFIRMED, said())
    trained(store)
    store.execute("CREATE TEMP TRIGGER deny BEFORE DELETE ON learned BEGIN SELECT RAISE(ABORT, 'denied'); END")
    with pytest.raises(StoreError, match="denied"):
        attempt(recordings, store)
    assert [each.word for each in recordings.all()] == [WORD, "zero"]
    assert recordings.learning_enabled
    assert what_is_trained(store) == {"voice/commands", "next-word"}


def test_a_full_disk_keeps_what_was_there(store, clock):
    recordings = Recordings(store, clock, quota=2)
    ids = [recordings.add("zero", CONFIRMED, said(number, 10)) for number in range(2)]
    ((pages,),) = store.execute("PRAGMA page_count")
    store.execute(f"PRAGMA max_page_count = {pages + 6}")
    with pytest.raises(StoreError, match=r"no room left .*full\. Make room"):  # the first would fit
        recordings.add_words({WORD: [said(2, LONGEST), said(3, LONGEST)]})
    assert [each.id for each in recordings.all()] == ids


def test_a_store_from_before_there_were_recordings_is_taken_over(path, clock, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(store_module, "MIGRATIONS", store_module.MIGRATIONS[:1])
        with Store(path, KEY) as store:
            store.add_message("kept", clock.now())
            store.save_learned("personal-layer", b"weights")
            with pytest.raises(StoreError, match="no such table"):
                store.execute("SELECT * FROM recordings")
            assert store.execute("PRAGMA user_version") == [(1,)]
    with Store(path, KEY) as store:
        assert store.execute("PRAGMA user_version") == [(len(store_module.MIGRATIONS),)]
        assert [message.text for message in store.messages()] == ["kept"]
        assert store.load_learned("personal-layer") == b"weights"
        recordings = Recordings(store, clock)
        recordings.add(WORD, TAUGHT, said())
        assert (recordings.words(), recordings.changes) == ([WORD], 1)
