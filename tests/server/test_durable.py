"""Files that are there as a whole or not at all, and files that one process holds."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hushfold_server.durable import DRAFT, lock, replace_file, write_synced


def test_a_file_is_replaced_and_is_its_owners_alone(tmp_path):
    path = tmp_path / "file"
    for content in (b"old", b"new"):
        replace_file(path, content)
        assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_goes_wrong_leaves_the_old_content_and_no_draft(tmp_path, monkeypatch):
    path = tmp_path / "file"
    replace_file(path, b"old")
    with pytest.raises(TypeError):
        replace_file(path, "no bytes")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_draft_can_be_told_by_its_name(tmp_path):
    assert write_synced(tmp_path, b"content").name.startswith(DRAFT)


def test_one_holder_at_a_time_and_a_dead_one_lets_go(tmp_path):
    path = tmp_path / "lock"
    script = "import sys, pathlib; from hushfold_server.durable import lock\nheld = lock(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    with lock(path) as held:
        held.write(b"content")
        with pytest.raises(BlockingIOError):
            lock(path)
    with lock(path) as held:
        assert held.read() == b"content"
