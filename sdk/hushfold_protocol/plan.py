"""The plan of a round: everything that a device must know, and agree to, before it trains.

The server signs the encoded plan; its hash is part of every signature, key derivation and associated datum of the
round, so that two devices that were given different plans can never take part in one sum.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from .encoding import EncodingParameters
from .errors import EncodingError, PlanRefused
from .graph import Graph, graph_of
from .neighbours import quorum
from .privacy import RdpCurve, round_curve
from .wire import Fixed, Float64, Int64, Message, Record, Struct, Text, UInt

MAX_COHORT = 1_000  # devices in one session of `secagg`; bounds every list in a message


@dataclass(frozen=True, slots=True)
class ModelReference(Struct):
    """Which weights the round starts from."""

    name: Annotated[str, Text(64)]
    version: Annotated[str, Text(32)]  # release whose weights the device already has
    weights_sha256: Annotated[bytes, Fixed(32)]  # hash of that release's whole vector
    part: Annotated[str, Text(32)]  # the slice that is trained
    part_sha256: Annotated[bytes, Fixed(32)]  # hash of the slice's values at the start of this round


@dataclass(frozen=True, slots=True)
class TrainingParameters(Struct):
    """The device's share of the work. The step budget is fixed, so that time says nothing about data."""

    steps: Annotated[int, UInt(4)]  # SGD steps
    batch: Annotated[int, UInt(2)]  # rows a step
    time: Annotated[int, UInt(2)]  # tokens a row
    learning_rate: Annotated[float, Float64()]
    max_examples: Annotated[int, UInt(4)]  # messages; the newest are taken
    seed: Annotated[int, UInt(4)]  # of the order of examples


@dataclass(frozen=True, slots=True)
class UpdateParameters(Struct):
    """How an update becomes integers: the fields of `EncodingParameters` as they travel."""

    dimension: Annotated[int, UInt(4)]
    clip_norm: Annotated[float, Float64()]  # L2, in units of the weights
    scale: Annotated[float, Float64()]  # grid steps per unit of the weights
    bits: Annotated[int, UInt(1)]  # the sum is taken modulo 2^bits
    local_stddev: Annotated[float, Float64()]  # of this device's Skellam share, in grid steps
    rotation_seed_0: Annotated[int, Int64()]
    rotation_seed_1: Annotated[int, Int64()]
    beta: Annotated[float, Float64()]  # failure probability of one stochastic rounding

    def encoding(self) -> EncodingParameters:
        """The parameters as the encoder takes them. Raises EncodingError if they make no sense."""
        return EncodingParameters(
            dimension=self.dimension,
            clip_norm=self.clip_norm,
            scale=self.scale,
            bits=self.bits,
            local_stddev=self.local_stddev,
            rotation_seed=(self.rotation_seed_0, self.rotation_seed_1),
            beta=self.beta,
        )


@dataclass(frozen=True, slots=True)
class CohortParameters(Struct):
    """How many devices stand behind one sum."""

    target: Annotated[int, UInt(2)]  # devices that the server hopes for
    maximum: Annotated[int, UInt(2)]  # n_max: admitted to one session; sizes the modulus
    floor: Annotated[int, UInt(2)]  # survivors below which nothing is opened
    gamma: Annotated[float, Float64()]  # fraction of n_max that may collude with the server

    @property
    def colluders(self) -> int:
        """c = floor(gamma * n_max): devices that may add no noise and reveal their secrets."""
        return math.floor(self.gamma * self.maximum + 1e-9)

    @property
    def noise_contributors(self) -> int:
        """Devices whose noise is certain to be in an opened sum: the floor without the colluders."""
        return self.floor - self.colluders

    def graph(self, joined: int) -> Graph:
        """Who holds shares of whose secrets in a session of `joined` devices."""
        return graph_of(joined, self.colluders, self.floor)

    def quorum(self, joined: int) -> int:
        """The least signatures on one list of survivors: two lists then share an honest signer, who signs only one."""
        return quorum(joined, self.colluders)

    def consents(self, joined: int) -> int:
        """Signatures on one list of survivors before a device unmasks.

        In a sparse graph they are more than the floor by as many as a cheating server could still keep out of the sum.
        """
        return max(self.floor + self.graph(joined).strays, self.quorum(joined))


@dataclass(frozen=True)
class Plan(Message, type_code=1):
    """One round of one task, as signed by the server."""

    population: Annotated[str, Text(64)]
    task: Annotated[str, Text(64)]
    round_id: Annotated[bytes, Fixed(16)]
    round_number: Annotated[int, UInt(4)]
    model: Annotated[ModelReference, Record(ModelReference)]
    training: Annotated[TrainingParameters, Record(TrainingParameters)]
    update: Annotated[UpdateParameters, Record(UpdateParameters)]
    cohort: Annotated[CohortParameters, Record(CohortParameters)]
    delta: Annotated[float, Float64()]  # of the guarantee that epsilon belongs to
    join_delay_ms: Annotated[int, UInt(4)]  # a device waits a random time up to this before it joins
    expires: Annotated[int, UInt(8)]  # unix seconds; no device joins later

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of the encoded plan."""
        return hashlib.sha256(self.encode()).digest()

    def curve(self) -> RdpCurve:
        """What this round costs a participant at worst: the floor's honest survivors alone add noise."""
        return round_curve(self.update.encoding(), self.cohort.noise_contributors)


@dataclass(frozen=True)
class DevicePolicy:
    """What a device demands of a plan, whatever the server says. The defaults suit a real population."""

    min_floor: int = 65  # survivors behind an opened sum
    max_round_epsilon: float = 8.0  # at the plan's delta
    max_delta: float = 1e-5
    min_gamma: float = 0.05
    max_steps: int = 2_000
    max_dimension: int = 1 << 23
    min_join_delay: float = 5.0  # seconds; the random wait that hides when a device has finished
    max_join_delay: float = 3600.0
    min_examples: int = 20
    """Messages; a device with fewer does not check in. Its own number: by one of the server's choice, the server would
    learn how many there are."""

    def check(self, plan: Plan) -> RdpCurve:
        """The plan's privacy cost, or PlanRefused with the first thing that falls short."""
        cohort, training = plan.cohort, plan.training
        try:
            encoding = plan.update.encoding()
        except EncodingError as error:
            raise PlanRefused(f"the update parameters make no sense: {error}") from None
        demands = (
            (cohort.floor >= self.min_floor, f"floor of {cohort.floor}, at least {self.min_floor} needed"),
            (cohort.floor <= cohort.maximum, f"floor of {cohort.floor} above the cohort of {cohort.maximum}"),
            (0 <= cohort.gamma < 0.5, f"gamma of {cohort.gamma} is not between 0 and one half"),
            (cohort.gamma >= self.min_gamma, f"gamma of {cohort.gamma}, at least {self.min_gamma} needed"),
            (
                0 <= cohort.gamma < 0.5 and cohort.noise_contributors > 0,
                "the tolerated colluders leave no honest noise at the floor",
            ),
            (
                0 < plan.delta <= self.max_delta,
                f"delta of {plan.delta:g}, at most {self.max_delta:g} allowed",
            ),
            (encoding.local_stddev > 0, "no noise"),
            (encoding.dimension <= self.max_dimension, f"an update of {encoding.dimension} values"),
            (0 < training.steps <= self.max_steps, f"{training.steps} steps, 1 to {self.max_steps} allowed"),
            (training.learning_rate > 0, f"a learning rate of {training.learning_rate}"),
            (training.batch > 0 and training.time > 0, "an empty batch"),
            (training.max_examples > 0, "no example"),
            (
                self.min_join_delay <= plan.join_delay_ms / 1000 <= self.max_join_delay,
                f"a random wait of up to {plan.join_delay_ms / 1000:g} seconds, {self.min_join_delay:g} to "
                f"{self.max_join_delay:g} allowed",
            ),
        )
        for holds, fault in demands:
            if not holds:
                raise PlanRefused(f"plan of task {plan.task!r}, round {plan.round_number}: {fault}")
        curve = plan.curve()
        epsilon = curve.epsilon(plan.delta)
        if not epsilon <= self.max_round_epsilon:
            raise PlanRefused(
                f"plan of task {plan.task!r}, round {plan.round_number}: epsilon {epsilon:.2f} for one round, "
                f"at most {self.max_round_epsilon:g} allowed"
            )
        return curve
