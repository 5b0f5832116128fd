"""Ed25519 signatures with a purpose: a signature made for one kind of message is worthless for any other."""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from .errors import SignatureInvalid
from .messages import (
    DEVICE_ID_BYTES,
    Certificate,
    CheckIn,
    EnrolRequest,
    Invitation,
    Join,
    Signed,
)
from .plan import Plan
from .wire import Message

_PREFIX = b"hushfold/v1/"
SIGNATURE_BYTES = 64
CHECK_IN_WINDOW = 300  # seconds

_FIELD = 2**255 - 19  # of edwards25519
_EIGHTH = int("7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7", 16)
# The y-coordinates of the eight points whose order divides 8. A key among them is nobody's: signatures under it can be
# made without a secret, and RFC 8032 lets them verify (Chalkias, Garillot, Nikolaenko 2020, ePrint 2020/1244, table 1).
_SMALL_ORDER = frozenset({0, 1, _FIELD - 1, _EIGHTH, _FIELD - _EIGHTH})


def sign(key: Ed25519PrivateKey, purpose: str, content: bytes) -> bytes:
    """Signature of `content` (64 bytes), valid for `purpose` only."""
    return key.sign(_PREFIX + purpose.encode() + b"\0" + content)


def verify(public_key: bytes, purpose: str, content: bytes, signature: bytes) -> None:
    """Returns if the signature holds; raises SignatureInvalid if not. Never a bool, which could be ignored."""
    if int.from_bytes(public_key, "little") % 2**255 % _FIELD in _SMALL_ORDER:  # in any encoding, of either sign
        raise SignatureInvalid(f"the key of this {purpose} is of small order: anyone could have signed it")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, _PREFIX + purpose.encode() + b"\0" + content)
    except (InvalidSignature, ValueError):
        raise SignatureInvalid(f"the signature of this {purpose} does not verify") from None


def device_id(public_key: bytes) -> bytes:
    """The id of a device: the hash of its enrolled key, 16 bytes."""
    return hashlib.sha256(b"hushfold/v1/device\0" + public_key).digest()[:DEVICE_ID_BYTES]


def _unsigned(message: Message) -> bytes:
    """The encoding of a message whose last field is its 64-byte signature, without that field."""
    return message.encode()[:-SIGNATURE_BYTES]


def issue_certificate(authority: Ed25519PrivateKey, public_key: bytes, not_before: int, not_after: int) -> Certificate:
    """A certificate for `public_key`, valid between two unix times (seconds)."""
    draft = Certificate(public_key, not_before, not_after, bytes(SIGNATURE_BYTES))
    return Certificate(public_key, not_before, not_after, sign(authority, "certificate", _unsigned(draft)))


def verify_certificate(certificate: Certificate, authority_key: bytes, now: float) -> None:
    """Raises SignatureInvalid if the authority did not sign it or `now` (unix seconds) is outside its validity."""
    verify(authority_key, "certificate", _unsigned(certificate), certificate.signature)
    if not certificate.not_before <= now <= certificate.not_after:
        raise SignatureInvalid(
            f"the certificate of device {device_id(certificate.public_key).hex()} is not valid at this time"
        )


def request_enrolment(key: Ed25519PrivateKey, evidence: bytes = b"") -> EnrolRequest:
    """A device's request, with proof that it holds the key."""
    public = key.public_key().public_bytes_raw()
    draft = EnrolRequest(public, evidence, bytes(SIGNATURE_BYTES))
    return EnrolRequest(public, evidence, sign(key, "enrolment", _unsigned(draft)))


def verify_enrolment(request: EnrolRequest) -> None:
    """Raises SignatureInvalid if the sender does not hold the key that it asks a certificate for."""
    verify(request.public_key, "enrolment", _unsigned(request), request.signature)


def seal(key: Ed25519PrivateKey, payload: Message) -> Signed:
    """`payload` under the sender's signature; the purpose is the payload's type."""
    encoded = payload.encode()
    return Signed(encoded, sign(key, type(payload).__name__, encoded))


def open_check_in(signed: Signed, authority_key: bytes, now: float) -> CheckIn:
    """A check-in by an enrolled device, made within five minutes of `now` (unix seconds)."""
    check_in = CheckIn.decode(signed.payload)
    verify_certificate(check_in.certificate, authority_key, now)
    verify(check_in.certificate.public_key, CheckIn.__name__, signed.payload, signed.signature)
    if abs(check_in.time - now) > CHECK_IN_WINDOW:
        raise SignatureInvalid("the check-in is too old or from the future: set the device's clock")
    return check_in


def sign_plan(key: Ed25519PrivateKey, plan: Plan) -> Invitation:
    """The plan under the server's plan key."""
    encoded = plan.encode()
    return Invitation(encoded, sign(key, "plan", encoded))


def open_invitation(invitation: Invitation, plan_key: bytes) -> Plan:
    """The plan of an invitation. Raises WireError or SignatureInvalid."""
    verify(plan_key, "plan", invitation.plan, invitation.signature)
    return Plan.decode(invitation.plan)


def sign_join(
    key: Ed25519PrivateKey,
    plan: Plan,
    certificate: Certificate,
    sharing_key: bytes,
    masking_key: bytes,
    seed_commitment: bytes,
) -> Join:
    """Fresh keys bound to one plan and one enrolled device."""
    fields = (plan.round_id, plan.hash, certificate, sharing_key, masking_key, seed_commitment)
    draft = Join(*fields, bytes(SIGNATURE_BYTES))
    return Join(*fields, sign(key, "join", _unsigned(draft)))


def verify_join(join: Join, plan: Plan, authority_key: bytes, now: float) -> None:
    """Raises SignatureInvalid unless an enrolled device made this join for exactly this plan.

    The certificate must be in force at `now` (unix seconds) and until the plan expires. Whoever was admitted stays so:
    after that moment the time does not matter, or one certificate that ends between the join and the roster would
    make the roster void for everyone.
    """
    if join.plan_hash != plan.hash or join.round_id != plan.round_id:
        raise SignatureInvalid("this join was made for another plan")
    certificate = join.certificate
    verify_certificate(certificate, authority_key, min(now, plan.expires))
    if certificate.not_after < plan.expires:
        raise SignatureInvalid(
            f"the certificate of device {device_id(certificate.public_key).hex()} ends before the plan expires: "
            "renew it, and join another round"
        )
    verify(join.certificate.public_key, "join", _unsigned(join), join.signature)
