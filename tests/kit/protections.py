"""Protections of a device that a test can take away, to see that an attack would succeed without them."""

from __future__ import annotations

import pytest

from hushfold_protocol import signing
from hushfold_protocol.messages import Survivors
from hushfold_protocol.secagg import session
from hushfold_protocol.secagg.device import DeviceSession, Uploaded
from hushfold_protocol.secagg.session import Session
from hushfold_protocol.wire import Message


def cut_consent_signatures(patch: pytest.MonkeyPatch) -> None:
    """Devices count consents without looking at what was signed."""
    patch.setattr(Session, "verify_consent", lambda *_: None)


def cut_upload_signatures(patch: pytest.MonkeyPatch) -> None:
    """Devices give seeds away without looking at what their owners have signed."""
    patch.setattr(Session, "verify_sharers", lambda *_: None)


def cut_minimums(patch: pytest.MonkeyPatch) -> None:
    """Devices are content with any number of others."""
    patch.setattr(Session, "consents", property(lambda _: 1))


def cut_minimums_and_consents(patch: pytest.MonkeyPatch) -> None:
    cut_minimums(patch)
    cut_consent_signatures(patch)


def cut_memory(patch: pytest.MonkeyPatch) -> None:
    """Devices answer every list of survivors as if it were the first."""

    def receive(self: DeviceSession, message: Message) -> Message:
        if isinstance(self.state, Uploaded):
            self.uploaded = self.state
        if isinstance(message, Survivors):
            self.state = self.uploaded
        self.state, answer = self._step(message)
        return answer

    patch.setattr(DeviceSession, "receive", receive)


def _cut_signatures(patch: pytest.MonkeyPatch, *purposes: str) -> None:
    verify = signing.verify

    def lenient(public_key: bytes, purpose: str, content: bytes, signature: bytes) -> None:
        if purpose not in purposes:
            verify(public_key, purpose, content, signature)

    for module in (signing, session):
        patch.setattr(module, "verify", lenient)


def cut_certificates(patch: pytest.MonkeyPatch) -> None:
    """Devices take any certificate for the authority's."""
    _cut_signatures(patch, "certificate")


def cut_key_signatures(patch: pytest.MonkeyPatch) -> None:
    """Devices do not look at who signed keys and lists."""
    _cut_signatures(patch, "join", "consent", "sharers")
