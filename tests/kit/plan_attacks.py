"""Plans by which a server would have a device protect its user less: what the device holds against each of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from good_plan import COHORT, GOOD, POLICY, changed

from hushfold_protocol.errors import PlanRefused, RemoteError, SignatureInvalid
from hushfold_protocol.messages import Invitation
from hushfold_protocol.signing import sign_plan

PLAN_KEY, ANOTHER_KEY = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (7, 8))


@dataclass(frozen=True)
class PlanAttack:
    name: str
    about: str
    invitation: Invitation
    says: str
    error: type[RemoteError] = PlanRefused


def _with(says: str, about: str, **changes: Any) -> tuple[str, str, Invitation]:
    return about, says, sign_plan(PLAN_KEY, changed(**changes))


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
        update={"local_stddev": _share(math.sqrt(COHORT.noise_contributors / COHORT.maximum))},
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
    "no-random-wait": _with(
        "a random wait of up to 0 seconds, 5 to 3600 allowed",
        "A device is to join as soon as it has finished: when it does says how much it had to do.",
        join_delay_ms=0,
    ),
    "delta-raised": _with(
        "delta of 0.0001, at most 1e-05 allowed",
        "The guarantee may fail for one user in ten thousand.",
        delta=1e-4,
    ),
}
_FORGED = {
    "plan-of-another-key": (
        "A good plan under a key that the release channel does not vouch for.",
        sign_plan(ANOTHER_KEY, GOOD),
    ),
    "plan-changed-after-signing": (
        "Another floor under the signature of the good plan.",
        Invitation(changed(cohort={"floor": 79}).encode(), sign_plan(PLAN_KEY, GOOD).signature),
    ),
}

PLAN_ATTACKS = {
    **{name: PlanAttack(name, about, invitation, says) for name, (about, says, invitation) in _SIGNED.items()},
    **{
        name: PlanAttack(name, about, forged, "the signature of this plan does not verify", SignatureInvalid)
        for name, (about, forged) in _FORGED.items()
    },
}


def as_vectors() -> list[dict[str, Any]]:
    """One for each attack, named after it, and one for the plan that is accepted."""
    policy = {name: value for name, value in asdict(POLICY).items() if name != "min_examples"}
    device = {"plan_key": PLAN_KEY.public_key().public_bytes_raw().hex(), "policy": policy}
    return [
        {
            "name": "honest-plan",
            "about": "A plan that a device with this policy agrees to, and what it costs its user.",
            "device": device,
            "accepted": {
                "told": _told(sign_plan(PLAN_KEY, GOOD)),
                "epsilon": round(GOOD.curve().epsilon(GOOD.delta), 6),
            },
        },
        *(
            {
                "name": attack.name,
                "about": attack.about,
                "device": device,
                "refused": {
                    "told": _told(attack.invitation),
                    "error": attack.error.__name__,
                    "says": attack.says,
                },
            }
            for attack in PLAN_ATTACKS.values()
        ),
    ]


def _told(invitation: Invitation) -> dict[str, str]:
    return {"Invitation": invitation.encode().hex()}
