"""Write a model's vector into the quantised inference template, without a converter on the device.

The template is a finished .tflite file. Its manifest says where each constant lies; the constants are computed from
the vector, quantised if the template is, and written over those bytes. Integer constants are symmetric int8 in
[-127, 127] with one scale for the tensor or one per channel (the TensorFlow Lite quantisation specification).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import prod
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .errors import ArtifactError

_INT8_MAX = 127
_SMALLEST_SCALE = 1e-9  # keeps an all-zero channel representable


class Transform(StrEnum):
    """How a constant of the template follows from a parameter."""

    COPY = "copy"
    TRANSPOSE = "transpose"
    EXPAND = "expand"  # one value per bucket -> one per word


@dataclass(frozen=True, slots=True)
class Patch:
    """Where one constant lies in the template. Offsets are bytes from the start of the file.

    `scale_count` is 0 for float32 constants, 1 for a per-tensor scale, else the length of axis `scale_axis`. The
    scales stand in the file once for the constant, and once more for every tensor that an operator copies out of it
    (the row that a GATHER looks up): `scale_offsets` has all of them.
    """

    parameter: str
    transform: Transform
    shape: tuple[int, ...]
    offset: int
    scale_offsets: tuple[int, ...] = ()
    scale_count: int = 0
    scale_axis: int = 0

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`; TypeError or ValueError if a field is wrong."""
        tuples = {key: tuple(entry[key]) for key in ("shape", "scale_offsets")}
        return cls(**{**entry, **tuples, "transform": Transform(entry["transform"])})

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "transform": self.transform.value}

    @property
    def size(self) -> int:
        return prod(self.shape)


def derive(
    transform: Transform, parameter: NDArray[np.float32], bucket_starts: Sequence[int], words: int
) -> NDArray[np.float32]:
    """The constant that `transform` makes of a parameter; `words` is the vocabulary's size."""
    match transform:
        case Transform.COPY:
            return parameter
        case Transform.TRANSPOSE:
            return parameter.T
        case Transform.EXPAND:
            return np.repeat(parameter, np.diff([*bucket_starts, words]))


def patch(
    template: bytes,
    patches: Sequence[Patch],
    parameters: Mapping[str, NDArray[np.float32]],
    bucket_starts: Sequence[int],
    words: int,
) -> bytes:
    """The template with its constants replaced: a model that LiteRT can load.

    Args:
        template: bytes of the inference .tflite.
        patches: where its constants lie.
        parameters: views of the vector by name, from `ModelManifest.split`.
        bucket_starts: first word id of each output-bias bucket.
        words: size of the vocabulary.

    Raises:
        ArtifactError: the manifest does not fit the template or the parameters.
    """
    buffer = np.frombuffer(bytearray(template), np.uint8)
    for entry in patches:
        if entry.parameter not in parameters:
            raise ArtifactError(f"the manifest patches {entry.parameter!r}, which the model does not have")
        constant = derive(entry.transform, parameters[entry.parameter], bucket_starts, words)
        if constant.shape != entry.shape:
            raise ArtifactError(f"{entry.parameter!r} gives {constant.shape}, the template holds {entry.shape}")
        if entry.scale_count:
            constant, scale = _quantise(constant, entry)
            for offset in entry.scale_offsets:
                _write(buffer, offset, scale)
        _write(buffer, entry.offset, constant)
    return buffer.tobytes()


def _quantise(constant: NDArray[np.float32], entry: Patch) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Symmetric int8 values and their scales, one per tensor or one per index of `scale_axis`."""
    others = tuple(axis for axis in range(constant.ndim) if axis != entry.scale_axis)
    axes = others if entry.scale_count > 1 else None
    # max(max, -min) instead of max(abs): no temporary of the tensor's size
    peak = np.maximum(constant.max(axis=axes, keepdims=True), -constant.min(axis=axes, keepdims=True))
    scale = np.maximum(peak / _INT8_MAX, _SMALLEST_SCALE).astype(np.float32)
    values = constant * (np.float32(1) / scale)
    np.rint(values, out=values)
    np.clip(values, -_INT8_MAX, _INT8_MAX, out=values)
    return values.astype(np.int8), scale.reshape(-1)


def _write(buffer: NDArray[np.uint8], offset: int, values: NDArray[Any]) -> None:
    raw = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)
    if offset + raw.size > buffer.size:
        raise ArtifactError("the patch manifest points past the end of the template; install the model again")
    buffer[offset : offset + raw.size] = raw
