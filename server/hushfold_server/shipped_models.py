"""The base models that are installed with a server: a folder of folders, each in the format of `hushfold_format`.

models/next_word/model.json            the manifest
models/next_word/weights.f32 ...       the files that it names
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

from hushfold_format import ArtifactError, ModelManifest
from hushfold_format.manifest import MANIFEST

from .errors import ConfigurationError, NotFound


def shipped_models() -> Path:
    """The folder that the package `hushfold_artifacts` brings."""
    return Path(str(files("hushfold_artifacts")))


class ShippedModels:
    """The models in one folder, read anew at every call.

    Every method raises NotFound for a model that is not there, ConfigurationError for one that cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Of the models that are there, sorted."""
        return sorted(path.parent.name for path in self.folder.glob(f"*/{MANIFEST}"))

    def manifest(self, name: str) -> ModelManifest:
        """What the model's files mean."""
        try:
            return ModelManifest.from_bytes(self._manifest(name), str(self.folder / name / MANIFEST))
        except ArtifactError as error:
            raise ConfigurationError(f"the model {name!r} cannot be used: {error}") from None

    def manifest_sha256(self, name: str) -> str:
        """The hash (hex) of the manifest's file, by which a release refers to it."""
        return hashlib.sha256(self._manifest(name)).hexdigest()

    def file(self, name: str, role: str) -> bytes:
        """The file that the manifest has for `role`, with the hash that it states."""
        entry = self.manifest(name).files[role]
        content = self._read(name, entry.name)
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise ConfigurationError(
                f"{self.folder / name / entry.name} is not the file that {MANIFEST} describes", "Install it again"
            )
        return content

    def _manifest(self, name: str) -> bytes:
        if not (self.folder / name / MANIFEST).is_file():
            raise NotFound(
                f"the model {name!r} is not installed: there is no {self.folder / name / MANIFEST}",
                "Build it, or install it",
            )
        return self._read(name, MANIFEST)

    def _read(self, name: str, file: str) -> bytes:
        try:
            return (self.folder / name / file).read_bytes()
        except OSError as error:
            raise ConfigurationError(f"the model {name!r} cannot be read: {error}", "Install it again") from None
