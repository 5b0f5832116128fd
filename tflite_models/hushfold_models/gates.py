"""What a model's files must pass before they may be shipped.

Each gate raises `GateError` with what is wrong, or returns a line that says what it measured. `parity` is the only
one that needs TensorFlow, and imports it itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from hushfold_format import FIRST_WORD, ModelFiles, NextWordFiles, batches, context_ids, message_ids
from hushfold_format.patching import derive

from .flatbuffer import constants, operators, scales, with_primary
from .phrases import PHRASES

PARTITIONS = {"train": 7, "train_adapter": 5, "evaluate": 7, "step": 3}
"""Most XNNPACK partitions of each training signature: more means that operations fell out of the delegate."""
INFERENCE_PARTITIONS = 1

_TOP3_SHARED = 0.9  # share of the float model's three best words that the int8 model must also have
_TOLERANCE = 1e-5  # of a weight, over the steps of `parity`; float32 sums differ in order


class GateError(Exception):
    """The files of a model are not fit to be shipped."""


def check_all(files: NextWordFiles) -> Iterator[str]:
    """Run every gate; yields what each measured."""
    yield builtins_only(files)
    yield constants_found(files)
    yield partitions(files)
    yield quantised_agrees(files)
    yield parity(files)


def builtins_only(files: ModelFiles) -> str:
    """No operator outside the runtime's builtins (no Flex, no custom ones)."""
    for name, content in (("training", files.training), ("inference", files.inference)):
        foreign = [operator for operator, builtin in operators(content).items() if not builtin]
        if foreign:
            raise GateError(f"the {name} graph uses {', '.join(foreign)}, which the device's runtime does not have")
    return f"builtins only: {len(operators(files.training))} and {len(operators(files.inference))} kinds of operator"


def constants_found(files: ModelFiles) -> str:
    """Every parameter has its bytes in the template, and the training graph holds no weights."""
    manifest = files.manifest
    parameters = manifest.split(files.weights)
    patched = {entry.offset: entry for entry in manifest.patches}
    if missing := set(parameters) - {entry.parameter for entry in patched.values()}:
        raise GateError(f"the patch manifest has no place for {', '.join(sorted(missing))}")
    found = {constant.offset: constant for constant in constants(_patched(files, files.weights))}
    for offset, entry in patched.items():
        if offset not in found:
            raise GateError(f"the patch manifest places {entry.parameter!r} where the template has no constant")
        wanted = derive(
            entry.transform, parameters[entry.parameter], manifest.bucket_starts, manifest.sizes.get("vocabulary", 0)
        )
        difference = np.abs(found[offset].dequantised().reshape(wanted.shape) - wanted).max()
        step = found[offset].scales.max() if entry.scale_count else 0.0
        if difference > 0.51 * step:
            raise GateError(f"patched {entry.parameter!r} is off by {difference:.2g}, more than half a step of int8")
    scale_offsets = {offset for entry in manifest.patches for offset in entry.scale_offsets}
    if any(offset not in scale_offsets for offset, _ in scales(files.inference)):
        raise GateError("a quantised tensor of the template keeps its scale when the weights change")
    # Initial states are constants too, but zero.
    frozen = [
        c.name for c in constants(files.training) if c.values.dtype.kind == "f" and np.count_nonzero(c.values) > 1
    ]
    if frozen:
        raise GateError(f"the training graph holds values ({', '.join(frozen)}): weights were frozen into it")
    return f"patch manifest: {len(patched)} constants, {len(files.inference):,} bytes"


def partitions(
    files: ModelFiles, most: Mapping[str, int] = PARTITIONS, most_inference: int = INFERENCE_PARTITIONS
) -> str:
    """The delegate takes each graph in at most the recorded number of pieces."""
    counted = {name: _partitions(with_primary(files.training, name)) for name in most}
    for name, count in counted.items():
        if count > most[name]:
            raise GateError(f"{name!r} is cut into {count} XNNPACK partitions, at most {most[name]} are allowed")
    inference = _partitions(files.inference)
    if inference > most_inference:
        raise GateError(f"inference is cut into {inference} XNNPACK partitions, at most {most_inference} are allowed")
    return f"XNNPACK partitions: {counted}, inference {inference}"


def quantised_agrees(files: NextWordFiles) -> str:
    """The patched int8 model finds the float model's three best words, after each word of the everyday phrases."""
    vector = _with_adapter(files)
    trained = Interpreter(model_content=files.training)
    trained.get_signature_runner("set_weights")(weights=vector)
    quantised = Interpreter(model_content=_patched(files, vector))
    shared = total = 0
    largest = 0.0
    for phrase in PHRASES:
        ids = context_ids(phrase + " ", files.vocabulary).ids
        for exact, served in zip(_stream(files, trained, ids), _stream(files, quantised, ids), strict=True):
            shared += len(_top3(exact) & _top3(served))
            total += 3
            largest = max(largest, float(np.abs(exact - served).max()))
    if shared < _TOP3_SHARED * total:
        raise GateError(
            f"the int8 model shares {shared / total:.1%} of the float model's top three, not {_TOP3_SHARED:.0%}"
        )
    return f"int8 against float: top three shared {shared / total:.1%}, probabilities differ by {largest:.3f} at most"


def parity(files: NextWordFiles, steps: int = 3) -> str:
    """Steps of `train` and `train_adapter` give the weights that TensorFlow's own gradients of `logits` give."""
    from .parity import reference_steps

    batch, time = files.manifest.batch, files.manifest.time
    rows = batches([message_ids(text, files.vocabulary) for text in PHRASES], batch, time, seed=0)
    tokens, targets, mask = (np.stack(values) for values in zip(*islice(rows, steps), strict=True))
    start = _with_adapter(files)
    adapter = files.manifest.parts["adapter"]
    worst = moved = 0.0
    for signature, part in (("train", files.manifest.parts["whole"]), ("train_adapter", adapter)):
        interpreter = Interpreter(model_content=files.training)
        interpreter.get_signature_runner("set_weights")(weights=start)
        runner = interpreter.get_signature_runner(signature)
        losses = [
            float(runner(tokens=t, targets=y, mask=m, learning_rate=np.float32(0.5))["loss"])
            for t, y, m in zip(tokens, targets, mask, strict=True)
        ]
        ended = interpreter.get_signature_runner("get_weights")()["weights"]
        wanted, wanted_losses = reference_steps(files.manifest, start, part, tokens, targets, mask, rate=0.5)
        if np.array_equal(ended, start):
            raise GateError(f"{signature!r} left the weights as they were")
        difference = float(np.abs(ended - wanted).max())
        loss_difference = float(np.abs(np.subtract(losses, wanted_losses)).max())
        if difference > _TOLERANCE or loss_difference > 10 * _TOLERANCE:
            raise GateError(
                f"after {steps} steps {signature!r} differs from TensorFlow by {difference:.2g} in a weight "
                f"and {loss_difference:.2g} in a loss"
            )
        worst, moved = max(worst, difference), max(moved, float(np.abs(ended - start).max()))
    return f"parity with TensorFlow: weights that moved by up to {moved:.2g} differ by {worst:.1e} at most"


def _with_adapter(files: NextWordFiles) -> NDArray[np.float32]:
    """The model's vector with an adapter away from the identity, where mistakes about it would not show."""
    vector = files.weights.copy()
    start, stop = files.manifest.parts["adapter"]
    vector[start:stop] = np.random.default_rng(1).standard_normal(stop - start) * 0.2
    return vector


def _patched(files: ModelFiles, vector: NDArray[np.float32]) -> bytes:
    return files.manifest.patched(files.inference, vector)


def _partitions(content: bytes) -> int:
    """Nodes that stand for a part of the first graph that a delegate took over."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    # No public call lists the nodes that are left after the default delegate took its share.
    return sum(node["op_name"] == "DELEGATE" for node in interpreter._get_ops_details())


def _stream(files: NextWordFiles, interpreter: Interpreter, ids: list[int]) -> Iterator[NDArray[np.float32]]:
    """Probabilities of the next word after each token, without those of special tokens."""
    step = interpreter.get_signature_runner("step")
    h = np.zeros((1, files.manifest.sizes["embedding"]), np.float32)
    c = np.zeros((1, files.manifest.sizes["units"]), np.float32)
    for token in ids:
        result = step(token=np.array([token], np.int32), h=h, c=c)
        h, c = result["h"], result["c"]
        yield result["probs"][0, FIRST_WORD:]


def _top3(probabilities: NDArray[np.float32]) -> set[int]:
    return set(np.argpartition(probabilities, -3)[-3:].tolist())
