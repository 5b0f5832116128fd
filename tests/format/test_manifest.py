"""`model.json`, and reading a model's folder."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hushfold_format import (
    ArtifactError,
    FileEntry,
    ModelManifest,
    NextWordFiles,
    Parameter,
    Part,
    Patch,
    Transform,
    Vocabulary,
)

CONTENT = {
    "weights": np.arange(8, dtype="<f4").tobytes(),
    "training": b"training graph",
    "inference": b"inference template",
    "vocabulary": Vocabulary(("a", "b"), {}).to_bytes(),
    "card": "a model for tests \N{EM DASH} nothing more".encode(),
}
MANIFEST = ModelManifest(
    name="tiny",
    version="1.2.3",
    sizes={"vocabulary": 11},
    parameters=(Parameter("base", (2, 3), 0), Parameter("adapter", (2,), 6)),
    parts={"whole": Part(0, 8), "adapter": Part(6, 8)},
    batch=2,
    time=8,
    bucket_starts=(0, 9),
    files={role: FileEntry.of(f"{role}.bin", data) for role, data in CONTENT.items()},
    patches=(Patch("base", Transform.TRANSPOSE, (3, 2), 4),),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for role, data in CONTENT.items():
        (tmp_path / f"{role}.bin").write_bytes(data)
    (tmp_path / "model.json").write_bytes(MANIFEST.to_bytes())
    return tmp_path


def test_a_manifest_survives_its_file() -> None:
    assert ModelManifest.from_bytes(MANIFEST.to_bytes()) == MANIFEST


def test_a_folder_is_read(folder: Path) -> None:
    files = NextWordFiles.load(folder)
    assert files.manifest == MANIFEST
    assert files.weights.tolist() == list(range(8))
    assert (files.training, files.inference) == (CONTENT["training"], CONTENT["inference"])
    assert len(files.vocabulary) == 11
    assert files.card == CONTENT["card"].decode()


def test_split_gives_views() -> None:
    vector = np.zeros(8, np.float32)
    parameters = MANIFEST.split(vector)
    assert {name: value.shape for name, value in parameters.items()} == {"base": (2, 3), "adapter": (2,)}
    parameters["adapter"][:] = 1
    assert vector.tolist() == [0] * 6 + [1] * 2


@pytest.mark.parametrize("vector", [np.zeros(7, np.float32), np.zeros(8), np.zeros((2, 4), np.float32)])
def test_split_of_another_vector(vector: np.ndarray) -> None:
    with pytest.raises(ValueError, match="8 float32 values"):
        MANIFEST.split(vector)


@pytest.mark.parametrize("role", sorted(CONTENT))
def test_a_changed_file_is_refused(folder: Path, role: str) -> None:
    path = folder / f"{role}.bin"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    with pytest.raises(ArtifactError, match=rf"{role}\.bin: its SHA-256 is not the manifest's.*install"):
        NextWordFiles.load(folder)


@pytest.mark.parametrize("role", sorted(CONTENT))
def test_a_shortened_file_is_refused(folder: Path, role: str) -> None:
    path = folder / f"{role}.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=rf"{role}\.bin: \d+ bytes instead of \d+"):
        NextWordFiles.load(folder)


@pytest.mark.parametrize("name", ["model.json", *(f"{role}.bin" for role in CONTENT)])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=rf"{name}: cannot be read"):
        NextWordFiles.load(folder)


def test_weights_that_are_not_finite(folder: Path) -> None:
    weights = np.array([np.nan] * 8, "<f4").tobytes()
    (folder / "weights.bin").write_bytes(weights)
    files = {**MANIFEST.files, "weights": FileEntry.of("weights.bin", weights)}
    (folder / "model.json").write_bytes(replace(MANIFEST, files=files).to_bytes())
    with pytest.raises(ArtifactError, match="not finite"):
        NextWordFiles.load(folder)


def _changed(**fields: object) -> bytes:
    return json.dumps({**json.loads(MANIFEST.to_bytes()), **fields}).encode()


_FILES = json.loads(MANIFEST.to_bytes())["files"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (b"3", "not of format"),
        (_changed(format="hushfold-model/9"), "update the SDK"),
        (_changed(batch=None), "missing or malformed"),
        (_changed(parameters=[{"name": "base"}]), "missing or malformed"),
        (_changed(parameters=[{"name": "base", "shape": [8], "offset": 1}]), "does not follow"),
        (_changed(parts={"whole": [0, 7]}), "'whole' must cover"),
        (_changed(parts={"whole": [0, 8], "adapter": [6, 9]}), "not inside the vector"),
        (_changed(parts={"whole": [0, 8], "adapter": [6, 6]}), "not inside the vector"),
        (_changed(files={}), "no file for weights"),
        (_changed(files={**_FILES, "card": {**_FILES["card"], "name": "../card.md"}}), "must not contain a folder"),
        (_changed(patches=[{"parameter": "base", "transform": "rotate"}]), "missing or malformed"),
    ],
)
def test_a_damaged_manifest_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        ModelManifest.from_bytes(content)
