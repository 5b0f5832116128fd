"""The store keeps what it is given, shows it to nobody without the key, and forgets for good."""

import multiprocessing
import os
import signal
import stat
import threading
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlcipher3 import dbapi2
from store_pages import decrypted, on_disk

from hushfold import store as store_module
from hushfold.errors import StoreCorrupt, StoreError, StoreLocked, StoreMismatch, WrongKey
from hushfold.store import Checkpoint, Store

KEY = bytes(range(32))
SECRET = "rhabarberkompott at quarter past nine"
NOW = 1_700_000_000.0
DAY = 86_400.0

CHECKPOINT = Checkpoint("words", bytes(32), 1, 7, SECRET.encode() * 50)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "phone" / "store.db"


@pytest.fixture
def store(path):
    with Store(path, KEY) as opened:
        yield opened


def test_a_commit_is_on_the_disk_when_it_returns(store):
    """A charge of the budget must not vanish in a power failure after the update has left. No kill shows that."""
    pragma = {
        name: store._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")
    }
    assert pragma == {"synchronous": 2, "journal_mode": "wal"}  # 2: FULL


def test_messages_come_back_in_order_and_within_limits(store):
    ids = [store.add_message(text, at) for text, at in [("two", NOW + 2), ("one", NOW + 1), ("three", NOW + 3)]]
    assert [m.text for m in store.messages()] == ["three", "two", "one"]
    assert [m.text for m in store.messages(limit=2)] == ["three", "two"]
    assert [m.id for m in store.messages()] == [ids[2], ids[0], ids[1]]


def test_old_messages_go_when_a_new_one_comes(path):
    with Store(path, KEY, retention=90 * DAY) as store:
        store.add_message("old", NOW)
        store.add_message("just within", NOW + DAY)
        store.add_message("new", NOW + 91 * DAY)
        assert [m.text for m in store.messages()] == ["new", "just within"]


def test_the_quota_keeps_the_newest(path):
    with Store(path, KEY, max_messages=3) as store:
        for number in range(5):
            store.add_message(str(number), NOW + number)
        assert [m.text for m in store.messages()] == ["4", "3", "2"]
        store.add_message("from the past", NOW)
        assert [m.text for m in store.messages()] == ["4", "3", "2"]


def test_ids_are_never_given_out_twice(store):
    first = store.add_message("one", NOW)
    assert store.forget_text("one") == 1
    assert store.add_message("two", NOW) != first


def test_forgetting_takes_whole_words_in_any_case(store):
    for text in ("Call Anna!", "the annals", "ANNA", "banana", "Joanna"):
        store.add_message(text, NOW)
    assert store.forget_text("anna") == 2
    assert [m.text for m in store.messages()] == ["Joanna", "banana", "the annals"]
    assert store.forget_text("anna") == 0
    with pytest.raises(ValueError, match="name the text"):
        store.forget_text("  ")


def test_what_was_trained_on_a_deleted_message_goes_with_it(store):
    store.add_message("my secret", NOW)
    store.save_checkpoint(CHECKPOINT)
    store.forget_text("public")
    assert store.load_checkpoint("words") == CHECKPOINT
    store.forget_text("secret")
    assert store.load_checkpoint("words") is None


def test_forgetting_text_leaves_what_was_trained_on_speech(store):
    spoken, written = ("voice/commands", "voice/"), ("voice", "Voice/1", "next-word")
    store.add_message("my secret", NOW)
    for name in (*spoken, *written):
        store.save_checkpoint(replace(CHECKPOINT, task=name))
        store.save_learned(name, b"weights")
    store.forget_text("secret")
    assert all(store.load_checkpoint(name) and store.load_learned(name) == b"weights" for name in spoken)
    assert not any(store.load_checkpoint(name) or store.load_learned(name) for name in written)


def test_the_log_is_emptied_once_the_outermost_block_has_forgotten(store, path):
    log = path.with_name("store.db-wal")
    store.add_message("one", NOW)
    with store.forgetting():
        with store.forgetting():
            store.execute("DELETE FROM messages")
        assert log.stat().st_size > 0
        store.save_setting("undone with it", b"no")
    assert log.stat().st_size == 0


def test_a_checkpoint_is_replaced_and_survives_reopening(path):
    with Store(path, KEY) as store:
        store.save_checkpoint(CHECKPOINT)
        later = Checkpoint("words", b"\x01" * 32, 2, 8, b"v")
        store.save_checkpoint(later)
    with Store(path, KEY) as store:
        assert store.load_checkpoint("words") == later
        assert store.load_checkpoint("other") is None
        store.clear_checkpoint("words")
        assert store.load_checkpoint("words") is None


def test_settings_come_back(store):
    store.save_setting("paused", b"\x01")
    assert (store.load_setting("paused"), store.load_setting("other")) == (b"\x01", None)
    assert store.setting_or("paused", lambda: pytest.fail("it is there")) == b"\x01"
    assert store.setting_or("new", lambda: b"\x03") == store.load_setting("new") == b"\x03"


def test_no_word_is_in_the_files_without_the_key(store, path):
    for number in range(200):
        store.add_message(f"{SECRET} {number}", NOW)
    store.save_checkpoint(CHECKPOINT)
    assert path.with_name("store.db-wal").stat().st_size > 0
    for word in (*SECRET.split(), "messages", "SQLite format"):
        assert word.encode() not in on_disk(path) or len(word) < 4
    store.close()
    assert SECRET.encode() not in on_disk(path)
    assert SECRET.encode() in decrypted(path, KEY)  # with the key it is there, so the search can find it


def filled(path):
    store = Store(path, KEY)
    for number in range(300):
        store.add_message(f"{SECRET} {number}", NOW + number)
    store.save_checkpoint(replace(CHECKPOINT, vector=SECRET.encode() * 3000))
    store.save_setting("identity", b"kept")
    return store


def test_after_a_wipe_not_even_the_key_finds_a_word(path):
    with filled(path) as store:
        store.wipe()
        assert path.with_name("store.db-wal").stat().st_size == 0
        assert store.messages() == []
        assert store.load_checkpoint("words") is None
        assert store.load_setting("identity") == b"kept"
    for word in ("rhabarberkompott", "quarter past"):
        assert word.encode() not in on_disk(path)
        assert word.encode() not in decrypted(path, KEY)


def test_a_deleted_message_is_overwritten(path):
    with Store(path, KEY) as store:
        for number in range(100):
            store.add_message(f"message {number}", NOW + number)
        store.add_message(SECRET, NOW)
        assert store.forget_text(SECRET) == 1
    assert b"message 42" in decrypted(path, KEY)
    assert SECRET.encode() not in decrypted(path, KEY)


def test_a_wipe_that_leaves_traces_says_so(path, monkeypatch):
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT", 0.01)
    with filled(path) as store, Store(path, KEY) as other:
        other._connection.execute("BEGIN")
        other._connection.execute("SELECT * FROM messages").fetchone()
        with pytest.raises(StoreLocked, match="old pages"):
            store.wipe()
        other._connection.execute("COMMIT")
        store.wipe()
    assert SECRET.encode() not in decrypted(path, KEY)


def test_a_wipe_cannot_be_undone_by_a_transaction_around_it(store):
    with pytest.raises(RuntimeError), store.transaction():
        store.wipe()


def test_only_the_owner_may_read_the_files(store, path):
    store.add_message("hello", NOW)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_wrong_key_is_refused_quietly(path, capfd):
    with Store(path, KEY) as store:
        store.add_message("hello", NOW)
    before = on_disk(path)
    with pytest.raises(WrongKey, match="does not open"):
        Store(path, bytes(32))
    assert capfd.readouterr() == ("", "")
    assert on_disk(path) == before
    with pytest.raises(ValueError, match="32 bytes"):
        Store(path, b"short")


def test_a_damaged_page_is_reported(path, capfd):
    with Store(path, KEY) as store:
        for _ in range(300):
            store.add_message(SECRET * 10, NOW)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt, match="damaged"), Store(path, KEY) as store:
        store.messages()
    assert capfd.readouterr() == ("", "")


def test_a_folder_that_cannot_be_used_is_reported(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"file is no folder\. Name a folder"):
        Store(tmp_path / "file" / "store.db", KEY)
    with pytest.raises(StoreError, match=r"phone is no folder\. Name a folder"):
        Store(tmp_path / "file" / "phone" / "store.db", KEY)


def test_a_store_that_may_not_be_written_says_so(store):
    store.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError, match=r"cannot be written: .*readonly.*\. Let this user write the file"):
        store.add_message("hello", 1.0)


def test_a_closed_store_says_so(store):
    store.close()
    store.close()
    with pytest.raises(StoreError, match=r"the device is closed.*Open a new Device"):
        store.messages()


def test_a_newer_schema_is_refused(path):
    with Store(path, KEY) as store:
        store.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreMismatch, match=r"schema version 99.*newer SDK.*Update the app"):
        Store(path, KEY)


def test_an_older_schema_is_migrated_as_a_whole(path, monkeypatch):
    with Store(path, KEY) as store:
        store.add_message("kept", NOW)
    known = store_module.MIGRATIONS
    step = ("ALTER TABLE messages ADD COLUMN language TEXT NOT NULL DEFAULT 'en'",)
    monkeypatch.setattr(store_module, "MIGRATIONS", (*known, (*step, "not SQL")))
    with pytest.raises(StoreError, match="syntax error"):
        Store(path, KEY)
    monkeypatch.setattr(store_module, "MIGRATIONS", (*known, step))
    with Store(path, KEY) as store:
        assert store.execute("SELECT text, language FROM messages") == [("kept", "en")]
        assert store.execute("PRAGMA user_version") == [(len(known) + 1,)]


def test_transactions_nest_and_undo_what_they_enclose(store):
    def fail():
        with store.transaction():
            store.add_message("undone", NOW)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with store.transaction():
        store.add_message("kept", NOW)
        with pytest.raises(KeyError):
            fail()
    assert [m.text for m in store.messages()] == ["kept"]


def test_threads_share_a_store(store):
    def write(name):
        for number in range(25):
            store.add_message(f"{name} {number}", NOW)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({m.text for m in store.messages()}) == 100


def test_a_second_process_waits_for_the_first(path, monkeypatch):
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT", 0.01)
    with Store(path, KEY) as first, Store(path, KEY) as second:
        with first.transaction():
            first.add_message("one", NOW)
            assert second.messages() == []  # reading does not wait
            with pytest.raises(StoreLocked, match="another process"):
                second.add_message("two", NOW)
        second.add_message("two", NOW)
        assert [m.text for m in first.messages()] == ["two", "one"]


def _write_until_killed(path, ready):
    with Store(path, KEY) as store:
        number = 0
        while True:
            with store.transaction():
                store.add_message(f"a{number}", NOW)
                store.add_message(f"b{number}", NOW)
            number += 1
            if number == 10:
                ready.set()


def test_a_killed_writer_leaves_whole_transactions(path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    writer = context.Process(target=_write_until_killed, args=(path, ready))
    writer.start()
    assert ready.wait(60)
    os.kill(writer.pid, signal.SIGKILL)
    writer.join()
    with Store(path, KEY) as store:
        texts = [m.text for m in reversed(store.messages())]
        assert store.execute("PRAGMA integrity_check") == [("ok",)]
    assert len(texts) >= 20
    assert texts == [f"{kind}{number}" for number in range(len(texts) // 2) for kind in "ab"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_comes_back(store, text):
    message = store.add_message(text, NOW)
    assert [m.text for m in store.messages() if m.id == message] == [text]


def test_the_driver_has_what_the_store_relies_on():
    connection = dbapi2.connect(":memory:")
    assert connection.execute("PRAGMA cipher_version").fetchone()[0] >= "4"
    assert ("THREADSAFE=1",) in connection.execute("PRAGMA compile_options").fetchall()
    assert ("TEMP_STORE=2",) in connection.execute("PRAGMA compile_options").fetchall()  # nothing spills to disk
    connection.close()
