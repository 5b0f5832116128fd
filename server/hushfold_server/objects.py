"""Content-addressed files: an object's name is the SHA-256 of its bytes.

An object is written to a temporary file, synced, and renamed into place: a reader sees all of it or nothing, also
after a power failure. Two writers of the same bytes do no harm. Every read is checked against the name.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from .durable import replace_file, sync_folder
from .errors import Corrupt, NotFound


class ObjectStore:
    """The objects under one folder, as `ab/cdef...`: 256 subfolders keep each one small."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, content: bytes) -> str:
        """Stores `content` and gives its hash (hex). It is on the disk when this returns."""
        sha256 = hashlib.sha256(content).hexdigest()
        target = self._place(sha256)
        if self._is_intact(target, sha256):
            return sha256
        target.parent.mkdir(mode=0o700, exist_ok=True)
        replace_file(target, content)
        sync_folder(self._folder)  # the subfolder may be new
        return sha256

    def get(self, sha256: str) -> bytes:
        """The object's bytes. Raises NotFound, or Corrupt if the file does not have this hash any more."""
        content = self.path(sha256).read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            raise Corrupt(f"the file of object {sha256} has other content", "The disk may be failing; restore a backup")
        return content

    def path(self, sha256: str) -> Path:
        """The object's file, unchecked, for callers that stream it. Raises NotFound."""
        path = self._place(sha256)
        if not path.is_file():
            raise NotFound(f"there is no object {sha256}")
        return path

    def _place(self, sha256: str) -> Path:
        # Names may come from a request: nothing but a hash may become a path.
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise NotFound(f"{sha256[:80]!r} is not the SHA-256 of an object")
        return self._folder / sha256[:2] / sha256[2:]

    def _is_intact(self, path: Path, sha256: str) -> bool:
        try:
            return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
        except FileNotFoundError:
            return False
