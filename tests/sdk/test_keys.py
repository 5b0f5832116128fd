"""Keys: made once, never in part, refused where others could read them."""

import os
import stat
import sys
import threading

import pytest

from hushfold import durable
from hushfold.errors import KeyUnavailable
from hushfold.keys import KeyFile, Keyring, device_key
from hushfold.store import Store


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys" / "store.key"


def test_a_key_file_is_made_once_and_is_private(path):
    key = KeyFile(path).key()
    assert len(key) == 32
    assert KeyFile(path).key() == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["store.key"]


def test_two_key_files_differ(tmp_path):
    assert KeyFile(tmp_path / "a").key() != KeyFile(tmp_path / "b").key()


def test_racing_threads_agree_on_one_key(path):
    barrier, keys = threading.Barrier(8), []

    def ask():
        barrier.wait()
        keys.append(KeyFile(path).key())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


def test_a_crash_while_writing_leaves_no_key(path, monkeypatch):
    def crash(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(durable.os, "fsync", crash)
    with pytest.raises(KeyUnavailable, match="No space left"):
        KeyFile(path).key()
    assert list(path.parent.iterdir()) == []
    monkeypatch.undo()
    assert len(KeyFile(path).key()) == 32


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_file_that_others_can_open_is_refused(path, mode):
    KeyFile(path).key()
    path.chmod(mode)
    with pytest.raises(KeyUnavailable, match=r"open to other users.*chmod 600"):
        KeyFile(path).key()


@pytest.mark.parametrize("content", [b"", b"k" * 31, b"k" * 33])
def test_a_key_file_of_another_length_is_refused_and_left_alone(path, content):
    KeyFile(path).key()
    path.write_bytes(content)
    with pytest.raises(KeyUnavailable, match="does not hold 32 bytes"):
        KeyFile(path).key()
    assert path.read_bytes() == content


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="the platform follows links silently")
def test_a_link_in_place_of_the_key_file_is_refused(path, tmp_path):
    KeyFile(tmp_path / "elsewhere").key()
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyUnavailable, match="cannot be used"):
        KeyFile(path).key()


def test_a_key_that_this_user_may_not_read_is_told_so(tmp_path, monkeypatch):
    """As root may read everything, the system's answer is given here."""
    key = KeyFile(tmp_path / "phone.key")
    key.key()

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(KeyUnavailable, match=r"cannot be used: Permission denied\. Let this user read it"):
        key.key()


class MemoryKeyring:
    def __init__(self):
        self.entries = {}

    def get_password(self, service, username):
        return self.entries.get((service, username))

    def set_password(self, service, username, password):
        self.entries[service, username] = password


def test_a_keyring_keeps_one_key_for_each_service():
    backend = MemoryKeyring()
    key = Keyring("app", backend=backend).key()
    assert len(key) == 32
    assert Keyring("app", backend=backend).key() == key
    assert Keyring("other", backend=backend).key() != key
    assert Keyring("app", "second", backend=backend).key() != key


@pytest.mark.parametrize("entry", ["", "password123", "ab" * 31])
def test_a_foreign_entry_is_refused_and_left_alone(entry):
    backend = MemoryKeyring()
    backend.set_password("app", "store", entry)
    with pytest.raises(KeyUnavailable, match="not a key of this SDK"):
        Keyring("app", backend=backend).key()
    assert backend.get_password("app", "store") == entry


def test_without_the_package_the_advice_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(KeyUnavailable, match=r"hushfold\[keyring\], or use KeyFile"):
        Keyring("app").key()


def test_without_a_backend_the_advice_is_a_key_file(monkeypatch):
    keyring = pytest.importorskip("keyring", reason="the extra hushfold[keyring] is not installed")
    from keyring.backends.fail import Keyring as NoBackend

    monkeypatch.setattr(keyring.core, "_keyring_backend", NoBackend())
    with pytest.raises(KeyUnavailable, match=r"NoKeyringError.*use KeyFile"):
        Keyring("app").key()


def test_the_device_key_is_made_once_and_survives_a_wipe(tmp_path):
    with Store(tmp_path / "store.db", bytes(32)) as store:
        first = device_key(store).private_bytes_raw()
        store.wipe()
        assert device_key(store).private_bytes_raw() == first
    with Store(tmp_path / "store.db", bytes(32)) as store:
        assert device_key(store).private_bytes_raw() == first
    with Store(tmp_path / "other.db", bytes(32)) as other:
        assert device_key(other).private_bytes_raw() != first
