"""A next-word model and the part of it that a task trains, as a TFF functional model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_federated as tff

from hushfold_models.config import NextWordConfig, layout
from hushfold_models.next_word import logits, masked_loss


def functional_model(
    config: NextWordConfig, vector: npt.NDArray[np.float32], part: str
) -> tff.learning.models.FunctionalModel:
    """The model with the weights of a flat vector, of which only one part is trained.

    The trainable weights are the tensors of the part, the non-trainable ones all others, both in the vector's order.
    An element of a client's data set is a batch `(tokens, (targets, mask))`, each [batch, time]; there are no metrics.

    Raises:
        ValueError: the vector does not fit the config, or the part is unknown.
    """
    parameters, parts = layout(config)
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
    def predict(weights: tuple[Any, Any], tokens: tf.Tensor, training: bool = True) -> tf.Tensor:
        trained, others = iter(weights[0]), iter(weights[1])
        tensors = {p.name: next(trained if chosen else others) for p, chosen in zip(parameters, inside, strict=True)}
        return logits(tensors, tokens)

    def loss(output: tf.Tensor, label: tuple[tf.Tensor, tf.Tensor], sample_weight: Any = None) -> tf.Tensor:
        targets, mask = label
        return masked_loss(output, targets, mask)

    integers = tf.TensorSpec([config.batch, config.time], tf.int32)
    return tff.learning.models.FunctionalModel(
        initial_weights=(trainable, frozen),
        predict_on_batch_fn=predict,
        loss_fn=loss,
        input_spec=(integers, (integers, tf.TensorSpec([config.batch, config.time], tf.float32))),
    )
