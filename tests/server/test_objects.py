"""The object store: what was put comes back, whole, or an error does."""

import hashlib
import os

import pytest

from hushfold_server.errors import Corrupt, NotFound
from hushfold_server.objects import ObjectStore


@pytest.fixture
def store(tmp_path):
    return ObjectStore(tmp_path)


@pytest.mark.parametrize("content", [b"", b"weights", bytes(1 << 20)], ids=["empty", "small", "1 MiB"])
def test_put_gives_the_hash_and_get_the_bytes(store, content):
    sha256 = store.put(content)
    assert sha256 == hashlib.sha256(content).hexdigest()
    assert store.get(sha256) == content
    assert store.path(sha256).read_bytes() == content


def test_a_second_put_of_the_same_bytes_changes_nothing(store):
    first = store.path(store.put(b"weights")).stat()
    second = store.path(store.put(b"weights")).stat()
    assert (first.st_ino, first.st_mtime_ns) == (second.st_ino, second.st_mtime_ns)


def test_a_changed_file_is_refused_and_put_repairs_it(store):
    sha256 = store.put(b"weights")
    store.path(sha256).write_bytes(b"weighty")
    with pytest.raises(Corrupt, match=sha256):
        store.get(sha256)
    store.put(b"weights")
    assert store.get(sha256) == b"weights"


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "ab" * 31, "AB" * 32, "ab" * 32])
def test_what_is_not_there_is_not_found(store, name):
    with pytest.raises(NotFound):
        store.path(name)


def test_a_crash_before_the_rename_leaves_no_object(store, tmp_path, monkeypatch):
    def crash(descriptor):
        raise OSError("power failure")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(OSError, match="power failure"):
        store.put(b"weights")
    with pytest.raises(NotFound):
        store.path(hashlib.sha256(b"weights").hexdigest())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
