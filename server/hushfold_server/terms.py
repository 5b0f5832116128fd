"""What a task's terms come to before it is launched: its noise, the cost of a round, and what will not work.

What can never happen is a fault of the task file. What would happen and lead nowhere is a warning: an app may have a
policy of its own, and an operator a reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hushfold_format import ModelManifest
from hushfold_protocol.errors import PlanRefused
from hushfold_protocol.plan import DevicePolicy, ModelReference, Plan
from hushfold_protocol.privacy import RdpCurve

from .errors import TaskFileError
from .planning import make_plan, noise_multiplier_of
from .tasks import TaskSpec


@dataclass(frozen=True, slots=True)
class Terms:
    """A task and what follows from its file."""

    spec: TaskSpec
    noise_multiplier: float  # z, given or derived from target_epsilon
    bits: int  # sums are taken modulo 2^bits
    round_epsilon: float  # of one round at its worst: the floor survives, and the tolerated colluders add no noise
    warnings: tuple[str, ...]  # sentences

    def __str__(self) -> str:
        cohort, privacy = self.spec.cohort, self.spec.privacy
        return (
            f"noise multiplier {self.noise_multiplier:.4g}, modulo 2^{self.bits}; {cohort.floor} to {cohort.maximum} "
            f"devices in a sum; epsilon {self.round_epsilon:.3g} a round at most, of {privacy.budget_epsilon:g} at "
            f"delta {privacy.delta:g}"
        )


def terms_of(spec: TaskSpec, manifest: ModelManifest) -> Terms:
    """The terms of a task on a model that has the part it names.

    Raises TaskFileError for privacy that cannot be had with this model, and for a budget that pays for no round.
    """
    plan = _first_plan(spec, manifest)
    curve, privacy = plan.curve(), spec.privacy
    epsilon = curve.epsilon(privacy.delta)
    if not epsilon <= privacy.budget_epsilon:
        raise TaskFileError(
            [
                f"[privacy] budget_epsilon ({privacy.budget_epsilon:g}) pays for no round: one costs epsilon "
                f"{epsilon:.4g} at delta {privacy.delta:g} if only the floor of {spec.cohort.floor} survives; raise "
                "it, noise_multiplier or [cohort] floor"
            ]
        )
    multiplier = noise_multiplier_of(plan.update.encoding(), plan.cohort.noise_contributors)
    return Terms(spec, multiplier, plan.update.bits, epsilon, tuple(_warnings(spec, plan, curve, multiplier)))


def _first_plan(spec: TaskSpec, manifest: ModelManifest) -> Plan:
    """The plan of the first round but for what no device judges: which weights, which seeds, until when."""
    return make_plan(
        spec,
        round_id=bytes(16),
        round_number=1,
        model=ModelReference(manifest.name, manifest.version, bytes(32), spec.task.part, bytes(32)),
        dimension=manifest.parts[spec.task.part].size,
        rotation_seed=(0, 0),
        batch=manifest.batch,
        time=manifest.time,
        now=0.0,
    )


def _warnings(spec: TaskSpec, plan: Plan, curve: RdpCurve, multiplier: float) -> Iterator[str]:
    try:
        DevicePolicy().check(plan)
    except PlanRefused as refused:
        fault = str(refused).removeprefix(f"plan of task {plan.task!r}, round {plan.round_number}: ")
        yield f"devices with the default policy refuse this: {fault}"
    if multiplier > spec.cohort.floor:
        yield (
            f"the noise in each value of the mean has a standard deviation of "
            f"{multiplier * spec.privacy.clip_norm / spec.cohort.floor:.3g} at the floor, which is more than the norm "
            f"of a whole update ({spec.privacy.clip_norm:g}): nothing can be learned"
        )
    paid = _rounds_paid(spec, curve)
    if paid < spec.schedule.rounds:
        yield (
            f"the budget pays for {paid} of {spec.schedule.rounds} rounds if the same devices take part each time and "
            "only the floor survives; the task then ends and its model is published"
        )


def _rounds_paid(spec: TaskSpec, curve: RdpCurve) -> int:
    """The most rounds, up to the schedule's, that one device can take part in within the budget; one is paid for."""
    paid, beyond = 1, spec.schedule.rounds + 1
    while beyond - paid > 1:
        middle = (paid + beyond) // 2
        if (middle * curve).epsilon(spec.privacy.delta) <= spec.privacy.budget_epsilon:
            paid = middle
        else:
            beyond = middle
    return paid
