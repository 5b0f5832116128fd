"""A release channel that is set back to what it said once, all of it signed well, as vectors for any TUF client.

`told` are the files that the server has, by their path below `/releases/`. What a device has seen before decides: one
that has not would take the old ones.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from cohort import NOW
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from release_repository import METADATA_URL, ROLES, ReleaseRepository

BASE = METADATA_URL.removesuffix("metadata/")
LATER = datetime(2100, 1, 1, tzinfo=UTC)  # a TUF client looks at the clock of its machine
MODEL, MANIFEST = "next_word", hashlib.sha256(b"model.json").hexdigest()
VERSIONS = ("1.0.0", "1.1.0")  # of the model, in the order of their releases
STOLEN, NEW = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32).public_key() for n in (21, 22))

# What the channel says when the device first looks: a version of the model, and a plan key. Before, it said "1.0.0" and
# the stolen key, and that it says again.
ATTACKS = {
    "stale-release": (
        "The channel goes back to before the newest release: to a model that was withdrawn, or that is weaker.",
        (VERSIONS[1], STOLEN),
    ),
    "replaced-plan-key": (
        "The channel goes back to before the plan key was replaced, and vouches for the one that was stolen.",
        (VERSIONS[0], NEW),
    ),
}


def as_vectors() -> list[dict[str, Any]]:
    return [_set_back(name, about, *after) for name, (about, after) in ATTACKS.items()]


def _set_back(name: str, about: str, version: str, plan_key: Ed25519PublicKey) -> dict[str, Any]:
    keys = {role: Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n, role in enumerate(ROLES, 31)}
    repository = ReleaseRepository(keys, LATER)
    before = _publish(repository, VERSIONS[0], STOLEN)
    after = _publish(repository, version, plan_key)
    return {
        "name": name,
        "about": about,
        "device": {
            "root": repository.root_json.hex(),
            "now": NOW,
            "model": MODEL,
            "manifest_sha256": MANIFEST,
            "sdk_version": "0.1.0",
            "device_id": bytes(16).hex(),
        },
        "exchanges": [
            {"told": after, "answer": {"release": version, "plan_key": plan_key.public_bytes_raw().hex()}},
        ],
        "refused": {
            "told": before,
            "error": "ReleaseRefused",
            "says": "the release metadata was refused (replayed)",
        },
    }


def _publish(repository: ReleaseRepository, version: str, plan_key: Ed25519PublicKey) -> dict[str, str]:
    """All that the server then has but weights, which nobody gets to fetch."""
    custom = {
        "model": MODEL,
        "version": version,
        "release": VERSIONS.index(version) + 1,
        "minimum_sdk": "0.1.0",
        "rollout_percent": 100,
        "salt": "",
        "manifest_sha256": MANIFEST,
    }
    repository.add(f"{MODEL}/{version}/weights.f32", version.encode(), custom)
    service = repository.add("service.json", json.dumps({"plan_key": plan_key.public_bytes_raw().hex()}).encode())
    number = repository.timestamp.version
    metadata = ("timestamp.json", f"{number}.snapshot.json", f"{number}.targets.json")
    return {
        url.removeprefix(BASE): repository.served[url].hex()
        for url in (*(METADATA_URL + name for name in metadata), service)
    }
