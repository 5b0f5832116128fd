"""A base model of a few values, in a folder as the shipped ones are."""

import numpy as np

from hushfold_format.manifest import MANIFEST, FileEntry, ModelManifest, Parameter, Part

WEIGHTS = np.arange(48, dtype="<f4").tobytes()
CARD = "# next_word\n\nOf a few values, for tests.\n"


def write_model(models, version="1.0.0", weights=WEIGHTS):
    """Writes `next_word` into the folder `models` and gives its manifest's bytes."""
    folder = models / "next_word"
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "weights": ("weights.f32", weights),
        "training": ("training.tflite", b"graph"),
        "inference": ("inference_int8.tflite", b"graph"),
        "vocabulary": ("vocabulary.json", b"{}"),
        "card": ("MODEL_CARD.md", CARD.encode()),
    }
    size = len(weights) // 4
    manifest = ModelManifest(
        name="next_word",
        version=version,
        sizes={"vocabulary": 8},
        parameters=(Parameter("all", (size,), 0),),
        parts={"whole": Part(0, size), "adapter": Part(size - 16, size)},
        batch=2,
        time=4,
        bucket_starts=(0,),
        files={role: FileEntry.of(*content) for role, content in contents.items()},
        patches=(),
    )
    for name, content in contents.values():
        (folder / name).write_bytes(content)
    (folder / MANIFEST).write_bytes(manifest.to_bytes())
    return manifest.to_bytes()
