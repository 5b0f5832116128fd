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
from .patching import Patch, patch

FORMAT = "hushfold-model/1"
MANIFEST = "model.json"
ROLES = ("weights", "training", "inference", "card")
"""Files that every model has."""

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

    `sizes` are the dimensions of the graph (for the next-word model: vocabulary, embedding, units, buckets), `batch`
    and `time` the static shape of training: rows, and tokens or frames of a row. `bucket_starts` has the first word id
    of each output-bias bucket of a next-word model, `labels` the commands that a voice model tells apart, by index.
    """

    name: str
    version: str
    sizes: Mapping[str, int]
    parameters: tuple[Parameter, ...]
    parts: Mapping[str, Part]
    batch: int
    time: int
    files: Mapping[str, FileEntry]
    patches: tuple[Patch, ...]
    bucket_starts: tuple[int, ...] = ()
    labels: tuple[str, ...] = ()

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
                files={role: FileEntry(**entry) for role, entry in document["files"].items()},
                patches=tuple(Patch.from_json(entry) for entry in document["patches"]),
                bucket_starts=tuple(document.get("bucket_starts", ())),
                labels=tuple(document.get("labels", ())),
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

    def patched(self, template: bytes, vector: Vector) -> bytes:
        """The inference template with a vector written into it: what LiteRT serves.

        Raises:
            ArtifactError: the manifest does not fit the template.
            ValueError: the vector has another length or type.
        """
        return patch(template, self.patches, self.split(vector), self.bucket_starts, self.sizes.get("vocabulary", 0))

    def split(self, vector: Vector) -> dict[str, Vector]:
        """Views of the parameters inside a flat vector, by name: writing to one writes to the vector.

        Raises:
            ValueError: the vector has another length or type.
        """
        if vector.shape != (self.size,) or vector.dtype != np.float32:
            raise ValueError(f"model {self.name} has {self.size} float32 values, not {vector.dtype}{vector.shape}")
        return {p.name: vector[p.offset : p.offset + p.size].reshape(p.shape) for p in self.parameters}
