"""From a task to the plan of one round: how updates are encoded, with how much noise, and until when.

The noise multiplier z of a task is defined for the worst round that can be opened: at the floor, with all tolerated
colluders silent,

    sqrt(floor - colluders) * local_stddev / scale = z * clip_norm.

Every device adds its share whatever happens, so a larger cohort has more noise and costs less than planned.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from hushfold_protocol.encoding import EncodingParameters
from hushfold_protocol.errors import EncodingError
from hushfold_protocol.plan import ModelReference, Plan, TrainingParameters, UpdateParameters
from hushfold_protocol.privacy import calibrate, round_curve

from .errors import TaskFileError
from .tasks import TaskSpec

ROUNDING = 0.025
"""The most that rounding may add to the sensitivity for the sake of a narrower modulus: 16 bits instead of 20 are a
fifth less to send, and half as much to mask."""


def encoding_for(spec: TaskSpec, dimension: int) -> EncodingParameters:
    """How updates of `dimension` values are encoded in this task. The rotation seed is (0, 0); plans have their own.

    Where the task names a target epsilon, z is the least with which a device that takes part in every one of
    `schedule.rounds` rounds spends no more. Of the task's moduli it is the first on whose grid rounding adds at most
    `ROUNDING` to the sensitivity, or else the last. Raises TaskFileError if the task's numbers cannot be met.
    """
    try:
        return _narrowest(spec.moduli, lambda bits: _encoding(spec, dimension, bits))
    except EncodingError as error:
        raise TaskFileError([f"[privacy] cannot be met for {dimension} values: {error}"]) from None


def _narrowest(moduli: Sequence[int], encoding: Callable[[int], EncodingParameters]) -> EncodingParameters:
    """The encoding on the first modulus that is wide enough, or else on the last. Raises EncodingError."""
    *narrow, widest = moduli
    for bits in narrow:
        with suppress(EncodingError):
            tried = encoding(bits)
            if tried.l2_bound <= (1 + ROUNDING) * tried.scale * tried.clip_norm:
                return tried
    return encoding(widest)


def _encoding(spec: TaskSpec, dimension: int, bits: int) -> EncodingParameters:
    """`encoding_for` with this modulus. Raises EncodingError."""
    cohort, privacy = spec.cohort.parameters, spec.privacy
    multiplier = privacy.noise_multiplier
    if multiplier is None:
        assert privacy.target_epsilon is not None  # noqa: S101  # the task file has one of the two
        multiplier = calibrate(
            privacy.target_epsilon,
            privacy.delta,
            spec.schedule.rounds,
            dimension=dimension,
            clip_norm=privacy.clip_norm,
            bits=bits,
            cohort_max=cohort.maximum,
            noise_contributors=cohort.noise_contributors,
            beta=privacy.beta,
        )
    return EncodingParameters.for_cohort(
        dimension=dimension,
        clip_norm=privacy.clip_norm,
        noise_multiplier=multiplier,
        bits=bits,
        cohort_max=cohort.maximum,
        noise_contributors=cohort.noise_contributors,
        rotation_seed=(0, 0),
        beta=privacy.beta,
    )


def noise_multiplier_of(encoding: EncodingParameters, noise_contributors: int) -> float:
    """z of a sum in which so many devices add their noise."""
    return math.sqrt(noise_contributors) * encoding.local_stddev / (encoding.scale * encoding.clip_norm)


def make_plan(
    spec: TaskSpec,
    *,
    round_id: bytes,
    round_number: int,
    model: ModelReference,
    dimension: int,
    rotation_seed: tuple[int, int],
    batch: int,
    time: int,
    now: float,
) -> Plan:
    """The plan of one round, not yet signed.

    `round_id` is 16 random bytes; `dimension` the number of values in the task's part of the model;
    `rotation_seed` two signed 64-bit integers, fresh for each round; `batch` rows of `time` tokens are what the
    training graph takes; `now` is unix seconds. Raises TaskFileError as `encoding_for` does.
    """
    encoding = encoding_for(spec, dimension)
    return Plan(
        population=spec.task.population,
        task=spec.name,
        round_id=round_id,
        round_number=round_number,
        model=model,
        training=TrainingParameters(
            steps=spec.training.steps,
            batch=batch,
            time=time,
            learning_rate=spec.training.learning_rate,
            max_examples=spec.training.max_examples,
            seed=int.from_bytes(round_id[:4], "big"),
        ),
        update=UpdateParameters(
            dimension=dimension,
            clip_norm=encoding.clip_norm,
            scale=encoding.scale,
            bits=encoding.bits,
            local_stddev=encoding.local_stddev,
            rotation_seed_0=rotation_seed[0],
            rotation_seed_1=rotation_seed[1],
            beta=encoding.beta,
        ),
        cohort=spec.cohort.parameters,
        delta=spec.privacy.delta,
        join_delay_ms=round(1000 * spec.schedule.join_delay_seconds),
        expires=math.floor(now + spec.schedule.training_seconds),
    )


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """An epsilon that was not spent: what a larger cohort would have spent for a model of the same quality."""

    cohort: int  # devices that would be in every sum
    survivors: int  # devices that really were
    rounds: int  # in which one device takes part
    noise_multiplier: float  # at that cohort
    epsilon: float
    delta: float

    def __str__(self) -> str:
        return (
            f"extrapolated, not measured: epsilon {self.epsilon:.3g} at delta {self.delta:g} after {self.rounds} "
            f"rounds if {self.cohort} devices, not {self.survivors}, had shared the same noise in the mean"
        )


def extrapolated_epsilon(spec: TaskSpec, dimension: int, *, survivors: int, cohort: int, rounds: int) -> Extrapolation:
    """What `rounds` participations would cost if `cohort` devices stood behind each sum, not `survivors`.

    What learning feels is the noise in the mean. It stays the same if the noise in the sum grows with the number of
    devices, while each device's weight in the sum does not: z grows by cohort / survivors. The same fraction of
    the devices in the sum colludes. The modulus is the one that such a task would take, and its grid is accounted for.
    Raises TaskFileError if no grid fits, ValueError for a cohort that could not have been opened.
    """
    colluders = spec.cohort.parameters.colluders
    honest = survivors - colluders
    if honest < 1 or cohort < survivors:
        raise ValueError(f"{survivors} survivors with {colluders} colluders do not extrapolate to {cohort}")
    here = encoding_for(spec, dimension)
    multiplier = noise_multiplier_of(here, honest) * cohort / survivors
    contributors = math.floor(cohort * honest / survivors)
    try:
        there = _narrowest(
            spec.moduli,
            lambda bits: EncodingParameters.for_cohort(
                dimension=dimension,
                clip_norm=here.clip_norm,
                noise_multiplier=multiplier,
                bits=bits,
                cohort_max=cohort,
                noise_contributors=contributors,
                rotation_seed=here.rotation_seed,
                beta=here.beta,
            ),
        )
    except EncodingError as error:
        raise TaskFileError([f"[report] extrapolate_to {cohort} cannot be computed: {error}"]) from None
    epsilon = (rounds * round_curve(there, contributors)).epsilon(spec.privacy.delta)
    return Extrapolation(cohort, survivors, rounds, multiplier, epsilon, spec.privacy.delta)
