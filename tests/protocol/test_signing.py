"""Signatures: of a key that somebody holds, for one purpose."""

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hushfold_protocol.errors import SignatureInvalid
from hushfold_protocol.messages import EnrolRequest
from hushfold_protocol.signing import request_enrolment, sign, verify, verify_enrolment

# Every encoding of a point whose order divides eight: y is 0, 1, -1 or one of two others, and 0 and 1 can also be
# written as p and p + 1; the top bit is the sign of x.
SMALL_ORDER = [
    bytes(encoding[:31] + bytes([encoding[31] | sign]))
    for sign in (0, 0x80)
    for encoding in (
        bytes(32),
        b"\1" + bytes(31),
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        *(bytes([low]) + b"\xff" * 30 + b"\x7f" for low in (0xEC, 0xED, 0xEE)),
    )
]


def forged(public_key, purpose, content):
    """A signature that nobody with a secret made: R of small order, S = 0."""
    for point in SMALL_ORDER:
        signature = point + bytes(32)
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(
                signature, b"hushfold/v1/" + purpose.encode() + b"\0" + content
            )
        except (InvalidSignature, ValueError):
            continue
        return signature
    return None


@pytest.mark.parametrize("key", SMALL_ORDER, ids=bytes.hex)
def test_a_key_of_small_order_signs_nothing(key):
    """Without the check, one of a few guesses verifies, for any content."""
    forgeries = [(content, forged(key, "Consent", content)) for content in (b"%d" % number for number in range(20))]
    assert any(signature for _, signature in forgeries)
    for content, signature in forgeries:
        with pytest.raises(SignatureInvalid, match="small order"):
            verify(key, "Consent", content, signature or bytes(64))


def test_a_key_of_small_order_does_not_enrol():
    requests = [EnrolRequest(bytes(32), evidence, bytes(64)) for evidence in (b"%d" % number for number in range(20))]
    for request in requests:
        with pytest.raises(SignatureInvalid):
            verify_enrolment(request)


def test_a_signature_is_for_its_purpose_its_content_and_its_key_alone():
    key, other = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))
    public = key.public_key().public_bytes_raw()
    signature = sign(key, "Consent", b"content")
    verify(public, "Consent", b"content", signature)
    for changed in (
        (public, "Unmask", b"content", signature),
        (public, "Consent", b"contents", signature),
        (other.public_key().public_bytes_raw(), "Consent", b"content", signature),
        (public, "Consent", b"content", bytes(64)),
        (public, "Consent", b"content", signature[:-1]),
        (public[:-1], "Consent", b"content", signature),
    ):
        with pytest.raises(SignatureInvalid):
            verify(*changed)


def test_an_honest_key_enrols():
    verify_enrolment(request_enrolment(Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)))
