"""Put the files of a voice model together in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hushfold_format import ArtifactError, FileEntry, ModelManifest, VoiceFiles

from .card import voice_card
from .config import LABELS, SMALL, VoiceConfig, initial_vector, layout
from .export import inference_template, training_graph
from .quality import Figures

NAME = "voice"
_FILES = {
    "weights": "weights.f32",
    "training": "training.tflite",
    "inference": "inference_int8.tflite",
    "card": "MODEL_CARD.md",
    "curve": "loss.png",
    "confusion": "confusion.png",
}


def build(
    folder: Path,
    config: VoiceConfig,
    vector: NDArray[np.float32],
    *,
    version: str,
    figures: Figures | None = None,
    pictures: Mapping[str, bytes] | None = None,
) -> VoiceFiles:
    """Export the graphs and write all files of a model, `model.json` last; returns them as read back.

    Args:
        folder: for the files.
        config, vector: the model.
        version: of the model.
        figures: for the card; None for an untrained model.
        pictures: PNGs for the card, of the roles `curve` and `confusion`.

    Raises:
        ArtifactError: the vector is that of another configuration.
    """
    parameters, parts = layout(config)
    if vector.shape != (parts["whole"].size,):
        raise ArtifactError(f"{vector.size} weights instead of {parts['whole'].size}: train the model again")
    inference, patches = inference_template(config)
    pictures = pictures or {}
    content = {
        "weights": vector.astype("<f4").tobytes(),
        "training": training_graph(config),
        "inference": inference,
        "card": voice_card(config, version, figures, tuple(_FILES[role] for role in pictures)).encode(),
        **pictures,
    }
    manifest = ModelManifest(
        name=NAME,
        version=version,
        sizes=config.sizes,
        parameters=parameters,
        parts=parts,
        batch=config.batch,
        time=config.frames,
        files={role: FileEntry.of(_FILES[role], data) for role, data in content.items()},
        patches=patches,
        labels=LABELS,
    )
    folder.mkdir(parents=True, exist_ok=True)
    for role, data in content.items():
        (folder / _FILES[role]).write_bytes(data)
    (folder / "model.json").write_bytes(manifest.to_bytes())
    return VoiceFiles.load(folder)


def build_small(folder: Path, seed: int = 0) -> VoiceFiles:
    """A tiny model with random weights, for tests: needs no data, a few seconds."""
    return build(folder, SMALL, initial_vector(SMALL, seed), version="0.0.1")
