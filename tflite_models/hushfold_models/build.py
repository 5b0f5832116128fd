"""Put the files of a model together in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hushfold_format import FileEntry, ModelManifest, NextWordFiles, Vocabulary

from .card import Measured, model_card
from .config import SMALL, NextWordConfig, bucket_starts, initial_vector, layout
from .corpus import build_vocabulary
from .export import inference_template, training_graph
from .phrases import PHRASES

NAME = "next_word"
_FILES = {
    "weights": "weights.f32",
    "training": "training.tflite",
    "inference": "inference_int8.tflite",
    "vocabulary": "vocabulary.json",
    "card": "MODEL_CARD.md",
    "curve": "loss.png",
}


def build(
    folder: Path,
    config: NextWordConfig,
    vocabulary: Vocabulary,
    vector: NDArray[np.float32],
    *,
    version: str,
    figures: Mapping[str, Measured],
    curve: bytes | None = None,
) -> NextWordFiles:
    """Export the graphs and write all files of a model, `model.json` last; returns them as read back.

    Args:
        folder: for the files.
        config, vocabulary, vector: the model.
        version: of the model.
        figures: for the card, see `model_card`.
        curve: a PNG of the loss curve, for the card.
    """
    if len(vocabulary) != config.vocabulary:
        raise ValueError(f"the vocabulary has {len(vocabulary)} entries, the configuration {config.vocabulary}")
    parameters, parts = layout(config)
    inference, patches = inference_template(config)
    content = {
        "weights": vector.astype("<f4").tobytes(),
        "training": training_graph(config),
        "inference": inference,
        "vocabulary": vocabulary.to_bytes(),
        "card": model_card(config, version, figures, _FILES["curve"] if curve else None).encode(),
    }
    if curve:
        content["curve"] = curve
    manifest = ModelManifest(
        name=NAME,
        version=version,
        sizes={
            "vocabulary": config.vocabulary,
            "embedding": config.embedding,
            "units": config.units,
            "buckets": config.buckets,
        },
        parameters=parameters,
        parts=parts,
        batch=config.batch,
        time=config.time,
        bucket_starts=bucket_starts(config.vocabulary, config.buckets),
        files={role: FileEntry.of(_FILES[role], data) for role, data in content.items()},
        patches=patches,
    )
    folder.mkdir(parents=True, exist_ok=True)
    for role, data in content.items():
        (folder / _FILES[role]).write_bytes(data)
    (folder / "model.json").write_bytes(manifest.to_bytes())
    return NextWordFiles.load(folder)


def build_small(folder: Path, seed: int = 0) -> NextWordFiles:
    """A tiny model with random weights, for tests: needs no data, a few seconds."""
    vocabulary = build_vocabulary(PHRASES, SMALL.vocabulary)
    config = replace(SMALL, vocabulary=len(vocabulary))
    return build(folder, config, vocabulary, initial_vector(config, seed), version="0.0.1", figures={})
