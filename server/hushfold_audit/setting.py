"""How large an audited task is, and its task file."""

from __future__ import annotations

from dataclasses import dataclass

from hushfold_protocol.plan import CohortParameters

from .errors import UsageError

MODEL, PART = "next_word", "adapter"
GAMMA = 0.05  # of the devices may collude
CLIP_NORM, DELTA = 1.0, 1e-5
FEWEST_CANARIES = 10

_TASK = """\
[task]
name = "audit"
population = "audit"
model = "{model}"
part = "{part}"

[training]
steps = 2
learning_rate = 0.5
max_examples = 100

[server]
optimizer = "sgd"
learning_rate = 1.0

[cohort]
target = {devices}
maximum = {devices}
floor = {devices}
gamma = {gamma}

[privacy]
clip_norm = {clip_norm}
target_epsilon = {epsilon}
delta = {delta}
budget_epsilon = {epsilon}

[schedule]
rounds = {rounds}
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """The size of an audited task. Raises UsageError for one that tells nothing."""

    devices: int = 100
    rounds: int = 3
    epsilon: float = 2.0  # that all rounds together may cost a device
    typists: int = 8  # ordinary devices

    def __post_init__(self) -> None:
        if self.rounds < 2:
            raise UsageError("one round shows no mask twice", "Ask for two rounds or more")
        if self.canaries < FEWEST_CANARIES:
            raise UsageError(
                f"of {self.devices} devices {self.typists} are ordinary, {self.colluders} collude and {self.canaries} "
                f"are canaries, which is too few",
                "Ask for more devices",
            )

    @property
    def colluders(self) -> int:
        return CohortParameters(self.devices, self.devices, self.devices, GAMMA).colluders

    @property
    def canaries(self) -> int:
        return self.devices - self.typists - self.colluders

    @property
    def task_file(self) -> str:
        return _TASK.format(
            model=MODEL,
            part=PART,
            devices=self.devices,
            gamma=GAMMA,
            clip_norm=CLIP_NORM,
            epsilon=self.epsilon,
            delta=DELTA,
            rounds=self.rounds,
        )
