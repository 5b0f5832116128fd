"""One round from join to sum, with a server and a few devices that are measured, among others that are not."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from hushfold_protocol.messages import Consents, Delivery, Join, Roster, Signed, Survivors
from hushfold_protocol.packing import EncodedVector, packed_size
from hushfold_protocol.signing import device_id
from hushfold_protocol.wire import decode_any

from .children import STEPS, Child, Costs, Device, Server
from .errors import UsageError, WrongSum
from .setting import UPDATES, Setting, expected_sum
from .simulated import SimulatedDevices
from .timing import Seconds

ENCODE = "encode"
_SIGNATURE = len(Signed(b"", bytes(64)).encode())  # bytes around every message of a device but the join


@dataclass(frozen=True, slots=True)
class RoundFigures:
    """What a round cost. Its sum was right: all that is not raises WrongSum."""

    setting: Setting
    measured: int  # devices, of which the figures are the medians
    device: dict[str, Seconds]  # by step, and "encode"
    device_memory: int  # bytes
    server: dict[str, Seconds]  # by step
    server_memory: int  # bytes
    up: int  # bytes that one device sends
    down: int  # bytes that it receives, but for the plan and the weights
    plaintext: int  # bytes of its encoded update, packed
    holders: int  # of shares of one device's secrets
    threshold: int  # shares that open a secret
    device_masks: int  # that a device puts on
    server_masks: int  # that the server takes off

    @property
    def device_seconds(self) -> Seconds:
        """All steps of the secure sum; the encoding is apart."""
        return sum((self.device[step] for step in STEPS), Seconds(0.0, 0.0))

    @property
    def server_seconds(self) -> Seconds:
        return sum((self.server[step] for step in STEPS), Seconds(0.0, 0.0))


def measure_round(
    setting: Setting, measured: int, encoded: list[EncodedVector], advance: Callable[[], None] = lambda: None
) -> RoundFigures:
    """Runs the round of a setting.

    Args:
        measured: devices in processes of their own; they survive.
        encoded: `setting.encoded` of the first UPDATES devices.
        advance: called for each device at each step.

    Raises:
        WrongSum: it is not the sum of the survivors' vectors.
        BenchError: a process failed.
    """
    if measured + setting.missing > setting.devices:
        raise UsageError(
            f"{measured} devices are to be measured and {setting.missing} to be lost, out of {setting.devices}"
        )
    numbers = range(setting.devices)
    lost = frozenset(numbers[setting.devices - setting.missing :])
    with ExitStack() as stack:
        server = stack.enter_context(Child(Server, setting))
        own = {number: stack.enter_context(Child(Device, setting, number)) for number in numbers[:measured]}
        others = SimulatedDevices(setting, numbers[measured:], lost, encoded)
        sent = dict.fromkeys(own, 0)
        received = dict.fromkeys(own, 0)
        joins = {
            number: own[number].ask("join") if number in own else others.join(number).encode() for number in numbers
        }
        for number in numbers:
            server.ask("accept", -1, joins[number])
            advance()
        for number in own:
            sent[number] += len(joins[number])
        places = _places(joins)
        for step in STEPS[1:]:
            server.ask("close")
            for number in numbers:
                advance()
                if step != "share" and number in lost:
                    continue
                body = server.ask("announcement", places[number])
                if number in own:
                    answer = own[number].ask("receive", body)
                    received[number] += len(body)
                    sent[number] += len(answer) + _SIGNATURE
                else:
                    answer = others.receive(number, decode_any(body, Roster, Delivery, Survivors, Consents))
                server.ask("accept", places[number], answer)
        server.ask("close")
        if not np.array_equal(server.ask("sum"), expected_sum(encoded, sorted(set(numbers) - lost), setting.bits)):
            raise WrongSum(f"{setting.devices} devices, {setting.lost} % of them lost: the sum is wrong")
        plan = setting.plan()
        graph = plan.cohort.graph(setting.devices)
        server_costs: Costs = server.ask("costs")
        device_costs: list[Costs] = [own[number].ask("costs") for number in own]
    return RoundFigures(
        setting=setting,
        measured=measured,
        device={step: _median([costs.times[step] for costs in device_costs]) for step in (*STEPS, ENCODE)},
        device_memory=int(statistics.median(costs.memory for costs in device_costs)),
        server={step: server_costs.times[step] for step in STEPS},
        server_memory=server_costs.memory,
        up=int(statistics.median(sent.values())),
        down=int(statistics.median(received.values())),
        plaintext=packed_size(plan.update.encoding().dimension, setting.bits),
        holders=graph.holders,
        threshold=graph.threshold,
        device_masks=int(statistics.median(costs.masks for costs in device_costs)),
        server_masks=server_costs.masks,
    )


def encoded_updates(setting: Setting) -> list[EncodedVector]:
    """The vectors of the first UPDATES devices, which all others share."""
    return [setting.encoded(device) for device in range(UPDATES)]


def _places(joins: dict[int, bytes]) -> dict[int, int]:
    """Each device's place in the roster, which is sorted by device id."""
    ids = {number: device_id(Join.decode(body).certificate.public_key) for number, body in joins.items()}
    return {number: place for place, number in enumerate(sorted(ids, key=ids.__getitem__))}


def _median(times: list[Seconds]) -> Seconds:
    return Seconds(statistics.median(each.cpu for each in times), statistics.median(each.wall for each in times))
