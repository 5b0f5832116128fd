"""The task file: what is learned, by whom, on what terms.

It is TOML. Each table is a class below, which says what its fields mean. The least that a task needs:

[task]
name = "english-adapter"
population = "english-keyboards"
model = "next_word"
part = "adapter"

[training]
steps = 60
learning_rate = 0.1
max_examples = 500

[server]
optimizer = "sgd"
learning_rate = 1.0

[cohort]
target = 100

[privacy]
clip_norm = 0.5
target_epsilon = 6.0
delta = 1e-6
budget_epsilon = 8.0

[schedule]
rounds = 10
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from hushfold_protocol.encoding import DEFAULT_BETA
from hushfold_protocol.packing import MAX_BITS, MIN_BITS
from hushfold_protocol.plan import MAX_COHORT, CohortParameters

from .errors import TaskFileError
from .toml_tables import Faults, TomlTable, read

ADAPTER_BITS = (32,)  # an adapter is small: the widest modulus costs kilobytes and makes rounding negligible
WHOLE_BITS = (16, 20)  # a whole model is not: 16 packed bits a value if the grid is fine enough for them

_U32 = (1 << 32) - 1
_DAY = 86_400.0  # seconds


def _check_name(name: str) -> str:
    # Names become file names, URL parts and labels of metrics.
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", name):
        raise ValueError(f"is {name!r}; up to 64 lower-case letters, digits, - and _ are allowed")
    return name


Name = Annotated[str, AfterValidator(_check_name)]
Devices = Annotated[int, Field(ge=1, le=MAX_COHORT)]
Positive = Annotated[float, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, le=1_000)]  # of learning; a larger one is a slip of the pen


def _share_of_target(factor: float) -> Any:
    # Rounded before the ceiling: 1.1 x 100 is 110, not 111.
    # pydantic does not check defaults.
    return Field(
        default_factory=lambda data: min(MAX_COHORT, math.ceil(round(factor * data["target"], 9))), ge=1, le=MAX_COHORT
    )


class TaskTable(TomlTable):
    """[task]: the name, and what is learned where."""

    name: Name
    population: Name  # devices check in for one population
    model: Literal["next_word", "voice"]
    part: Literal["whole", "adapter"]  # the slice of the model's vector that is trained


class TrainingTable(TomlTable):
    """[training]: what a device does before it takes part in a sum."""

    steps: Annotated[int, Field(ge=1, le=2_000)]  # SGD steps, the same on every device
    learning_rate: Rate
    max_examples: Annotated[int, Field(ge=1, le=_U32)]  # messages; the newest are taken


class ServerTable(TomlTable):
    """[server]: how the mean of the updates moves the model."""

    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: Rate = 1.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of sgd

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.optimizer == "adam" and self.momentum:
            raise ValueError('momentum is for the optimizer "sgd"; "adam" has moments of its own')
        return self


class CohortTable(TomlTable):
    """[cohort]: how many devices stand behind one sum."""

    target: Devices  # devices that a round hopes for
    maximum: int = _share_of_target(1.25)  # admitted to one session at most
    floor: int = _share_of_target(0.65)  # survivors below which nothing is opened
    gamma: Annotated[float, Field(ge=0, lt=0.5)] = 0.05  # fraction of `maximum` that may collude with the server

    @property
    def parameters(self) -> CohortParameters:
        """The cohort as a plan states it."""
        return CohortParameters(self.target, self.maximum, self.floor, self.gamma)

    @model_validator(mode="after")
    def _check(self) -> Self:
        faults = []
        if self.floor > self.target:
            faults.append(f"floor ({self.floor}) is above target ({self.target})")
        if self.maximum < self.target:
            faults.append(f"maximum ({self.maximum}) is below target ({self.target})")
        if self.parameters.noise_contributors < 1:
            faults.append(
                f"gamma {self.gamma:g} of {self.maximum} devices tolerates {self.parameters.colluders} colluders, "
                f"which leaves no honest noise at a floor of {self.floor}: raise floor or lower gamma"
            )
        if faults:
            raise ValueError(*faults)
        return self


class PrivacyTable(TomlTable):
    """[privacy]: what a device's part in the task may reveal about it."""

    clip_norm: Positive  # L2, in units of the weights
    noise_multiplier: Positive | None = None  # z: noise of the floor's honest devices over clip_norm
    target_epsilon: Positive | None = None  # instead of z: what taking part in all of `schedule.rounds` may cost
    delta: Annotated[float, Field(gt=0, lt=1)]
    budget_epsilon: Positive  # past this no round is opened, whatever was planned
    bits: Annotated[int, Field(ge=MIN_BITS, le=MAX_BITS)] | None = (
        None  # modulus 2^bits; by default see `TaskSpec.moduli`
    )
    beta: Annotated[float, Field(ge=0, lt=1)] = DEFAULT_BETA  # bound on the odds that a rounding is drawn again

    @model_validator(mode="after")
    def _check(self) -> Self:
        faults = []
        if (self.noise_multiplier is None) == (self.target_epsilon is None):
            given = "both are" if self.noise_multiplier else "neither is"
            faults.append(f"exactly one of noise_multiplier and target_epsilon is needed; {given} given")
        if self.target_epsilon is not None and self.target_epsilon > self.budget_epsilon:
            faults.append(f"target_epsilon ({self.target_epsilon:g}) is above budget_epsilon ({self.budget_epsilon:g})")
        if faults:
            raise ValueError(*faults)
        return self


class ScheduleTable(TomlTable):
    """[schedule]: when rounds happen and how long their parts take."""

    rounds: Annotated[int, Field(ge=1, le=100_000)]  # successful rounds until a release is published
    interval_seconds: Annotated[float, Field(ge=0)] = 0.0  # from one round's end to the next one's start
    training_seconds: Annotated[float, Field(gt=0, le=30 * _DAY)] = 3_600.0  # how long a round is open
    step_seconds: Annotated[float, Field(gt=0, le=_DAY)] = 60.0  # limit of each step of secure aggregation
    join_delay_seconds: Annotated[float, Field(ge=0, le=_DAY)] = 30.0  # devices wait a random time up to this
    come_back_seconds: Annotated[float, Field(gt=0, le=30 * _DAY)] = 900.0  # pace: until a device asks again

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.join_delay_seconds >= self.training_seconds:
            raise ValueError(
                f"join_delay_seconds ({self.join_delay_seconds:g}) must be below training_seconds "
                f"({self.training_seconds:g}), or devices miss the round"
            )
        return self


class ReportTable(TomlTable):
    """[report]: what reports add."""

    extrapolate_to: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None  # devices of a larger cohort


class TaskSpec(TomlTable):
    """A whole task file."""

    task: TaskTable
    training: TrainingTable
    server: ServerTable = ServerTable()
    cohort: CohortTable
    privacy: PrivacyTable
    schedule: ScheduleTable
    report: ReportTable = ReportTable()

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def moduli(self) -> tuple[int, ...]:
        """b, for sums modulo 2^b: the first with which rounding costs little, see `planning`, or else the last."""
        if self.privacy.bits:
            return (self.privacy.bits,)
        return WHOLE_BITS if self.task.part == "whole" else ADAPTER_BITS

    @model_validator(mode="after")
    def _check(self) -> Self:
        faults = []
        # At delta = 1/n a mechanism that publishes one device of n in full would pass.
        if self.privacy.delta * self.cohort.maximum >= 1:
            faults.append(
                f"[privacy] delta is {self.privacy.delta:g}; it must be well below 1 / [cohort] maximum, "
                f"which is {1 / self.cohort.maximum:g}"
            )
        wider = self.report.extrapolate_to
        if wider is not None and wider < self.cohort.target:
            faults.append(
                f"[report] extrapolate_to is {wider}; a cohort larger than [cohort] target "
                f"({self.cohort.target}) is needed"
            )
        if faults:
            raise ValueError(*faults)
        return self


def load_task(text: str) -> TaskSpec:
    """The task in a TOML file's text. Raises TaskFileError with every fault that was found."""
    try:
        return read(TaskSpec, text)
    except Faults as faults:
        raise TaskFileError(faults.sentences) from None
