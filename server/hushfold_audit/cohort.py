"""Secure aggregation among devices of one process: both roles are the product's own, and so is every message.

What the server receives in the open is kept: the masked vectors are what an observer on its side sees first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushfold_protocol.messages import Masked
from hushfold_protocol.packing import EncodedVector, unpack
from hushfold_protocol.plan import Plan
from hushfold_protocol.randomness import RandomBytes
from hushfold_protocol.secagg.device import DeviceSession, Identity
from hushfold_protocol.secagg.server import Joining
from hushfold_protocol.signing import device_id, issue_certificate
from hushfold_protocol.wire import Message

STEPS = 5  # of a round, for each device
_YEAR = 366 * 86_400


class Cohort:
    """`size` enrolled devices that take part in every round, and the authority that enrolled them.

    `clock` gives unix seconds, `random_bytes` all keys and secrets.
    """

    def __init__(
        self, size: int, clock: Callable[[], float] = time.time, random_bytes: RandomBytes = os.urandom
    ) -> None:
        self._clock, self._random = clock, random_bytes
        authority = Ed25519PrivateKey.from_private_bytes(random_bytes(32))
        self._authority_key = authority.public_key().public_bytes_raw()
        now = int(clock())
        self._identities = []
        for _ in range(size):
            key = Ed25519PrivateKey.from_private_bytes(random_bytes(32))
            certificate = issue_certificate(authority, key.public_key().public_bytes_raw(), now - 60, now + _YEAR)
            self._identities.append(Identity(key, certificate, self._authority_key))

    @property
    def ids(self) -> list[bytes]:
        """What the ledger calls the devices."""
        return [device_id(identity.certificate.public_key) for identity in self._identities]

    def secure_sum(
        self, plan: Plan, vectors: Sequence[EncodedVector], advance: Callable[[], None] = lambda: None
    ) -> tuple[EncodedVector, list[EncodedVector]]:
        """The sum modulo 2^b, uint32[d], and every device's masked vector as the server has it, uint32[d] each.

        `advance` is called for each device at each of STEPS steps.
        """
        devices = [
            DeviceSession(plan, identity, vector.copy, min_cohort=2, clock=self._clock, random_bytes=self._random)
            for identity, vector in zip(self._identities, vectors, strict=True)
        ]
        joining = Joining(plan, self._authority_key)
        for device in devices:
            joining = joining.accept(device.join, self._clock())
            advance()
        sharing = joining.close()
        places = [sharing.session.joins.index(device.join) for device in devices]
        for place, device in zip(places, devices, strict=True):
            sharing = sharing.accept(place, _answer(device, sharing.announcement()))
            advance()
        masking = sharing.close()
        total = np.zeros(vectors[0].size, np.uint32)
        uploads = []
        for place, device in zip(places, devices, strict=True):
            masked: Masked = _answer(device, masking.announcement(place))
            uploads.append(unpack(masked.vector, total.size, plan.update.bits))
            masking = masking.accept(place, masked, total)
            advance()
        agreeing = masking.close()
        for place, device in zip(places, devices, strict=True):
            agreeing = agreeing.accept(place, _answer(device, agreeing.announcement()))
            advance()
        unmasking = agreeing.close()
        for place, device in zip(places, devices, strict=True):
            unmasking = unmasking.accept(place, _answer(device, unmasking.announcement()))
            advance()
        return unmasking.close().unmask(total), uploads


def _answer(device: DeviceSession, message: Message) -> Any:
    """The device's answer, which is of the type that the server expects at this step."""
    return device.receive(message)
