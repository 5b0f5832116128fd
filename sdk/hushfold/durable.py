"""Files that are there as a whole or not at all, also after a power failure."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable, where the platform can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_synced(folder: Path, prefix: str, content: bytes) -> Path:
    """A new file in `folder` with `content`, synced, readable by its owner alone. The caller gives it its name."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{prefix}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


def replace_file(path: Path, content: bytes) -> None:
    """Let `path` hold `content`: whoever reads it sees the old content or the new, never a part."""
    draft = write_synced(path.parent, path.name, content)
    try:
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
