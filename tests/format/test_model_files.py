"""The files of each kind of model: what every kind is checked for, what is a kind's own, and one taken for another."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hushfold_format import (
    ArtifactError,
    FileEntry,
    ModelFiles,
    ModelManifest,
    NextWordFiles,
    Parameter,
    Part,
    Vocabulary,
    VoiceFiles,
)

COMMON = {
    "weights": np.arange(6, dtype="<f4").tobytes(),
    "training": b"training graph",
    "inference": b"inference template",
    "card": b"a model for tests",
}
VOICE = ModelManifest(
    name="voice",
    version="1.0.0",
    sizes={"labels": 3, "bands": 40},
    parameters=(Parameter("head", (3, 2), 0),),
    parts={"whole": Part(0, 6)},
    batch=2,
    time=98,
    files={},
    patches=(),
    labels=("left", "right", "silence"),
)
NEXT_WORD = replace(VOICE, name="next_word", sizes={"vocabulary": 11}, labels=(), bucket_starts=(0, 9))
WORDS = {"vocabulary": Vocabulary(("a", "b"), {}).to_bytes()}


def _write(folder: Path, manifest: ModelManifest, content: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for role, data in content.items():
        (folder / f"{role}.bin").write_bytes(data)
    entries = {role: FileEntry.of(f"{role}.bin", data) for role, data in content.items()}
    (folder / "model.json").write_bytes(replace(manifest, files=entries).to_bytes())
    return folder


@pytest.fixture
def voice(tmp_path: Path) -> Path:
    return _write(tmp_path / "voice", VOICE, COMMON)


@pytest.fixture
def next_word(tmp_path: Path) -> Path:
    return _write(tmp_path / "next_word", NEXT_WORD, COMMON | WORDS)


def test_a_voice_model_is_read_with_its_labels(voice: Path) -> None:
    files = VoiceFiles.load(voice)
    assert files.labels == ("left", "right", "silence")
    assert files.manifest.labels == files.labels
    assert files.weights.tolist() == [0, 1, 2, 3, 4, 5]
    assert files.weights.dtype == np.float32
    assert (files.training, files.inference, files.card) == (
        b"training graph",
        b"inference template",
        COMMON["card"].decode(),
    )


def test_a_folder_may_be_named_by_a_string(voice: Path) -> None:
    assert VoiceFiles.load(str(voice)).manifest == VoiceFiles.load(voice).manifest


@pytest.mark.parametrize("labels", [(), ("left",), ("left", "right", "up", "silence")])
def test_labels_that_are_not_the_graph_s(tmp_path: Path, labels: tuple[str, ...]) -> None:
    folder = _write(tmp_path / "voice", replace(VOICE, labels=labels), COMMON)
    with pytest.raises(ArtifactError, match=rf"model\.json: {len(labels)} labels; it is no voice model"):
        VoiceFiles.load(folder)


def test_a_graph_of_unknown_size(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no voice model"):
        VoiceFiles.load(_write(tmp_path / "voice", replace(VOICE, sizes={}), COMMON))


def test_a_next_word_model_is_no_voice_model(next_word: Path) -> None:
    assert NextWordFiles.load(next_word).vocabulary.words == ("a", "b")
    with pytest.raises(ArtifactError, match=r"next_word/model\.json: 0 labels; it is no voice model"):
        VoiceFiles.load(next_word)


def test_a_voice_model_is_no_next_word_model(voice: Path) -> None:
    with pytest.raises(ArtifactError, match=r"voice/model\.json: no file for vocabulary; it is no next-word model"):
        NextWordFiles.load(voice)


def test_a_vocabulary_of_another_size(tmp_path: Path) -> None:
    other = replace(NEXT_WORD, sizes={"vocabulary": 12})
    with pytest.raises(ArtifactError, match="the vocabulary has 11 entries"):
        NextWordFiles.load(_write(tmp_path / "next_word", other, COMMON | WORDS))


def test_any_model_is_read_by_who_does_not_care_which_it_is(voice: Path, next_word: Path) -> None:
    assert [ModelFiles.load(folder).manifest.name for folder in (voice, next_word)] == ["voice", "next_word"]


@pytest.mark.parametrize("kind", [ModelFiles, VoiceFiles])
@pytest.mark.parametrize("role", sorted(COMMON))
def test_a_changed_file_is_refused(voice: Path, kind: type[ModelFiles], role: str) -> None:
    path = voice / f"{role}.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(ArtifactError, match=rf"{role}\.bin: its SHA-256 is not the manifest's"):
        kind.load(voice)


def test_weights_of_another_size(tmp_path: Path) -> None:
    folder = _write(tmp_path / "voice", VOICE, COMMON | {"weights": COMMON["weights"][:-4]})
    with pytest.raises(ArtifactError, match=r"weights\.bin: not 6 float32 values"):
        VoiceFiles.load(folder)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nowhere/model\.json: cannot be read .*install the model again"):
        VoiceFiles.load(tmp_path / "nowhere")


def test_files_that_a_kind_does_not_know_are_left_alone(tmp_path: Path) -> None:
    """Pictures of the card travel with the model; a device may leave them out."""
    folder = _write(tmp_path / "voice", VOICE, COMMON | {"confusion": b"a picture"})
    (folder / "confusion.bin").unlink()
    files = VoiceFiles.load(folder)
    assert files.manifest.files["confusion"].sha256 == hashlib.sha256(b"a picture").hexdigest()


def test_labels_survive_the_manifest_s_file() -> None:
    manifest = replace(
        VOICE, labels=("links", "rechts", "zur\u00fcck"), files={r: FileEntry.of(r, c) for r, c in COMMON.items()}
    )
    assert ModelManifest.from_bytes(manifest.to_bytes()) == manifest
