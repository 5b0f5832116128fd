"""The model as files: a training graph without weights, and a quantised inference template."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hushfold_format import Patch, Transform
from hushfold_format.patching import derive

from . import gradients as model
from .config import NextWordConfig, bucket_starts, initial_vector, layout, parameter_shapes, split
from .flatbuffer import Constant, constants, scales, zero_by_operator

_TRANSFORMS = {
    "embedding": (Transform.COPY,),
    "kernel": (Transform.COPY, Transform.TRANSPOSE),
    "bias": (Transform.COPY,),
    "projection": (Transform.COPY, Transform.TRANSPOSE),
    "output_scale": (Transform.COPY,),
    "output_shift": (Transform.COPY,),
    "bucket_bias": (Transform.EXPAND,),
}
"""What the converter may make of each parameter."""


class ExportError(Exception):
    """The converter made something else than the device needs."""


def training_graph(config: NextWordConfig) -> bytes:
    """The training .tflite: variables that start at zero, and the signatures of docs/architecture.md.

    `train` and `train_adapter` take a step of plain SGD, w -= learning_rate * gradient of the mean masked loss, and
    return the loss before it.
    """
    module = tf.Module()
    shapes = parameter_shapes(config)
    module.variables_by_name = variables = {name: tf.Variable(tf.zeros(s), name=name) for name, s in shapes.items()}
    count = layout(config)[1]["whole"].size

    def read() -> dict[str, tf.Tensor]:
        return {name: variable.read_value() for name, variable in variables.items()}

    def sgd(
        gradient_of: Callable[..., tuple[tf.Tensor, dict[str, tf.Tensor]]],
    ) -> Callable[..., dict[str, tf.Tensor]]:
        def train(
            tokens: tf.Tensor, targets: tf.Tensor, mask: tf.Tensor, learning_rate: tf.Tensor
        ) -> dict[str, tf.Tensor]:
            parameters = read()
            loss, gradient = gradient_of(parameters, tokens, targets, mask)
            for name, value in gradient.items():
                variables[name].assign(parameters[name] - learning_rate * value)
            return {"loss": loss}

        return train

    def get_weights() -> dict[str, tf.Tensor]:
        return {"weights": tf.concat([tf.reshape(value, [-1]) for value in read().values()], axis=0)}

    def set_weights(weights: tf.Tensor) -> dict[str, tf.Tensor]:
        for parameter in layout(config)[0]:
            value = tf.slice(weights, [parameter.offset], [parameter.size])
            variables[parameter.name].assign(tf.reshape(value, parameter.shape))
        return {"count": tf.constant(count)}  # a signature needs an output

    batch = [
        tf.TensorSpec([config.batch, config.time], tf.int32, "tokens"),
        tf.TensorSpec([config.batch, config.time], tf.int32, "targets"),
        tf.TensorSpec([config.batch, config.time], tf.float32, "mask"),
    ]
    rate = tf.TensorSpec([], tf.float32, "learning_rate")
    signatures = {
        "train": tf.function(sgd(model.gradients), input_signature=[*batch, rate]),
        "train_adapter": tf.function(sgd(model.adapter_gradients), input_signature=[*batch, rate]),
        "evaluate": tf.function(
            lambda tokens, targets, mask: model.evaluate(read(), tokens, targets, mask), input_signature=batch
        ),
        "step": tf.function(lambda token, h, c: model.step(read(), token, h, c), input_signature=_step_inputs(config)),
        "get_weights": tf.function(get_weights, input_signature=[]),
        "set_weights": tf.function(set_weights, input_signature=[tf.TensorSpec([count], tf.float32, "weights")]),
    }
    return zero_by_operator(_convert(module, signatures, quantise=False))


def inference_template(config: NextWordConfig) -> tuple[bytes, tuple[Patch, ...]]:
    """The int8 .tflite with the signature `step`, and where its constants lie.

    It is converted with random weights, which serve to find each constant in the file. The bias of the output stays
    float32, so that no small change of it is lost.

    Raises:
        ExportError: a parameter is not in the file, or a constant of the file belongs to no parameter.
    """
    sentinels = initial_vector(config, seed=20_180)
    _, parts = layout(config)
    sentinels[parts["adapter"].start :] = np.random.default_rng(1).standard_normal(parts["adapter"].size) * 0.1
    parameters = split(config, sentinels)
    parameters["bias"][:] += np.random.default_rng(2).standard_normal(parameters["bias"].shape) * 0.1
    module = tf.Module()
    frozen = {name: tf.constant(value) for name, value in parameters.items()}
    step = tf.function(lambda token, h, c: model.step(frozen, token, h, c), input_signature=_step_inputs(config))
    content = _convert(module, {"step": step}, quantise=True)
    return content, _find(config, content, parameters)


def _step_inputs(config: NextWordConfig) -> list[tf.TensorSpec]:
    return [
        tf.TensorSpec([1], tf.int32, "token"),
        tf.TensorSpec([1, config.embedding], tf.float32, "h"),
        tf.TensorSpec([1, config.units], tf.float32, "c"),
    ]


def _convert(
    module: tf.Module, signatures: Mapping[str, tf.types.experimental.GenericFunction], *, quantise: bool
) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        concrete = {name: function.get_concrete_function() for name, function in signatures.items()}
        tf.saved_model.save(module, folder, signatures=concrete)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(concrete))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = True
        if quantise:  # dynamic range: int8 weights, float32 states
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return bytes(converter.convert())


def _constant(
    config: NextWordConfig, name: str, transform: Transform, parameters: Mapping[str, NDArray[np.float32]]
) -> NDArray[np.float32]:
    return derive(transform, parameters[name], bucket_starts(config.vocabulary, config.buckets), config.vocabulary)


def _find(config: NextWordConfig, content: bytes, parameters: Mapping[str, NDArray[np.float32]]) -> tuple[Patch, ...]:
    """Match the constants of a template with the parameters that they were made of."""
    found: list[Patch] = []
    smallest = min(value.size for value in parameters.values())
    for constant in constants(content):
        if constant.values.dtype.kind == "i" and not len(constant.scales):
            continue  # shapes and axes
        match = next(
            (
                (name, transform, wanted.shape)
                for name in parameters
                for transform in _TRANSFORMS[name]
                if _matches(constant, wanted := _constant(config, name, transform, parameters))
            ),
            None,
        )
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
