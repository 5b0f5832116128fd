"""Files that are there as a whole or not at all, also after a power failure, and files that one process holds."""

from __future__ import annotations

import fcntl
import os
import tempfile
from io import FileIO
from pathlib import Path

DRAFT = ".incoming-"
"""What the name of a file that is being written begins with. One that a killed process left may be deleted."""


def sync_folder(folder: Path) -> None:
    """Makes the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(folder: Path, content: bytes) -> Path:
    """A draft in `folder` with `content`, synced, readable by its owner alone. The caller gives it its name."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=DRAFT)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


def replace_file(path: Path, content: bytes) -> None:
    """Lets `path` hold `content`: whoever reads it sees the old content or the new, never a part."""
    draft = write_synced(path.parent, content)
    try:
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def lock(path: Path) -> FileIO:
    """Opens `path`, made if it is missing, for this process alone. Raises BlockingIOError if another one holds it.

    Closing it lets go of it, and the operating system does so for a process that died: there is no stale lock.
    """
    file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        file.close()
        raise
    return file
