"""What a release is, and which devices it is for. No input or output: `updates` brings releases here.

A release is a TUF target `<model>/<version>/weights.f32`; its `custom` object says the rest:

    {"model": "next_word", "version": "1.2.0", "release": 7, "minimum_sdk": "0.1.0", "rollout_percent": 20,
     "salt": "b1f0", "manifest_sha256": "<hex>"}

`release` counts up for ever within a model; the highest number that a device is eligible for is its newest release.
Rolling back means to publish an older version under a higher number.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from tuf.api.metadata import TargetFile

from .errors import Refusal, ReleaseRefused

_TARGET = re.compile(r"(?P<model>[\w-]+)/(?P<version>[\w.+-]+)/weights\.f32", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"\d+(\.\d+)*")


@dataclass(frozen=True, slots=True)
class Release:
    """One version of a model's weights, as the publisher signed it."""

    model: str
    version: str  # of the model
    number: int  # counts up within the model
    target: str  # its name in the repository
    sha256: str  # lower-case hex, of the weights
    manifest_sha256: str  # lower-case hex, of the model.json whose graphs the weights fit
    minimum_sdk: str  # version
    rollout_percent: int  # of the devices, 0 to 100
    salt: str  # draws the buckets of this rollout

    @classmethod
    def from_target(cls, name: str, target: TargetFile) -> Self | None:
        """The release that a verified target is, or None if its name says that it is something else.

        Raises:
            ReleaseRefused: it is named like a release but does not describe one.
        """
        if (match := _TARGET.fullmatch(name)) is None:
            return None
        custom: dict[str, Any] = target.custom or {}
        try:
            release = cls(
                model=custom["model"],
                version=custom["version"],
                number=custom["release"],
                target=name,
                sha256=target.hashes["sha256"],
                manifest_sha256=custom["manifest_sha256"],
                minimum_sdk=custom["minimum_sdk"],
                rollout_percent=custom["rollout_percent"],
                salt=custom["salt"],
            )
        except KeyError as missing:
            raise _malformed(name, f"it has no {missing}") from None
        if (release.model, release.version) != (match["model"], match["version"]):
            raise _malformed(name, f"it says that it is version {release.version!r} of {release.model!r}")
        release._check()
        return release

    def _check(self) -> None:
        """Raise ReleaseRefused unless every field is of its type and range."""
        whole = (self.number, self.rollout_percent)
        texts = (self.sha256, self.manifest_sha256, self.minimum_sdk, self.salt)
        if not all(type(value) is int for value in whole) or not all(isinstance(text, str) for text in texts):
            raise _malformed(self.target, "a field has the wrong type")
        if self.number < 1 or not 0 <= self.rollout_percent <= 100:
            raise _malformed(self.target, f"number {self.number}, rollout to {self.rollout_percent} %")
        if not (_SHA256.fullmatch(self.sha256) and _SHA256.fullmatch(self.manifest_sha256)):
            raise _malformed(self.target, "a hash is not 64 lower-case hex digits")
        if not _VERSION.match(self.minimum_sdk):
            raise _malformed(self.target, f"minimum SDK {self.minimum_sdk!r}")


@dataclass(frozen=True, slots=True)
class Installation:
    """What decides which releases a device is eligible for."""

    model: str
    manifest_sha256: str  # lower-case hex, of the model.json that is installed
    sdk_version: str
    device_id: bytes

    def accepts(self, release: Release) -> bool:
        """Whether the release fits this device and its rollout has reached it."""
        return (
            release.model == self.model
            and release.manifest_sha256 == self.manifest_sha256
            and _parsed(release.minimum_sdk) <= _parsed(self.sdk_version)
            and rollout_bucket(release.salt, release.model, self.device_id) < release.rollout_percent
        )

    def newest(self, releases: Iterable[Release]) -> Release | None:
        """The release to use: a device that a rollout has not reached gets the newest one that has reached it."""
        return max(filter(self.accepts, releases), key=lambda release: release.number, default=None)


def rollout_bucket(salt: str, line: str, device_id: bytes) -> int:
    """The device's bucket, 0 to 99, in rollouts of a release line (a model's name).

    It stays the same while a rollout widens, so nobody falls out of it; another salt draws anew.
    """
    content = b"\0".join((b"hushfold/v1/rollout", salt.encode(), line.encode(), device_id))
    return int.from_bytes(hashlib.sha256(content).digest(), "big") % 100


def _parsed(version: str) -> tuple[int, ...]:
    """The numbers of a version, without trailing zeros; what follows them (rc1, .dev0) does not count."""
    match = _VERSION.match(version)
    numbers = [int(number) for number in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _malformed(name: str, fault: str) -> ReleaseRefused:
    return ReleaseRefused(
        Refusal.MALFORMED,
        f"release {name} is signed but makes no sense: {fault}",
        "The publisher has to repair it; the active model stays",
    )
