"""One round of Flower's SecAgg+, in its own environment: `python secagg_plus.py ASKED.json UPDATES.f32 ANSWER.json`.

Its server workflow and its client mod run as they are, in one process. Between them stands a grid without a network,
which also serialises what has to be: neither the server's time nor the devices' has any of it. Nothing of Hushfold is
imported.

Of the devices, some are measured. The others are real in what they send, but for one thing: two of them that both
survive leave out the mask that they have in common, which cancels in the sum. So what the server does is the same.
"""

from __future__ import annotations

import json
import logging
import statistics
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from flwr.app import ConfigRecord, Context, RecordDict
from flwr.app.message import Message
from flwr.common import Code, FitIns, FitRes, Parameters, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, RECORD_KEY_STATE, Key, Stage
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.compat.common import recorddict_compat as compat
from flwr.server import ServerConfig, SimpleClientManager
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from flwr.supercore.task_identity import TaskIdentity

mod = import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")  # its package has a function of that name

CLIPPING_RANGE, TARGET_RANGE, MODULUS, EXAMPLES = 1.0, 1 << 22, 1 << 32, 1000
_LEFT_OUT = b""  # instead of the seed of a mask that cancels


class Proxy:
    """What the workflow asks of a client proxy."""

    def __init__(self, node_id: int) -> None:
        self.node_id = node_id


class Everyone(FedAvg):  # type: ignore[misc]
    """Asks every node, and takes the sum as the workflow has it."""

    def __init__(self, nodes: list[int]) -> None:
        super().__init__()
        self._nodes = nodes

    def configure_fit(self, server_round: int, parameters: Parameters, client_manager: Any) -> Any:
        return [(Proxy(node), FitIns(Parameters([], "numpy.ndarray"), {})) for node in self._nodes]

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
        return results[0][1].parameters, {}


class Devices:
    """The nodes of the round, and the grid that brings messages to them."""

    def __init__(self, asked: dict[str, Any], updates: np.ndarray[Any, Any]) -> None:
        self.nodes = list(range(1, asked["devices"] + 1))
        self._updates = updates
        self._measured = set(self.nodes[: asked["measured"]])
        self._lost = set(self.nodes[asked["devices"] - asked["missing"] :])
        self._contexts = {node: Context(0, node, {}, RecordDict(), {}) for node in self.nodes}
        self._silent: set[bytes] = set()
        self.survivors = [node for node in self.nodes if node not in self._lost]
        self.seconds = dict.fromkeys(self._measured, 0.0)
        self.up = dict.fromkeys(self._measured, 0)
        self.down = dict.fromkeys(self._measured, 0)
        self.cpu = 0.0  # that the grid took, and not the server

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> list[Message]:
        """The answers of all who are still there. Those that are lost fall silent when they should upload."""
        began = time.process_time()
        answers = []
        for request in messages:
            message = message_from_proto(message_to_proto(request))  # each node has its own, as from a network
            node = message.metadata.dst_node_id
            stage = message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE]
            if stage == Stage.COLLECT_MASKED_VECTORS:
                if node in self._lost:
                    continue
                self._remember_silent()
            answers.append(self._answer(node, message))
        self.cpu += time.process_time() - began
        return answers

    def _answer(self, node: int, message: Message) -> Message:
        if node not in self._measured:
            with self._quick(node):
                return mod.secaggplus_mod(message, self._contexts[node], self._fit)
        self.down[node] += message_to_proto(message).ByteSize()
        began = time.process_time()
        answer = mod.secaggplus_mod(message, self._contexts[node], self._fit)
        self.seconds[node] += time.process_time() - began
        self.up[node] += message_to_proto(answer).ByteSize()
        return answer

    def _fit(self, message: Message, context: Context) -> Message:
        """What the app returns: the node's update, trained before."""
        update = self._updates[(context.node_id - 1) % len(self._updates)]
        result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([update]), EXAMPLES, {})
        return Message(compat.fitres_to_recorddict(result, keep_input=True), reply_to=message)

    def _remember_silent(self) -> None:
        if not self._silent:
            simulated = set(self.survivors) - self._measured
            states = (self._contexts[node].state.config_records[RECORD_KEY_STATE] for node in simulated)
            self._silent = {state["pk1"] for state in states}

    def _quick(self, node: int) -> Any:
        shared_key, generate = mod.generate_shared_key, mod.pseudo_rand_gen

        def key(private: Any, public: Any) -> Any:
            if public_key_to_bytes(public) in self._silent:
                return _LEFT_OUT
            return shared_key(private, public)

        def mask(seed: bytes, size: int, shapes: Any) -> Any:
            return [0] * len(shapes) if seed == _LEFT_OUT else generate(seed, size, shapes)

        return patch.multiple(mod, generate_shared_key=key, pseudo_rand_gen=mask)


def main(asked_file: str, updates_file: str, answer_file: str) -> None:
    logging.getLogger("flwr").setLevel(logging.ERROR)
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
    asked = json.loads(Path(asked_file).read_text())
    updates = np.fromfile(updates_file, "<f4").reshape(-1, asked["dimension"])
    devices = Devices(asked, updates)
    context = LegacyContext(
        Context(0, 0, {}, RecordDict(), {}), ServerConfig(1), Everyone(devices.nodes), SimpleClientManager()
    )
    context.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: 1})
    context.state.array_records[MAIN_PARAMS_RECORD] = compat.parameters_to_arrayrecord(
        Parameters([], "numpy.ndarray"), True
    )
    workflow = SecAggPlusWorkflow(
        asked["shares"],
        asked["threshold"],
        max_weight=EXAMPLES,
        clipping_range=CLIPPING_RANGE,
        quantization_range=TARGET_RANGE,
        modulus_range=MODULUS,
    )
    began = time.process_time()
    workflow(devices, context)
    server = time.process_time() - began - devices.cpu
    mean = parameters_to_ndarrays(
        compat.arrayrecord_to_parameters(context.state.array_records[MAIN_PARAMS_RECORD], True)
    )
    expected = np.mean([updates[(node - 1) % len(updates)] for node in devices.survivors], axis=0, dtype=np.float64)
    # Rounding one value to the grid moves it by less than a step, and so does rounding all of them their mean.
    error = float(np.abs(mean[0] - expected).max()) if mean else float("inf")
    answer = {
        "correct": error < 2 * CLIPPING_RANGE / TARGET_RANGE,
        "device_seconds": statistics.median(devices.seconds.values()),
        "server_seconds": server,
        "up": statistics.median(devices.up.values()),
        "down": statistics.median(devices.down.values()),
    }
    Path(answer_file).write_text(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
