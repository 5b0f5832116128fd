"""Federated averaging with the encoded aggregator, compiled, and the promise that its slots keep.

Federated averaging is McMahan et al. 2017 (arXiv 1602.05629), with a server optimizer as in Reddi et al. 2021
(arXiv 2003.00295); an update is initial minus final weights. TFF compiles it into a map-reduce form:

    prepare   state -> what devices need
    work      data set, what devices need -> what devices send, in four kinds of slot
    update    state, aggregated slots -> new state

The slots are plaintext sums, bit-width secure sums, secure sums and secure modular sums. Whatever is in one of the
first three would leave a device without noise, so they must be empty.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import tensorflow_federated as tff

from hushfold_protocol.encoding import EncodingParameters

from ..errors import PrivacyError
from .aggregator import COUNT_MODULUS
from .in_process import InProcess, leaf_types

MapReduceForm: TypeAlias = tff.backends.mapreduce.MapReduceForm


class InsecureSlot(PrivacyError):
    """A process would have devices send more than the encoded vector, or send it in another way."""


@dataclass(frozen=True, slots=True)
class Sgd:
    """w -= learning_rate v, where v = momentum v + update."""

    learning_rate: float = 1.0
    momentum: float = 0.0  # 0 to below 1


@dataclass(frozen=True, slots=True)
class Adam:
    """Kingma and Ba 2015 (arXiv 1412.6980). Noise wants a larger epsilon than the usual 1e-7."""

    learning_rate: float
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-3  # in units of the weights


ServerOptimizer = Sgd | Adam


def build_process(
    model: tff.learning.models.FunctionalModel,
    *,
    client_learning_rate: float,
    server_optimizer: ServerOptimizer,
    aggregator: tff.aggregators.UnweightedAggregationFactory,
) -> tff.learning.templates.LearningProcess:
    """Federated averaging: clients take SGD steps, their unweighted mean update feeds the server's optimizer."""
    return tff.learning.algorithms.build_unweighted_fed_avg(
        model,
        client_optimizer_fn=tff.learning.optimizers.build_sgdm(client_learning_rate),
        server_optimizer_fn=_optimizer(server_optimizer),
        model_aggregator=aggregator,
        metrics_aggregator=_no_metrics,
    )


def compile_process(process: tff.learning.templates.LearningProcess) -> MapReduceForm:
    """The graphs and slots of a process."""
    return tff.backends.mapreduce.get_map_reduce_form_for_computation(process.next)


def assert_only_secure_slots(form: MapReduceForm, encoding: EncodingParameters) -> None:
    """Checks that devices send the encoded vector and a one to count them, as secure modular sums, and nothing else.

    Raises:
        InsecureSlot: names what else would leave the devices.
    """
    plaintext, bit_width, plain_secure, modular = (
        element for _, element in tff.structure.iter_elements(form.work.type_signature.result)
    )
    for kind, slot in (("plaintext", plaintext), ("bit-width sum", bit_width), ("secure sum", plain_secure)):
        if leaf_types(slot):
            raise InsecureSlot(
                f"the {kind} slot of the process would carry {slot} from every device, without noise",
                "Aggregate nothing but the update: no metrics, no norms, no clipped counts",
            )
    expected = [(np.dtype(np.int64), (encoding.dimension,)), (np.dtype(np.int32), ())]
    if [(np.dtype(leaf.dtype), tuple(leaf.shape)) for leaf in leaf_types(modular).values()] != expected:
        raise InsecureSlot(
            f"the modular slot of the process is {modular} instead of one vector int64[{encoding.dimension}] and one "
            "count int32",
            "Build the process with build_aggregator, for this encoding and without metrics",
        )
    moduli = [int(modulus) for modulus in InProcess(form.secure_modular_sum_modulus)({}).values()]
    if moduli != [encoding.modulus, COUNT_MODULUS]:
        raise InsecureSlot(
            f"the process sums modulo {moduli}, but vector and count are summed modulo "
            f"{[encoding.modulus, COUNT_MODULUS]}",
            "Build the process and the round from the same encoding",
        )


def _optimizer(settings: ServerOptimizer) -> tff.learning.optimizers.Optimizer:
    match settings:
        case Sgd(learning_rate, momentum):
            return tff.learning.optimizers.build_sgdm(learning_rate, momentum or None)
        case Adam(learning_rate, beta_1, beta_2, epsilon):
            return tff.learning.optimizers.build_adam(learning_rate, beta_1, beta_2, epsilon)


def _no_metrics(metric_finalizers: Any, local_unfinalized_metrics_type: Any = None) -> tff.Computation:
    """A metrics aggregator that drops whatever clients measured, so that no slot is made for it."""

    @tff.federated_computation
    def aggregate(metrics: Any) -> Any:
        return tff.federated_value(collections.OrderedDict(), tff.SERVER)

    return aggregate
