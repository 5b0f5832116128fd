"""Tests of the demo's folder: one run at a time, nothing of others removed."""

import fcntl
import os

import pytest

from hushfold_demo.errors import UsageError
from hushfold_demo.workspace import note_server, workspace


def test_a_new_folder_is_made(tmp_path):
    with workspace(tmp_path / "a" / "b") as space:
        assert space.home.is_dir()


def test_what_an_earlier_run_left_is_removed_but_its_report(tmp_path):
    with workspace(tmp_path) as space:
        for folder in (space.server, space.phones):
            (folder / "deep").mkdir(parents=True)
            (folder / "deep" / "file").write_text("old")
        space.report.write_text("old")
        (tmp_path / "mine.txt").write_text("kept")
    with workspace(tmp_path) as space:
        assert not any(path.exists() for path in (space.server, space.phones))
        assert space.report.read_text() == "old"
    assert (tmp_path / "mine.txt").read_text() == "kept"


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "phones").mkdir()
    with pytest.raises(UsageError, match="something else"), workspace(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["phones"]


def test_a_second_run_is_refused_and_told_the_process(tmp_path):
    with workspace(tmp_path) as space:
        note_server(space, 4321)
        space.report.write_text("of the first")
        with pytest.raises(UsageError, match="server process 4321"), workspace(tmp_path):
            pass
        assert space.report.read_text() == "of the first"


def test_a_server_that_outlives_its_demo_holds_the_folder(tmp_path):
    with workspace(tmp_path) as space:
        inherited = os.dup(space.lock)
    try:
        with pytest.raises(UsageError, match="one that was killed"), workspace(tmp_path):
            pass
    finally:
        os.close(inherited)
    with workspace(tmp_path) as space:
        fcntl.flock(space.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_a_usage_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot be used"), workspace(tmp_path / "home"):
        pass


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be used"), workspace(tmp_path / "file"):
        pass
