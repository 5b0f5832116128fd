"""What a rehearsal of a federated task has left in its folder.

That is `weights.f32`, the vector after each round in `rounds/NNN.f32`, and `report.json` with the names of the people
whom it learned from. Nobody who is measured may be among them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hushfold_format import FileEntry, ModelManifest
from hushfold_format.manifest import MANIFEST

from .errors import UsageError

REPORT, WEIGHTS, ROUNDS = "report.json", "weights.f32", "rounds"
_AGAIN = "Let the rehearsal run to its end, or name the folder of one that has"


def read_report(folder: Path, base: NDArray[np.float32]) -> dict[str, Any]:
    """The report of a finished rehearsal that started from the weights `base`.

    Raises UsageError for what is none, saying which file is wrong.
    """
    report = _report(folder / REPORT)
    if _digest(folder / WEIGHTS) != report["weights_sha256"]:
        raise UsageError(f"{folder / WEIGHTS} is not the file that {REPORT} describes", _AGAIN)
    if hashlib.sha256(base.astype("<f4").tobytes()).hexdigest() != report["base_weights_sha256"]:
        raise UsageError(
            f"the task in {folder} started from another base than the one that is installed",
            "Rehearse it again on this one",
        )
    return report


def require_strangers(folder: Path, taught: Collection[str], measured: Sequence[str], advice: str) -> None:
    """Raises UsageError, with this advice, if anybody who is to be measured is among those who have taught a task."""
    if known := [name for name in measured if name in taught]:
        raise UsageError(
            f"the task in {folder} learned from {len(known)} of the people to be measured, such as {known[0]}", advice
        )


def write_model(source: Path, folder: Path, weights: bytes) -> None:
    """Into `folder`, the files of the model in `source` with other weights, little-endian float32."""
    manifest = ModelManifest.from_bytes((source / MANIFEST).read_bytes(), str(source / MANIFEST))
    files = dict(manifest.files)
    for role, entry in manifest.files.items():
        content = weights if role == "weights" else (source / entry.name).read_bytes()
        (folder / entry.name).write_bytes(content)
        files[role] = FileEntry.of(entry.name, content)
    (folder / MANIFEST).write_bytes(dataclasses.replace(manifest, files=files).to_bytes())


def _report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_bytes())
        people, rounds = report["people"], report["rounds"]
        whole = (
            all(isinstance(name, str) for name in people)
            and all(isinstance(each["number"], int) for each in rounds)
            and all(isinstance(report[name], str) for name in ("weights_sha256", "base_weights_sha256"))
        )
    except FileNotFoundError:
        raise UsageError(f"there is no {path}", _AGAIN) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no report of a rehearsal ({error!r})", _AGAIN) from None
    if not whole:
        raise UsageError(f"{path} is no report of a rehearsal", _AGAIN)
    return dict(report)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", _AGAIN) from None
