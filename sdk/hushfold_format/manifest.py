"""`model.json`: what the files of a model mean.

The flat float32 vector is the model; its parameters are contiguous slices in the manifest's order. A *part* is a
named slice that a task may train: the adapter is the end of the vector, the whole model all of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from .errors import ArtifactError
from .patching import Patch
from .vocabulary import Vocabulary

FORMAT = "hushfold-model/1"
MANIFEST = "model.json"
ROLES = ("weights", "training", "inference", "vocabulary", "card")

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A tensor inside the flat vector: `vector[offset : offset + size]`, row-major."""

    name: str
    shape: tuple[int, ...]
    offset: int  # float32 values from the start of the vector

    @property
    def size(self) -> int:
        return prod(self.shape)


class Part(NamedTuple):
    """A trainable slice of the vector, `vector[start:stop]`."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file beside the manifest."""

    name: str
    size: int  # bytes
    sha256: str  # lower-case hex

    @classmethod
    def of(cls, name: str, content: bytes) -> Self:
        return cls(name, len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, slots=True)
class ModelManifest:
    """Layout and files of one version of a model.

    `sizes` are the dimensions of the graph (for the next-word model: vocabulary, embedding, units, buckets),
    `bucket_starts` the first word id of each output-bias bucket, `batch` and `time` the static shape of training.
    """

    name: str
    version: str
    sizes: Mapping[str, int]
    parameters: tuple[Parameter, ...]
    parts: Mapping[str, Part]
    batch: int
    time: int
    bucket_starts: tuple[int, ...]
    files: Mapping[str, FileEntry]
    patches: tuple[Patch, ...]

    @property
    def size(self) -> int:
        """Values in the flat vector."""
        return sum(parameter.size for parameter in self.parameters)

    @classmethod
    def from_bytes(cls, content: bytes, name: str = MANIFEST) -> Self:
        """Parse and check a manifest.

        Raises:
            ArtifactError: it is not one of this format, or contradicts itself.
        """
        try:
            document = json.loads(content)
        except ValueError as error:
            raise ArtifactError(f"{name}: not JSON ({error}); install the model again") from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ArtifactError(f"{name}: not of format {FORMAT!r}; update the SDK, or install the model again")
        try:
            manifest = cls(
                name=str(document["name"]),
                version=str(document["version"]),
                sizes={str(key): int(value) for key, value in document["sizes"].items()},
                parameters=tuple(
                    Parameter(entry["name"], tuple(entry["shape"]), entry["offset"]) for entry in document["parameters"]
                ),
                parts={key: Part(*bounds) for key, bounds in document["parts"].items()},
                batch=int(document["batch"]),
                time=int(document["time"]),
                bucket_starts=tuple(document["bucket_starts"]),
                files={role: FileEntry(**entry) for role, entry in document["files"].items()},
                patches=tuple(Patch.from_json(entry) for entry in document["patches"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"{name}: a field is missing or malformed ({error!r}); install it again") from error
        manifest._check(name)
        return manifest

    def _check(self, name: str) -> None:
        offset = 0
        for parameter in self.parameters:
            if parameter.offset != offset:
                raise ArtifactError(f"{name}: parameter {parameter.name!r} does not follow the one before it")
            offset += parameter.size
        for key, part in self.parts.items():
            if not 0 <= part.start < part.stop <= offset:
                raise ArtifactError(f"{name}: part {key!r} is not inside the vector of {offset} values")
        if self.parts.get("whole") != Part(0, offset):
            raise ArtifactError(f"{name}: part 'whole' must cover the vector of {offset} values")
        if missing := [role for role in ROLES if role not in self.files]:
            raise ArtifactError(f"{name}: no file for {', '.join(missing)}")
        if any(Path(entry.name).name != entry.name for entry in self.files.values()):
            raise ArtifactError(f"{name}: a file name must not contain a folder")

    def to_bytes(self) -> bytes:
        """The file that `from_bytes` reads back; the same manifest gives the same bytes."""
        document: dict[str, Any] = {"format": FORMAT, **asdict(self)}
        document["patches"] = [patch.to_json() for patch in self.patches]
        return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"

    def split(self, vector: Vector) -> dict[str, Vector]:
        """Views of the parameters inside a flat vector, by name: writing to one writes to the vector.

        Raises:
            ValueError: the vector has another length or type.
        """
        if vector.shape != (self.size,) or vector.dtype != np.float32:
            raise ValueError(f"model {self.name} has {self.size} float32 values, not {vector.dtype}{vector.shape}")
        return {p.name: vector[p.offset : p.offset + p.size].reshape(p.shape) for p in self.parameters}


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model read from its folder, every file verified against the manifest."""

    manifest: ModelManifest
    weights: Vector
    training: bytes
    inference: bytes
    vocabulary: Vocabulary
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
        vocabulary = Vocabulary.load(content["vocabulary"])
        if len(vocabulary) != manifest.sizes.get("vocabulary"):
            raise ArtifactError(f"{folder}: the vocabulary has {len(vocabulary)} entries, the model another number")
        return cls(manifest, weights, content["training"], content["inference"], vocabulary, content["card"].decode())


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
