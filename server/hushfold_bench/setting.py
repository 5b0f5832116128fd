"""What is summed: the plan of a round, and the updates of its devices. All of it follows from a seed."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushfold_protocol.encoding import EncodingParameters, encode
from hushfold_protocol.packing import EncodedVector
from hushfold_protocol.plan import CohortParameters, ModelReference, Plan, TrainingParameters, UpdateParameters
from hushfold_protocol.randomness import AesCtrStream, RandomBytes
from hushfold_protocol.secagg.device import Identity
from hushfold_protocol.signing import issue_certificate

WHOLE_MODEL = 1_412_826
"""Values in an update of the shipped next-word model."""
BITS = 16
"""Of the modulus: what the server takes for a whole model, this noise multiplier and up to 1,000 devices."""
NOW = 1_800_000_000.0  # unix seconds: no clock is read
UPDATES = 4  # different ones; devices take turns

_FLOOR = 0.65  # of the cohort
_GAMMA = 0.05  # of the cohort may collude with the server
_CLIP_NORM, _NOISE_MULTIPLIER = 1.0, 1.0


@dataclass(frozen=True, slots=True)
class Setting:
    """One round to measure."""

    devices: int  # that join and share
    lost: int  # percent of them, lost after they have shared and before they upload
    dimension: int = WHOLE_MODEL
    bits: int = BITS
    seed: int = 0

    @property
    def missing(self) -> int:
        """Devices that are lost."""
        return self.devices * self.lost // 100

    @property
    def survivors(self) -> int:
        return self.devices - self.missing

    def plan(self) -> Plan:
        cohort = CohortParameters(self.devices, self.devices, int(self.devices * _FLOOR), _GAMMA)
        encoding = EncodingParameters.for_cohort(
            dimension=self.dimension,
            clip_norm=_CLIP_NORM,
            noise_multiplier=_NOISE_MULTIPLIER,
            bits=self.bits,
            cohort_max=cohort.maximum,
            noise_contributors=cohort.noise_contributors,
            rotation_seed=(self.seed, 1),
        )
        return Plan(
            population="bench",
            task="bench",
            round_id=self._bytes("round")[:16],
            round_number=1,
            model=ModelReference("bench", "1.0.0", bytes(32), "whole", bytes(32)),
            training=TrainingParameters(1, 1, 1, 0.1, 1, 0),
            update=UpdateParameters(
                encoding.dimension,
                encoding.clip_norm,
                encoding.scale,
                encoding.bits,
                encoding.local_stddev,
                *encoding.rotation_seed,
                encoding.beta,
            ),
            cohort=cohort,
            delta=1e-6,
            join_delay_ms=0,
            expires=int(NOW) + 600,
        )

    def update(self, device: int) -> npt.NDArray[np.float32]:
        """What a device has learned, float32[dimension] of norm 0.9: one of `UPDATES`."""
        rng = np.random.default_rng([self.seed, device % UPDATES])
        values = rng.standard_normal(self.dimension, np.float32)
        values *= np.float32(0.9 / np.linalg.norm(values))
        return values

    def encoded(self, device: int) -> EncodedVector:
        """`update`, encoded for the plan."""
        return encode(self.update(device), self.plan().update.encoding(), self.noise(device))

    def noise(self, device: int) -> RandomBytes:
        """The randomness of a device's encoding: the same for the same update, so that the sum is known."""
        return AesCtrStream(self._bytes(f"noise {device % UPDATES}"))

    def identity(self, device: int) -> Identity:
        """An enrolled device."""
        key = Ed25519PrivateKey.from_private_bytes(self._bytes(f"device {device}"))
        certificate = issue_certificate(
            self._authority, key.public_key().public_bytes_raw(), int(NOW) - 60, int(NOW) + 3600
        )
        return Identity(key, certificate, self.authority_key)

    def random_bytes(self, device: int) -> RandomBytes:
        """The randomness of a device's secrets."""
        return AesCtrStream(self._bytes(f"secrets {device}"))

    @property
    def authority_key(self) -> bytes:
        return self._authority.public_key().public_bytes_raw()

    @property
    def _authority(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._bytes("authority"))

    def _bytes(self, purpose: str) -> bytes:
        return hashlib.sha256(f"hushfold-bench {self.seed} {purpose}".encode()).digest()


def expected_sum(encoded: list[EncodedVector], devices: list[int], bits: int) -> EncodedVector:
    """The sum of the vectors of these devices modulo 2^bits, by plain addition. `encoded`: one for each update."""
    total = functools.reduce(np.add, (encoded[device % UPDATES] for device in devices))
    return total & np.uint32((1 << bits) - 1)
