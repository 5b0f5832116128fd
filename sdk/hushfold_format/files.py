"""The files of a model, read from its folder and verified."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np

from .errors import ArtifactError
from .manifest import MANIFEST, ROLES, FileEntry, ModelManifest, Vector
from .vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model, every file verified against the manifest."""

    manifest: ModelManifest
    weights: Vector
    training: bytes
    inference: bytes
    card: str

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read and verify a model.

        Raises:
            ArtifactError: a file is missing, differs from the manifest's hash, or is malformed.
        """
        folder = Path(folder)
        manifest = ModelManifest.from_bytes(_read(folder / MANIFEST), str(folder / MANIFEST))
        content = {role: _verified(folder, manifest.files[role]) for role in ROLES}
        if len(content["weights"]) != 4 * manifest.size:
            raise ArtifactError(f"{folder / manifest.files['weights'].name}: not {manifest.size} float32 values")
        weights = np.frombuffer(content["weights"], "<f4").astype(np.float32, copy=False)
        if not np.isfinite(weights).all():
            raise ArtifactError(f"{folder / manifest.files['weights'].name}: holds values that are not finite")
        more = {name: read(folder, manifest) for name, read in cls._MORE.items()}
        return cls(manifest, weights, content["training"], content["inference"], content["card"].decode(), **more)

    _MORE: ClassVar[Mapping[str, Callable[[Path, ModelManifest], Any]]] = {}
    """Fields of a kind of model, and how each is read."""


def _vocabulary(folder: Path, manifest: ModelManifest) -> Vocabulary:
    if "vocabulary" not in manifest.files:
        raise ArtifactError(f"{folder / MANIFEST}: no file for vocabulary; it is no next-word model")
    vocabulary = Vocabulary.load(_verified(folder, manifest.files["vocabulary"]))
    if len(vocabulary) != manifest.sizes.get("vocabulary"):
        raise ArtifactError(f"{folder}: the vocabulary has {len(vocabulary)} entries, the model another number")
    return vocabulary


@dataclass(frozen=True, slots=True)
class NextWordFiles(ModelFiles):
    """A next-word model, with its words."""

    vocabulary: Vocabulary

    _MORE = MappingProxyType({"vocabulary": _vocabulary})


def _labels(folder: Path, manifest: ModelManifest) -> tuple[str, ...]:
    if not manifest.labels or len(manifest.labels) != manifest.sizes.get("labels"):
        raise ArtifactError(f"{folder / MANIFEST}: {len(manifest.labels)} labels; it is no voice model of this format")
    return manifest.labels


@dataclass(frozen=True, slots=True)
class VoiceFiles(ModelFiles):
    """A voice model, with the commands that it tells apart, by index."""

    labels: tuple[str, ...]

    _MORE = MappingProxyType({"labels": _labels})


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); install the model again") from error


def _verified(folder: Path, entry: FileEntry) -> bytes:
    path = folder / entry.name
    content = _read(path)
    if len(content) != entry.size:
        raise ArtifactError(f"{path}: {len(content)} bytes instead of {entry.size}; install the model again")
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise ArtifactError(f"{path}: its SHA-256 is not the manifest's; it was changed, install the model again")
    return content
