"""From the functions of a model to its two .tflite files, and where in them each parameter lies."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hushfold_format import Parameter, Patch, Transform

from .flatbuffer import Constant, constants, scales, zero_by_operator

Gradients = Callable[..., tuple[tf.Tensor, dict[str, tf.Tensor]]]
"""From parameters and a batch to the mean loss, and its gradient by the names of parameters."""


class Signature(NamedTuple):
    """A function of the parameters and of inputs, and what the inputs are."""

    run: Callable[..., dict[str, tf.Tensor]]
    inputs: Sequence[tf.TensorSpec]


class ExportError(Exception):
    """The converter made something else than the device needs."""


def training_file(
    parameters: Sequence[Parameter],
    batch: Sequence[tf.TensorSpec],
    training: Mapping[str, Gradients],
    others: Mapping[str, Signature],
) -> bytes:
    """A training graph: variables that start at zero, and the signatures of docs/architecture.md.

    Args:
        parameters: of the model, in the vector's order.
        batch: what is trained on.
        training: by the name of the signature, each of which takes a step of plain SGD,
            w -= learning_rate * gradient of the mean masked loss, and returns the loss before it.
        others: more signatures.
    """
    module = tf.Module()
    module.variables_by_name = variables = {p.name: tf.Variable(tf.zeros(p.shape), name=p.name) for p in parameters}
    count = sum(parameter.size for parameter in parameters)

    def read() -> dict[str, tf.Tensor]:
        return {name: variable.read_value() for name, variable in variables.items()}

    def sgd(gradient_of: Gradients) -> Callable[..., dict[str, tf.Tensor]]:
        def train(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            *examples, learning_rate = inputs
            values = read()
            loss, gradient = gradient_of(values, *examples)
            for name, value in gradient.items():
                variables[name].assign(values[name] - learning_rate * value)
            return {"loss": loss}

        return train

    def get_weights() -> dict[str, tf.Tensor]:
        return {"weights": tf.concat([tf.reshape(value, [-1]) for value in read().values()], axis=0)}

    def set_weights(weights: tf.Tensor) -> dict[str, tf.Tensor]:
        for parameter in parameters:
            value = tf.slice(weights, [parameter.offset], [parameter.size])
            variables[parameter.name].assign(tf.reshape(value, parameter.shape))
        return {"count": tf.constant(count)}  # a signature needs an output

    def reading(signature: Signature) -> tf.types.experimental.GenericFunction:
        return tf.function(lambda *inputs: signature.run(read(), *inputs), input_signature=signature.inputs)

    rate = tf.TensorSpec([], tf.float32, "learning_rate")
    signatures = {
        **{name: tf.function(sgd(of), input_signature=[*batch, rate]) for name, of in training.items()},
        **{name: reading(signature) for name, signature in others.items()},
        "get_weights": tf.function(get_weights, input_signature=[]),
        "set_weights": tf.function(set_weights, input_signature=[tf.TensorSpec([count], tf.float32, "weights")]),
    }
    return zero_by_operator(_convert(module, signatures, quantise=False))


def template_file(signatures: Mapping[str, Signature], parameters: Mapping[str, NDArray[np.float32]]) -> bytes:
    """An int8 template with the parameters' values frozen into it: dynamic range, states stay float32."""
    module = tf.Module()
    frozen = {name: tf.constant(value) for name, value in parameters.items()}

    def freeze(signature: Signature) -> tf.types.experimental.GenericFunction:
        return tf.function(lambda *inputs: signature.run(frozen, *inputs), input_signature=signature.inputs)

    return _convert(module, {name: freeze(signature) for name, signature in signatures.items()}, quantise=True)


Forms = Callable[[str], Iterator[tuple[Transform, NDArray[np.float32]]]]
"""From a parameter's name to what the converter may have made of it."""


def find(content: bytes, parameters: Mapping[str, NDArray[np.float32]], forms: Forms) -> tuple[Patch, ...]:
    """Match the constants of a template with the parameters that they were made of.

    Raises:
        ExportError: a parameter is not in the file, or a constant of the file belongs to no parameter.
    """
    found: list[Patch] = []
    smallest = min(value.size for value in parameters.values())
    wanted = [(name, transform, value) for name in parameters for transform, value in forms(name)]
    for constant in constants(content):
        if constant.values.dtype.kind == "i" and not len(constant.scales):
            continue  # shapes and axes
        match = next(((n, t, value.shape) for n, t, value in wanted if _matches(constant, value)), None)
        if match is not None:
            copies = tuple(at for at, values in scales(content) if np.array_equal(values, constant.scales))
            found.append(Patch(*match, constant.offset, copies, len(constant.scales), constant.scale_axis))
        elif constant.values.size >= smallest:
            raise ExportError(f"constant {constant.name!r} {constant.values.shape} belongs to no parameter")
    if missing := set(parameters) - {entry.parameter for entry in found}:
        raise ExportError(f"not found in the template: {', '.join(sorted(missing))}")
    return tuple(found)


def _matches(constant: Constant, wanted: NDArray[np.float32]) -> bool:
    """Equal, to half a step of quantisation if the constant is quantised."""
    if constant.values.size != wanted.size or tuple(n for n in constant.values.shape if n > 1) != wanted.shape:
        return False
    step = constant.scales.max() if len(constant.scales) else 0.0
    return bool(np.abs(constant.dequantised().reshape(wanted.shape) - wanted).max() <= 0.51 * step)


def _convert(
    module: tf.Module, signatures: Mapping[str, tf.types.experimental.GenericFunction], *, quantise: bool
) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        concrete = {name: function.get_concrete_function() for name, function in signatures.items()}
        tf.saved_model.save(module, folder, signatures=concrete)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(concrete))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = True
        if quantise:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return bytes(converter.convert())
