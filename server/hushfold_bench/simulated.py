"""Devices that are there for the others: real in all that they send, quick because nobody notices what they skip.

They run the device's role itself, with three differences:

- They take the server's roster and the others' signatures as given. Those that are measured check everything.
- Two of them that both survive leave out the mask that they have in common: it cancels in the sum.
- Those with the same update have encoded it once.

So the server gets as much of everything as from other devices, has as many masks to take off, and the sum is the one
that it would have been, to the bit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from hushfold_protocol.messages import Join, Roster
from hushfold_protocol.packing import EncodedVector
from hushfold_protocol.plan import Plan
from hushfold_protocol.secagg import crypto, device
from hushfold_protocol.secagg.session import Session, open_session
from hushfold_protocol.wire import Message

from .setting import NOW, UPDATES, Setting

_LEFT_OUT = b""  # instead of the seed of a mask that cancels


class _TrustingSession(Session):
    """A session whose signatures are taken as given."""

    def verify_consent(self, index: int, text: bytes, signature: bytes) -> None:
        pass

    def verify_sharers(self, index: int, text: bytes, signature: bytes) -> None:
        pass


class SimulatedDevices:
    """The devices of these numbers, of which `lost` never upload."""

    def __init__(
        self, setting: Setting, numbers: Collection[int], lost: Collection[int], encoded: list[EncodedVector]
    ) -> None:
        plan = setting.plan()
        self._lost = frozenset(lost)
        self._session: _TrustingSession | None = None
        self._silent: frozenset[int] = frozenset()
        self._devices = {
            number: device.DeviceSession(
                plan,
                setting.identity(number),
                lambda number=number: encoded[number % UPDATES],  # type: ignore[misc]
                min_cohort=2,
                clock=lambda: NOW,
                random_bytes=setting.random_bytes(number),
            )
            for number in numbers
        }

    def join(self, number: int) -> Join:
        return self._devices[number].join

    def receive(self, number: int, message: Message) -> bytes:
        """One device's answer."""
        with self._quick():
            return self._devices[number].receive(message).encode()

    @contextmanager
    def _quick(self) -> Iterator[None]:
        pair_seed, apply_masks = crypto.pair_seed, crypto.apply_masks

        def seed(private: X25519PrivateKey, public: bytes, session: bytes, one: int, other: int) -> bytes:
            if {one, other} <= self._silent:
                return _LEFT_OUT
            return pair_seed(private, public, session, one, other)

        def masks(vector: EncodedVector, some: Iterable[tuple[bytes, int]], bits: int) -> None:
            apply_masks(vector, ((seed, sign) for seed, sign in some if seed != _LEFT_OUT), bits)

        with (
            patch.object(device, "open_session", self._open),
            patch.object(crypto, "pair_seed", seed),
            patch.object(crypto, "apply_masks", masks),
        ):
            yield

    def _open(self, plan: Plan, roster: Roster, authority_key: bytes, now: float) -> Session:
        if self._session is None:
            checked = open_session(plan, roster, authority_key, now)
            self._session = _TrustingSession(checked.plan, checked.joins, checked.id)
            uploading = [each.join for number, each in self._devices.items() if number not in self._lost]
            self._silent = frozenset(map(checked.joins.index, uploading))
        return self._session
