"""A model and the part of it that a task trains, as a TFF functional model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from hushfold_format import Parameter, Part
from hushfold_models import config as next_word_config
from hushfold_models import next_word
from hushfold_models.config import NextWordConfig
from hushfold_models.voice import config as voice_config
from hushfold_models.voice import network as voice
from hushfold_models.voice.config import VoiceConfig

ModelConfig = NextWordConfig | VoiceConfig
"""The sizes of a model, which say what kind it is, too."""


def functional_model(
    config: ModelConfig, vector: npt.NDArray[np.float32], part: str
) -> tff.learning.models.FunctionalModel:
    """The model with the weights of a flat vector, of which only one part is trained.

    The trainable weights are the tensors of the part, the non-trainable ones all others, both in the vector's order.
    There are no metrics. An element of a client's data set is a batch `(inputs, (wanted, mask))`: for the next word
    tokens and targets, each [batch, time]; for the voice features [batch, frames, bands] and labels [batch].

    Raises:
        ValueError: the vector does not fit the config, or the part is unknown.
    """
    parameters, parts = _layout(config)
    if part not in parts:
        raise ValueError(f"the model has no part {part!r}: choose one of {', '.join(sorted(parts))}")
    if vector.shape != (parts["whole"].size,) or vector.dtype != np.float32:
        raise ValueError(
            f"the model has {parts['whole'].size} float32 values, but the vector is {vector.dtype} of {vector.shape}"
        )
    start, stop = parts[part]
    inside = [start <= p.offset and p.offset + p.size <= stop for p in parameters]
    values = [vector[p.offset : p.offset + p.size].reshape(p.shape) for p in parameters]
    trainable = tuple(value for value, chosen in zip(values, inside, strict=True) if chosen)
    frozen = tuple(value for value, chosen in zip(values, inside, strict=True) if not chosen)

    @tf.function
    def predict(weights: tuple[Any, Any], inputs: tf.Tensor, training: bool = True) -> tf.Tensor:
        trained, others = iter(weights[0]), iter(weights[1])
        tensors = {p.name: next(trained if chosen else others) for p, chosen in zip(parameters, inside, strict=True)}
        return scores(tensors, inputs)

    def loss(output: tf.Tensor, label: tuple[tf.Tensor, tf.Tensor], sample_weight: Any = None) -> tf.Tensor:
        wanted, mask = label
        return masked_loss(output, wanted, mask)

    scores, masked_loss, inputs, wanted = _graph(config)
    return tff.learning.models.FunctionalModel(
        initial_weights=(trainable, frozen),
        predict_on_batch_fn=predict,
        loss_fn=loss,
        input_spec=(inputs, (wanted, tf.TensorSpec(wanted.shape, tf.float32))),
    )


def _layout(config: ModelConfig) -> tuple[tuple[Parameter, ...], dict[str, Part]]:
    return voice_config.layout(config) if isinstance(config, VoiceConfig) else next_word_config.layout(config)


def _graph(
    config: ModelConfig,
) -> tuple[Callable[..., tf.Tensor], Callable[..., tf.Tensor], tf.TensorSpec, tf.TensorSpec]:
    """Of a kind of model: from tensors and inputs to scores, from scores to a loss, and what inputs and targets are."""
    if isinstance(config, VoiceConfig):
        features = tf.TensorSpec([config.batch, config.frames, config.bands], tf.float32)
        return partial(voice.logits, config), voice.masked_loss, features, tf.TensorSpec([config.batch], tf.int32)
    integers = tf.TensorSpec([config.batch, config.time], tf.int32)
    return next_word.logits, next_word.masked_loss, integers, integers
