"""Sizes of the voice model and the layout of its vector. Needs no TensorFlow."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from math import prod
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hushfold_format import ArtifactError, ModelManifest, Parameter, Part
from hushfold_format.logmel import BANDS

COMMANDS = ("right", "left", "up", "down", "go", "zero", "one", "five", "eight", "bed", "cat", "happy")
LABELS = (*COMMANDS, "unknown", "silence")
UNKNOWN, SILENCE = len(COMMANDS), len(COMMANDS) + 1

ADAPTER = ("head", "head_bias")
"""Parameters of the part `adapter`: the end of the vector."""


@dataclass(frozen=True, slots=True)
class VoiceConfig:
    """Sizes of a voice model, a residual temporal-convolution net after Choi et al. 2019 (arXiv:1904.03814).

    Bands are channels, and convolutions go over time alone. Each of the three blocks has two convolutions and a
    shortcut; the first two halve the frames to one in 40 ms, the third keeps them, so that words can be compared frame
    by frame.
    """

    labels: int = len(LABELS)
    bands: int = BANDS  # of the features
    stem: int = 24  # channels before the first block
    width1: int = 32  # channels of the blocks
    width2: int = 36
    width3: int = 40
    kernel: int = 9  # frames that a convolution sees; one more where it halves them
    frames: int = 98  # of a window: one second
    longest: int = 196  # frames of the longest word that `embed` takes: two seconds
    batch: int = 16  # windows of a training step

    @classmethod
    def of(cls, manifest: ModelManifest) -> Self:
        """The configuration that a model was built with. Raises ArtifactError if the manifest lacks a size of it."""
        given = {**manifest.sizes, "batch": manifest.batch}
        names = [field.name for field in fields(cls)]
        if missing := [name for name in names if name not in given]:
            raise ArtifactError(f"the manifest of {manifest.name!r} states no {', '.join(missing)}; install it again")
        return cls(**{name: given[name] for name in names})

    @property
    def sizes(self) -> dict[str, int]:
        """All but the batch, by name: what `of` reads back."""
        return {name: value for name, value in asdict(self).items() if name != "batch"}

    @property
    def blocks(self) -> tuple[tuple[int, int, int], ...]:
        """Of each block: channels in, channels out, stride."""
        return ((self.stem, self.width1, 2), (self.width1, self.width2, 2), (self.width2, self.width3, 1))


STEM_KERNEL = 3  # frames


def parameter_shapes(config: VoiceConfig) -> dict[str, tuple[int, ...]]:
    """Shape of each parameter, in the vector's order. A kernel is [frames * channels in, channels out]."""
    shapes: dict[str, tuple[int, ...]] = {
        "stem": (STEM_KERNEL * config.bands, config.stem),
        **_norm("stem", config.stem),
    }
    for number, (channels_in, channels_out, stride) in enumerate(config.blocks, start=1):
        name = f"block{number}"
        shapes[f"{name}_first"] = ((config.kernel + stride - 1) * channels_in, channels_out)
        shapes |= _norm(f"{name}_first", channels_out)
        shapes[f"{name}_second"] = (config.kernel * channels_out, channels_out)
        shapes |= _norm(f"{name}_second", channels_out)
        shapes[f"{name}_shortcut"] = (stride * channels_in, channels_out)
    return {**shapes, "head": (config.width3, config.labels), "head_bias": (config.labels,)}


def _norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}_scale": (channels,), f"{name}_shift": (channels,)}


def layout(config: VoiceConfig) -> tuple[tuple[Parameter, ...], dict[str, Part]]:
    """The parameters with their offsets, and the parts that a task may train."""
    parameters = []
    offset = 0
    for name, shape in parameter_shapes(config).items():
        parameters.append(Parameter(name, shape, offset))
        offset += prod(shape)
    adapter = next(parameter.offset for parameter in parameters if parameter.name == ADAPTER[0])
    return tuple(parameters), {"whole": Part(0, offset), "adapter": Part(adapter, offset)}


def split(config: VoiceConfig, vector: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Views of the parameters inside a flat vector, by name."""
    parameters, _ = layout(config)
    return {p.name: vector[p.offset : p.offset + p.size].reshape(p.shape) for p in parameters}


def initial_vector(config: VoiceConfig, seed: int) -> NDArray[np.float32]:
    """Random weights to start from (He et al. 2015, arXiv:1502.01852, section 2.2); scales are one, shifts zero."""
    generator = np.random.default_rng(seed)
    values: list[NDArray[np.float64]] = []
    for name, shape in parameter_shapes(config).items():
        if name.endswith("_scale"):
            value = np.ones(shape)
        elif len(shape) == 1:
            value = np.zeros(shape)
        else:
            value = generator.standard_normal(shape) * (2 / shape[0]) ** 0.5
        values.append(value.ravel())
    return np.concatenate(values).astype(np.float32)


SMALL = VoiceConfig(stem=8, width1=12, width2=14, width3=16, kernel=5, batch=4)
"""For tests: builds in seconds."""

CONFIGS = {"default": VoiceConfig(), "small": SMALL}
