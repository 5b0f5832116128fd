"""The federated task of a fleet: what its phones learn, on terms that a small fleet can meet.

A real cohort has hundreds of devices or more. A handful cannot hide one another: what a fleet learns from is the
mean of its updates, and the noise in that mean is kept the same for every size of fleet, low enough to learn
something. The price is an epsilon that protects little, and the phones' own policy is lowered to accept it. The
extrapolated epsilon says what the same model would have cost with `LARGE_COHORT` devices behind each sum.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from hushfold_protocol.encoding import EncodingParameters
from hushfold_protocol.plan import CohortParameters, DevicePolicy
from hushfold_protocol.privacy import RdpCurve, round_curve

from .errors import UsageError

POPULATION = "demo-keyboards"
NAME = "demo-adapter"
PART = "adapter"

# What the command line and `make demo` call the same number.
PHONES_OPTION, LOST_OPTION = "--phones (make's N)", "--lost (make's LOST)"
ROUNDS_OPTION, SEED_OPTION = "--rounds (make's ROUNDS)", "--seed (make's SEED)"

FEWEST_PHONES = 3  # fewer make no sum to hide in
MOST_PHONES = 200  # threads of one process
MOST_ROUNDS = 50
FEWEST_MESSAGES = 8  # that a phone takes part with; real ones need more

CLIP_NORM = 2.0  # L2, in units of the weights: about the median norm of a persona's update
NOISE_PER_PHONE = 0.015  # noise multiplier for each device in the target cohort
DELTA = 1e-5
JOIN_DELAY = 0.5  # seconds; on one machine all are equally fast
BITS = 32  # of the modulus: an adapter is small
LARGE_COHORT = 10_000  # devices that the extrapolated epsilon is for


@dataclass(frozen=True, slots=True)
class FleetTask:
    """The terms for `phones` phones of which up to `lost` disappear in each round.

    Raises UsageError for numbers that make no round.
    """

    phones: int
    lost: int
    rounds: int

    def __post_init__(self) -> None:
        if not FEWEST_PHONES <= self.phones <= MOST_PHONES:
            raise UsageError(
                f"{PHONES_OPTION} is {self.phones}; {FEWEST_PHONES} to {MOST_PHONES} are possible",
                "A secure sum of fewer would hide nobody" if self.phones < FEWEST_PHONES else "",
            )
        if not 1 <= self.rounds <= MOST_ROUNDS:
            raise UsageError(f"{ROUNDS_OPTION} is {self.rounds}; 1 to {MOST_ROUNDS} are possible")
        needed = self.cohort.consents(self.phones)  # the floor, and in a large fleet a few more
        if not 0 <= self.lost <= self.phones - needed:
            raise UsageError(
                f"{LOST_OPTION} is {self.lost}; of {self.phones} phones 0 to {self.phones - needed} may disappear "
                f"in a round, because nothing is opened with less than {needed} survivors"
            )

    @property
    def floor(self) -> int:
        """Survivors below which nothing is opened."""
        return max(2, math.ceil(round(0.6 * self.phones, 9)))

    @property
    def target(self) -> int:
        """Phones that a round hopes for; once they have joined, the others have one more step's time."""
        return self.phones - self.lost

    @property
    def cohort(self) -> CohortParameters:
        """The cohort as a plan will state it."""
        return CohortParameters(self.target, self.phones, self.floor, DevicePolicy().min_gamma)

    @property
    def training_seconds(self) -> float:
        """How long a round stays open for phones that have not joined."""
        return 60.0 + 5.0 * self.phones

    @property
    def step_seconds(self) -> float:
        """Limit of each step of secure aggregation: all phones share this machine's processors."""
        return 5.0 + self.phones / 10

    def cost(self, rounds: int, dimension: int) -> float:
        """Epsilon at DELTA of a phone in `rounds` rounds with no more than the floor of survivors.

        dimension: values in the trained part.
        """
        contributors = self.cohort.noise_contributors
        encoding = EncodingParameters.for_cohort(
            dimension=dimension,
            clip_norm=CLIP_NORM,
            noise_multiplier=self.noise_multiplier,
            bits=BITS,
            cohort_max=self.cohort.maximum,
            noise_contributors=contributors,
            rotation_seed=(0, 0),
        )
        curve: RdpCurve = round_curve(encoding, contributors)
        return (rounds * curve).epsilon(DELTA)

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation of the noise in a sum at the floor, in clip norms."""
        return NOISE_PER_PHONE * self.target

    def budget(self, dimension: int) -> float:
        """Epsilon that a phone, and the task, may spend: every round, and one more that fails at its very end."""
        return 1.01 * self.cost(self.rounds + 1, dimension)

    def policy(self, dimension: int) -> DevicePolicy:
        """What the simulated phones demand of a plan: these very terms, and nothing weaker."""
        return DevicePolicy(
            min_examples=FEWEST_MESSAGES,
            min_join_delay=JOIN_DELAY,
            min_floor=self.floor,
            max_round_epsilon=1.01 * self.cost(1, dimension),
            max_delta=DELTA,
        )

    def toml(self, dimension: int) -> str:
        """The task file."""
        tables: dict[str, dict[str, str | int | float]] = {
            "task": {"name": NAME, "population": POPULATION, "model": "next_word", "part": PART},
            "training": {"steps": 30, "learning_rate": 0.3, "max_examples": 500},
            "server": {"optimizer": "sgd", "learning_rate": 1.0},
            "cohort": {
                "target": self.target,
                "maximum": self.phones,
                "floor": self.floor,
                "gamma": self.cohort.gamma,
            },
            "privacy": {
                "clip_norm": CLIP_NORM,
                "noise_multiplier": self.noise_multiplier,
                "delta": DELTA,
                "budget_epsilon": self.budget(dimension),
                "bits": BITS,
            },
            "schedule": {
                "rounds": self.rounds,
                "training_seconds": self.training_seconds,
                "step_seconds": self.step_seconds,
                "join_delay_seconds": JOIN_DELAY,
                "come_back_seconds": 1.0,
            },
            "report": {"extrapolate_to": LARGE_COHORT},
        }
        lines = []
        for table, fields in tables.items():
            # JSON's texts and numbers are TOML's as well.
            lines += [f"[{table}]", *(f"{name} = {json.dumps(value)}" for name, value in fields.items()), ""]
        return "\n".join(lines)
