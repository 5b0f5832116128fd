"""The parts that secure aggregation is made of, against their definitions and other implementations."""

import hashlib
import hmac

import numpy as np
import pytest
from cohort import seeded
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from hushfold_protocol.errors import Refused
from hushfold_protocol.packing import running_sum, sum_width
from hushfold_protocol.secagg import crypto, shamir
from hushfold_protocol.secagg.session import merkle_root

# ------------------------------------------------------------------ shares


@given(st.binary(min_size=32, max_size=32), st.integers(1, 6), st.integers(0, 5), st.integers(0, 2**32))
def test_as_many_shares_as_the_threshold_give_the_secret_back(secret, threshold, more, seed):
    count = threshold + more
    random = seeded(seed)
    shares = shamir.share(secret, threshold, range(count), random)
    holders = sorted(range(count), key=lambda i: random(4))[:threshold]
    assert shamir.Reconstructor(holders).secret({i: shares[i] for i in holders}) == secret


def test_fewer_shares_than_the_threshold_say_nothing():
    """Two shares of a threshold-three secret fit every other secret equally well."""
    shares = shamir.share(b"\5" * 32, 3, range(5), seeded(1))
    for other in (bytes(32), b"\xff" * 32):
        x1, x2, prime = 1, 2, shamir.PRIME
        y0, y1, y2 = (int.from_bytes(v, "big") for v in (other, shares[0], shares[1]))
        # the parabola through (0, other), (1, share 1), (2, share 2) exists whatever `other` is
        a = ((y2 - y0) * pow(x2, -1, prime) - (y1 - y0) * pow(x1, -1, prime)) * pow(x2 - x1, -1, prime) % prime
        b = ((y1 - y0) * pow(x1, -1, prime) - a * x1) % prime
        third = (a * 9 + b * 3 + y0) % prime
        fitting = {0: shares[0], 1: shares[1], 2: third.to_bytes(33, "big")}
        assert shamir.Reconstructor([0, 1, 2]).secret(fitting) == other


def polynomial(shares):
    """Coefficients, constant first, of the polynomial through (i + 1, share i), by Newton's divided differences."""
    differences = [int.from_bytes(share, "big") for share in shares]
    count, prime = len(differences), shamir.PRIME
    for width in range(1, count):
        for i in range(count - 1, width - 1, -1):
            differences[i] = (differences[i] - differences[i - 1]) * pow(width, -1, prime) % prime
    coefficients = [0] * count
    for i in range(count - 1, -1, -1):  # times (x - (i + 1)), plus the next difference
        shifted = [0, *coefficients[:-1]]
        coefficients = [(s - (i + 1) * c) % prime for s, c in zip(shifted, coefficients, strict=True)]
        coefficients[0] = (coefficients[0] + differences[i]) % prime
    return coefficients


def test_every_coefficient_is_fresh_randomness():
    """A threshold of t takes t - 1 random elements, none of which comes twice, in one sharing or in two."""
    secret, threshold, drawn, random = b"\5" * 32, 7, [], seeded(1)

    def recorded(count):
        drawn.append(random(count))
        return drawn[-1]

    seen = []
    for _ in range(2):
        shares = shamir.share(secret, threshold, range(12), recorded)
        constant, *others = polynomial(shares.values())
        assert constant.to_bytes(32, "big") == secret
        assert others[threshold - 1 :] == [0] * (12 - threshold)
        seen += others[: threshold - 1]
    assert len(set(seen)) == len(seen) == 2 * (threshold - 1)
    assert min(seen) > 2**192  # each fills the field
    assert sum(map(len, drawn)) >= 2 * (threshold - 1) * 33


@given(st.integers(2, 8), st.integers(0, 2**32))
def test_no_share_and_no_group_below_the_threshold_is_the_secret(threshold, seed):
    secret = seeded(seed)(32)
    shares = shamir.share(secret, threshold, range(threshold + 2), seeded(seed + 1))
    assert len(set(shares.values())) == len(shares)
    for size in range(1, threshold):
        given_away = {i: shares[i] for i in range(size)}
        assert shamir.Reconstructor(range(size)).secret(given_away) != secret


# ------------------------------------------------------------------ derivations


def hkdf(secret, info):
    """RFC 5869 with SHA-256, no salt, one block."""
    key = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(key, info + b"\1", "sha256")


ONE, OTHER = (X25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
SECRET = ONE.exchange(OTHER.public_key())
SESSION = bytes(range(32))


def test_every_key_is_derived_for_a_purpose_a_session_and_its_ends():
    public = OTHER.public_key().public_bytes_raw()
    label = b"hushfold/v1/secagg/"
    ends = b"\0" + SESSION + b"\0\5\0\3"
    assert crypto.share_key(ONE, public, SESSION, 5, 3) == hkdf(SECRET, label + b"share" + ends)
    assert crypto.self_seed(SECRET, SESSION, 5) == hkdf(SECRET, label + b"self\0" + SESSION + b"\0\5\0\5")
    pair = hkdf(SECRET, label + b"pair\0" + SESSION + b"\0\3\0\5")
    assert crypto.pair_seed(ONE, public, SESSION, 5, 3) == crypto.pair_seed(ONE, public, SESSION, 3, 5) == pair


def test_the_key_that_shares_are_sealed_with_is_new_in_every_session_and_direction():
    """AES-GCM is used with a fixed nonce: the same key for two messages would open both."""
    public = OTHER.public_key().public_bytes_raw()
    keys = {
        crypto.share_key(ONE, public, session, sender, receiver)
        for session in (SESSION, bytes(32))
        for sender, receiver in ((0, 1), (1, 0), (0, 2))
    }
    assert len(keys) == 6


def test_a_commitment_is_to_a_secret_of_one_round():
    round_id, seed = bytes(range(16)), b"\7" * 32
    expected = hashlib.sha256(b"hushfold/v1/secagg/commit\0" + round_id + seed).digest()
    assert crypto.commit(seed, round_id) == expected
    assert crypto.commit(seed, bytes(16)) != expected


def test_merkle_root_of_rfc_6962():
    """Test vectors of the Certificate Transparency reference (empty leaf, and the leaves 00, 10, 20 21)."""
    assert merkle_root([b""]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle_root([b"", b"\0"]).hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert (
        merkle_root([b"", b"\0", b"\x10"]).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    )


# ------------------------------------------------------------------ public keys

P = 2**255 - 19
SMALL_ORDER = (
    0,
    1,
    P - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
"""The canonical u-coordinates of order 1, 2, 4 and 8, on the curve and its twist; https://cr.yp.to/ecdh.html."""


@pytest.mark.parametrize("u", SMALL_ORDER)
def test_public_keys_of_small_order_are_refused(u):
    with pytest.raises(Refused, match="small order"):
        crypto.verify_public_key(u.to_bytes(32, "little"))
    with pytest.raises(Refused, match="small order"):
        crypto.agree(ONE, u.to_bytes(32, "little"))


def test_public_keys_have_one_encoding():
    public = OTHER.public_key().public_bytes_raw()
    crypto.verify_public_key(public)
    crypto.verify_public_key((9).to_bytes(32, "little"))  # the base point
    top_bit = public[:-1] + bytes([public[-1] | 0x80])
    for alias, original in ((top_bit, public), ((P + 9).to_bytes(32, "little"), (9).to_bytes(32, "little"))):
        assert crypto.agree(ONE, alias) == crypto.agree(ONE, original)
        with pytest.raises(Refused, match="canonical"):
            crypto.verify_public_key(alias)


# ------------------------------------------------------------------ encryption


def test_a_share_is_bound_to_sender_receiver_and_session():
    key = bytes(32)
    sealed = crypto.encrypt_shares(key, b"x" * 66, bytes(32), 1, 2)
    assert crypto.decrypt_shares(key, sealed, bytes(32), 1, 2) == b"x" * 66
    for session, sender, receiver in ((bytes(32), 2, 1), (bytes(32), 1, 3), (b"\1" * 32, 1, 2)):
        with pytest.raises(Refused):
            crypto.decrypt_shares(key, sealed, session, sender, receiver)


def numbers(stream: bytes, bits: int) -> np.ndarray:
    """What a stream adds to each value, modulo 2^bits."""
    return np.frombuffer(stream, "<u2" if bits <= 16 else "<u4").astype(np.uint32) & np.uint32(2**bits - 1)


WIDTHS = pytest.mark.parametrize("bits", [8, 15, 16, 17, 20, 32])


@WIDTHS
def test_mask_stream_is_aes_ctr(bits):
    """NIST SP 800-38A, F.5.5: AES-256-CTR, here with the counter at zero, checked against plain AES."""
    key = bytes(range(32))
    vector = np.zeros(16 if bits <= 16 else 8, np.uint32)
    crypto.apply_masks(vector, [(key, 1)], bits)
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    blocks = ecb.update(bytes(16)) + ecb.update((1).to_bytes(16, "big"))
    np.testing.assert_array_equal(vector, numbers(blocks, bits))
    crypto.apply_masks(vector, [(key, -1)], bits)
    assert not vector.any()


def at_a_time(bits):
    """Values to which a mask is applied at a time."""
    return crypto._PIECE // sum_width(bits)


@WIDTHS
def test_a_long_mask_is_one_stream(bits):
    """However the vector is cut to be masked: a stream that starts again would mask two values with one mask."""
    key, size = bytes(range(32)), 2 * at_a_time(bits) + 3
    counters = np.zeros((size // 4 + 1, 2), ">u8")
    counters[:, 1] = np.arange(len(counters))
    blocks = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(counters.tobytes())
    vector = np.ones(size, np.uint32)
    crypto.apply_masks(vector, [(key, 1)], bits)
    np.testing.assert_array_equal(vector, (numbers(blocks, bits)[:size] + np.uint32(1)) & np.uint32(2**bits - 1))
    crypto.apply_masks(vector, [(key, -1)], bits)
    assert (vector == 1).all()


@WIDTHS
def test_every_bit_of_every_value_is_masked(bits):
    """A mask narrower than the modulus would show the upper bits."""
    vector = np.zeros(1 << 12, np.uint32)
    crypto.apply_masks(vector, [(bytes(32), 1)], bits)
    assert vector.max() < 1 << bits
    for bit in range(bits):
        assert 0.45 < ((vector >> np.uint32(bit)) & np.uint32(1)).mean() < 0.55
    assert len(np.unique(vector)) >= (256 if bits == 8 else 3_800)  # of 4,096; the same value twice is chance


@WIDTHS
def test_many_masks_at_once_are_each_of_them(bits):
    """However many streams are open at a time, and whatever piece of the vector is at hand."""
    seeds = [bytes([number]) * 32 for number in range(crypto._STREAMS + 3)]
    signs = [1 if number % 3 else -1 for number in range(len(seeds))]
    start = np.arange(at_a_time(bits) + 5, dtype=np.uint32) & np.uint32(2**bits - 1)
    one_by_one, at_once = start.copy(), start.copy()
    for seed, sign in zip(seeds, signs, strict=True):
        crypto.apply_masks(one_by_one, [(seed, sign)], bits)
    crypto.apply_masks(at_once, zip(seeds, signs, strict=True), bits)
    np.testing.assert_array_equal(at_once, one_by_one)
    crypto.apply_masks(at_once, zip(seeds, [-sign for sign in signs], strict=True), bits)
    np.testing.assert_array_equal(at_once, start)


@pytest.mark.parametrize("bits", [12, 16, 20])
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_masks_are_the_same_however_many_threads_make_them(threads, bits):
    """More masks than are open at a time, over a vector that is cut at other places than they are."""
    seeds = [(hashlib.sha256(bytes([i])).digest(), 1 if i % 3 else -1) for i in range(crypto._STREAMS + 9)]
    size = 3 * at_a_time(bits) + 5
    expected = np.zeros(size, np.uint32)
    for seed, sign in seeds:
        stream = Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor().update(bytes(4 * size))
        expected += np.uint32(sign % 2**32) * numbers(stream, bits)[:size]
    for vector in (np.zeros(size, np.uint32), running_sum(size, bits)):
        crypto.apply_masks(vector, iter(seeds), bits, threads)
        np.testing.assert_array_equal(vector, expected & np.uint32(2**bits - 1))


def test_what_makes_the_seeds_may_fail():
    """Its error comes out, and no thread goes on."""

    def seeds():
        yield from [(bytes(32), 1)] * (2 * crypto._STREAMS)
        raise Refused("no seed")

    with pytest.raises(Refused, match="no seed"):
        crypto.apply_masks(np.zeros(4 * at_a_time(20), np.uint32), seeds(), 20, 2)
