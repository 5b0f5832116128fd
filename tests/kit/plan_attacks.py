"""Plans by which a server would have a device protect its user less: what the device holds against each of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushfold_protocol.encoding import EncodingParameters
from hushfold_protocol.errors import PlanRefused, RemoteError, SignatureInvalid
from hushfold_protocol.messages import Invitation
from hushfold_protocol.plan import (
    CohortParameters,
    DevicePolicy,
    ModelReference,
    Plan,
    TrainingParameters,
    UpdateParameters,
)
from hushfold_protocol.signing import open_invitation, sign_plan

PLAN_KEY, ANOTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (7, 8))
POLICY = DevicePolicy()

_COHORT = CohortParameters(target=100, maximum=100, floor=80, gamma=0.05)
_ENCODING = EncodingParameters.for_cohort(
    dimension=64,
    clip_norm=0.25,
    noise_multiplier=0.72,
    bits=24,
    cohort_max=_COHORT.maximum,
    noise_contributors=_COHORT.noise_contributors,
    rotation_seed=(1, 2),
    beta=0.5,
)
GOOD = Plan(
    population="keyboard-en",
    task="words",
    round_id=bytes(range(16)),
    round_number=1,
    model=ModelReference("next_word", "1.0.0", bytes(32), "adapter", bytes(32)),
    training=TrainingParameters(steps=50, batch=16, time=20, learning_rate=0.5, max_examples=50, seed=0),
    update=UpdateParameters(
        dimension=_ENCODING.dimension,
        clip_norm=_ENCODING.clip_norm,
        scale=float(int(_ENCODING.scale)),  # whole numbers: the same bytes on every machine
        bits=_ENCODING.bits,
        local_stddev=float(math.ceil(_ENCODING.local_stddev)),
        rotation_seed_0=1,
        rotation_seed_1=2,
        beta=_ENCODING.beta,
    ),
    cohort=_COHORT,
    delta=1e-6,
    join_delay_ms=30_000,
    expires=2_000_000_000,
)
"""A plan that a device with the default policy agrees to, but hardly."""


@dataclass(frozen=True)
class PlanAttack:
    name: str
    about: str
    invitation: Invitation
    says: str
    error: type[RemoteError] = PlanRefused


def _with(says: str, about: str, **parts: dict[str, Any]) -> tuple[str, str, Invitation]:
    changed = {name: replace(getattr(GOOD, name), **fields) for name, fields in parts.items()}
    return about, says, sign_plan(PLAN_KEY, replace(GOOD, **changed))


def _share(factor: float) -> float:
    return GOOD.update.local_stddev * factor


_SIGNED = {
    "floor-lowered": _with(
        "floor of 20, at least 65 needed", "A sum of twenty devices would be opened.", cohort={"floor": 20}
    ),
    "gamma-lowered": _with(
        "gamma of 0.0, at least 0.05 needed",
        "Nobody is supposed to collude: thresholds sink, and every device counts as one that adds noise.",
        cohort={"gamma": 0.0},
    ),
    "noise-left-to-colluders": _with(
        "the tolerated colluders leave no honest noise at the floor",
        "So many may collude that all the noise at the floor can be theirs.",
        cohort={"maximum": 1000, "gamma": 0.09},
    ),
    "no-noise": _with("no noise", "Devices are to add none.", update={"local_stddev": 0.0}),
    "noise-share-lowered": _with(
        "for one round, at most 8 allowed",
        "Every device is to add a tenth of its share.",
        update={"local_stddev": _share(0.1)},
    ),
    "noise-spread-over-the-whole-cohort": _with(
        "for one round, at most 8 allowed",
        "Shares as if all that are admitted were certain to survive and nobody to collude.",
        update={"local_stddev": _share(math.sqrt(_COHORT.noise_contributors / _COHORT.maximum))},
    ),
    "finer-grid": _with(
        "for one round, at most 8 allowed",
        "The grid is four times as fine, and the noise in grid steps the same.",
        update={"scale": 4 * GOOD.update.scale},
    ),
    "clip-norm-raised": _with(
        "for one round, at most 8 allowed",
        "Updates may be four times as long under the same noise.",
        update={"clip_norm": 4 * GOOD.update.clip_norm},
    ),
    "more-colluders-same-noise": _with(
        "for one round, at most 8 allowed",
        "Gamma is raised, but the shares stay those of the smaller one.",
        cohort={"gamma": 0.4},
    ),
    "no-random-wait": (
        "A device is to join as soon as it has finished: when it does says how much it had to do.",
        "a random wait of up to 0 seconds, 5 to 3600 allowed",
        sign_plan(PLAN_KEY, replace(GOOD, join_delay_ms=0)),
    ),
    "delta-raised": (
        "The guarantee may fail for one user in ten thousand.",
        "delta of 0.0001, at most 1e-05 allowed",
        sign_plan(PLAN_KEY, replace(GOOD, delta=1e-4)),
    ),
}
_FORGED = {
    "plan-of-another-key": (
        "A good plan under a key that the release channel does not vouch for.",
        sign_plan(ANOTHER_KEY, GOOD),
    ),
    "plan-changed-after-signing": (
        "Another floor under the signature of the good plan.",
        Invitation(replace(GOOD, cohort=replace(_COHORT, floor=79)).encode(), sign_plan(PLAN_KEY, GOOD).signature),
    ),
}

PLAN_ATTACKS = {
    **{name: PlanAttack(name, about, invitation, says) for name, (about, says, invitation) in _SIGNED.items()},
    **{
        name: PlanAttack(name, about, forged, "the signature of this plan does not verify", SignatureInvalid)
        for name, (about, forged) in _FORGED.items()
    },
}


def judge(invitation: Invitation) -> Plan:
    """What a device does with an invitation, as `Participation` does it."""
    plan = open_invitation(invitation, PLAN_KEY.public_key().public_bytes_raw())
    POLICY.check(plan)
    return plan


def as_vectors() -> dict[str, Any]:
    """The cases as data: an invitation is judged by its signature first, then by the policy."""
    accepted = sign_plan(PLAN_KEY, GOOD)
    return {
        "name": "plans",
        "about": "Invitations, and what a device with this policy makes of them.",
        "plan_key": PLAN_KEY.public_key().public_bytes_raw().hex(),
        "policy": {name: value for name, value in asdict(POLICY).items() if name != "min_examples"},
        "accepted": {"invitation": accepted.encode().hex(), "epsilon": round(GOOD.curve().epsilon(GOOD.delta), 6)},
        "refused": [
            {
                "name": attack.name,
                "about": attack.about,
                "invitation": attack.invitation.encode().hex(),
                "error": attack.error.__name__,
                "says": attack.says,
            }
            for attack in PLAN_ATTACKS.values()
        ],
    }
