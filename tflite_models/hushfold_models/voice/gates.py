"""What a voice model's files must pass before they may be shipped, beside the gates of every model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from hushfold_format import VoiceFiles

from ..gates import GateError, builtins_only, constants_found, partitions

PARTITIONS = {"train": 53, "train_adapter": 8, "evaluate": 10, "classify": 8}
"""Most XNNPACK partitions of each training signature: more means that operations fell out of the delegate."""
INFERENCE_PARTITIONS = 8
LARGEST = 150_000  # bytes of the inference file

_WINDOWS = 40
_FARTHEST = 0.05  # that the probability of a label may be from the float model's
_ASTRAY = 0.05  # that a frame's direction may be from the float model's on average, as a distance between unit vectors
_TOLERANCE = 1e-5  # of a weight, over the steps of `parity`; float32 sums differ in order


def check_all(files: VoiceFiles) -> Iterator[str]:
    """Run every gate; yields what each measured."""
    yield builtins_only(files)
    yield constants_found(files)
    yield partitions(files, PARTITIONS, INFERENCE_PARTITIONS)
    yield small(files)
    yield quantised_agrees(files)
    yield frames_agree(files)
    yield parity(files)


def small(files: VoiceFiles) -> str:
    """The inference file is small enough for a device that has better uses for its memory."""
    if len(files.inference) > LARGEST:
        raise GateError(f"the inference file has {len(files.inference):,} bytes, at most {LARGEST:,} are allowed")
    return f"inference file: {len(files.inference):,} bytes"


def quantised_agrees(files: VoiceFiles) -> str:
    """The patched int8 model gives the float model's probabilities, for sounds that are like nothing in particular."""
    trained = Interpreter(model_content=files.training)
    trained.get_signature_runner("set_weights")(weights=files.weights)
    exact = trained.get_signature_runner("classify")
    served = Interpreter(model_content=files.manifest.patched(files.inference, files.weights))
    quantised = served.get_signature_runner("classify")
    farthest = 0.0
    for window in _windows(files, _WINDOWS):
        apart = exact(features=window[None])["probabilities"] - quantised(features=window[None])["probabilities"]
        farthest = max(farthest, float(np.abs(apart).max()))
    if farthest > _FARTHEST:
        raise GateError(f"the int8 model's probabilities are up to {farthest:.3f} from the float model's")
    return f"int8 against float: probabilities differ by {farthest:.3f} at most"


def frames_agree(files: VoiceFiles) -> str:
    """The patched int8 model gives the frames that words are compared by, as the float model has them."""
    from .parity import reference_frames

    longest = files.manifest.sizes["longest"]
    windows = _windows(files, _WINDOWS, frames=longest)
    served = Interpreter(model_content=files.manifest.patched(files.inference, files.weights))
    embed = served.get_signature_runner("embed")
    exact = reference_frames(files.manifest, files.weights, windows)
    quantised = np.concatenate([embed(features=window[None])["frames"] for window in windows])
    apart = float(np.linalg.norm(_directions(exact) - _directions(quantised), axis=-1).mean())
    if apart > _ASTRAY:
        raise GateError(f"the int8 model's frames are {apart:.3f} from the float model's on average")
    return f"int8 against float: directions of frames differ by {apart:.3f} on average"


def parity(files: VoiceFiles, steps: int = 3) -> str:
    """Steps of `train` and `train_adapter` give the weights that TensorFlow's own convolutions and gradients give."""
    from .parity import reference_steps

    batch = files.manifest.batch
    chance = np.random.default_rng(2)
    features = np.stack([_windows(files, batch, seed=step) for step in range(steps)])
    labels = chance.integers(0, len(files.labels), (steps, batch), np.int32)
    mask = (chance.random((steps, batch)) < 0.8).astype(np.float32)
    worst = moved = 0.0
    for signature, part in (("train", "whole"), ("train_adapter", "adapter")):
        interpreter = Interpreter(model_content=files.training)
        interpreter.get_signature_runner("set_weights")(weights=files.weights)
        runner = interpreter.get_signature_runner(signature)
        rate = np.float32(0.1)
        losses = [
            float(runner(features=x, labels=y, mask=m, learning_rate=rate)["loss"])
            for x, y, m in zip(features, labels, mask, strict=True)
        ]
        ended = interpreter.get_signature_runner("get_weights")()["weights"]
        wanted, wanted_losses = reference_steps(
            files.manifest, files.weights, files.manifest.parts[part], features, labels, mask, rate=0.1
        )
        if np.array_equal(ended, files.weights):
            raise GateError(f"{signature!r} left the weights as they were")
        difference = float(np.abs(ended - wanted).max())
        loss_difference = float(np.abs(np.subtract(losses, wanted_losses)).max())
        if difference > _TOLERANCE or loss_difference > 10 * _TOLERANCE:
            raise GateError(
                f"after {steps} steps {signature!r} differs from TensorFlow by {difference:.2g} in a weight "
                f"and {loss_difference:.2g} in a loss"
            )
        worst, moved = max(worst, difference), max(moved, float(np.abs(ended - files.weights).max()))
    return f"parity with TensorFlow: weights that moved by up to {moved:.2g} differ by {worst:.1e} at most"


def _directions(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Frames `[..., width]` at a length of one."""
    directions: NDArray[np.float32] = frames / np.maximum(np.linalg.norm(frames, axis=-1, keepdims=True), 1e-6)
    return directions


def _windows(files: VoiceFiles, count: int, *, frames: int | None = None, seed: int = 0) -> NDArray[np.float32]:
    """Features of made-up sounds, `[count, frames, bands]`: neighbours are alike, levels are not."""
    sizes = files.manifest.sizes
    frames, bands = frames or sizes["frames"], sizes["bands"]
    chance = np.random.default_rng(seed)
    noise = chance.standard_normal((count, frames + 8, bands + 4))
    smooth = sum(noise[:, row : row + frames, column : column + bands] for row, column in np.ndindex(9, 5)) / 45
    sounds: NDArray[np.float32] = (smooth * 12 + chance.uniform(-9, -2, (count, 1, 1))).astype(np.float32)
    return sounds
