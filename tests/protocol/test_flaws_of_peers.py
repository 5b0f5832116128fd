"""Flaws that secure aggregation has elsewhere, each with a test that this one does not have it.

The docstrings name where a flaw was seen, and in which version where that was noted. Where an honest session or an
attack shows the same from another side, that test is named.
"""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from adversary import Adversary
from cheating_server import COLLUDER, COUNT, PLAN, CheatingServer, Thwarted, enrolled, make_device
from cohort import AUTHORITY_KEY, NOW, make_identity, make_plan
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hushfold_protocol import messages
from hushfold_protocol.encoding import EncodingParameters, encode, quantise
from hushfold_protocol.errors import Refused, SignatureInvalid, TooFew
from hushfold_protocol.packing import unpack
from hushfold_protocol.plan import DevicePolicy
from hushfold_protocol.privacy import round_curve
from hushfold_protocol.randomness import AesCtrStream, system_randomness
from hushfold_protocol.secagg import crypto, server
from hushfold_protocol.secagg.device import DeviceSession, Joined
from hushfold_protocol.secagg.session import open_session
from hushfold_protocol.signing import seal, verify

EVERYONE = range(COUNT)


def uploaded(lost=(), plan=PLAN, name="session 1"):
    """A session in which all but the lost ones have uploaded, and where it stands."""
    heard = CheatingServer(plan, enrolled(plan, name=name))
    return heard, heard.upload(heard.share(heard.join()), lost)


def sent(heard, kind):
    """The answers of one kind, by device."""
    return {each.number: each.answer for each in heard.exchanges if isinstance(each.answer, kind)}


# ------------------------------------------------------------------ masks


def test_mask_seeds_are_not_folded_to_fewer_bits():
    """Flower 1.41 folds a seed to 32 bits, of which 28 vary, and a Mersenne twister makes the mask of them.

    Every one of the 256 bits of a seed changes the mask, and no two seeds that differ in one bit have a value of it in
    common by more than chance.
    """
    seed = bytes(range(32))
    masks = set()
    for bit in range(256):
        mask = np.zeros(8, np.uint32)
        crypto.apply_masks(mask, [((int.from_bytes(seed, "big") ^ 1 << bit).to_bytes(32, "big"), 1)], 32)
        masks.add(mask.tobytes())
    assert len(masks) == 256


def test_a_known_word_of_a_mask_gives_neither_the_next_nor_the_one_before():
    """Flower 1.41: from one known value of an update a mask was found in 8.5 seconds, by trying all 2^28 seeds.

    The mask is AES-256 in counter mode under a key of 32 random bytes: the words of a block are bits of one ciphertext.
    What can be tested is that the key is the whole secret of the owner: no derived value is shorter.
    """
    heard, _ = uploaded()
    session = heard.join().session
    joined = [device.joined for device in heard.devices]
    seeds = [crypto.self_seed(state.seed, session.id, index) for index, state in enumerate(joined)]
    seeds += [
        crypto.pair_seed(joined[one].masking, joined[other].join.masking_key, session.id, one, other)
        for one in EVERYONE
        for other in range(one)
    ]
    assert {len(seed) for seed in seeds} == {32}
    assert len({seed[place : place + 4] for seed in seeds for place in range(0, 32, 4)}) == 8 * len(seeds)


def test_no_key_stream_is_used_in_two_rounds():
    """Fed-BioMed masks with one key stream, XORed with the round's number.

    Devices whose keys are all the same in two rounds, which no device does, would still have other masks: the round's
    plan is in the session, and the session in every derivation.
    """
    masks = set()
    for number in (1, 2):
        plan = replace(PLAN, round_number=number, round_id=bytes([number]) * 16)
        heard, _ = uploaded(plan=plan)  # the same names, hence the same keys and vectors
        for device, masked in sent(heard, messages.Masked).items():
            vector = unpack(masked.vector, plan.update.encoding().dimension, plan.update.bits)
            masks.add((vector - heard.devices[device].vector & (1 << plan.update.bits) - 1).tobytes())
    assert len(masks) == 2 * COUNT


def test_the_sum_is_taken_under_masks():
    """TensorFlow Federated 0.87: `federated_secure_sum` and its kin are plain sums in the test backend.

    A server that adds up what it was sent has nothing; the sum needs the shares of the devices.
    """
    heard, agreeing = uploaded()
    total = heard.total & np.uint32((1 << PLAN.update.bits) - 1)
    assert not np.any(total == heard.expected(EVERYONE))
    for number, masked in sent(heard, messages.Masked).items():
        vector = unpack(masked.vector, total.size, PLAN.update.bits)
        assert not np.any(vector == heard.devices[number].vector)
    np.testing.assert_array_equal(heard.unmask(heard.agree(agreeing)), heard.expected(EVERYONE))


# ------------------------------------------------------------------ secrets and shares


def test_shares_never_go_to_the_server_in_the_clear():
    """OpenFL: every share of every secret goes to the aggregator at set-up.

    Until the lists are agreed on, no secret of a device and no share of one is in anything that the server was sent.
    """
    heard, agreeing = uploaded()
    heard.agree(agreeing)
    seen = b"".join(each.answer.encode() for each in heard.exchanges)
    shares = []
    for device in heard.devices:
        state = device.session.state  # it keeps shares of all others: of their seeds, as all have survived
        shares += state.seed_shares.values()
        assert device.joined.seed not in seen
        assert device.joined.masking.private_bytes_raw() not in seen
        assert device.joined.sharing.private_bytes_raw() not in seen
    assert len(shares) == COUNT * COUNT
    assert not any(share in seen for share in shares)


def test_secret_keys_come_from_randomness_and_are_not_the_public_ones():
    """FedML: secret keys are drawn from a generator seeded by rank, and the public key is the secret one."""

    def joined():
        session = DeviceSession(
            PLAN, make_identity(1), lambda: None, min_cohort=2, clock=lambda: NOW, random_bytes=system_randomness()
        )
        assert isinstance(session.state, Joined)
        return session.state

    states = [joined() for _ in range(4)]  # of one and the same device
    for part in ("sharing", "masking"):
        secrets = {getattr(state, part).private_bytes_raw() for state in states}
        publics = {getattr(state.join, f"{part}_key") for state in states}
        assert len(secrets) == len(publics) == 4
        assert secrets.isdisjoint(publics)
    assert len({state.seed for state in states}) == 4
    for state in states:
        message = state.join.encode()
        assert state.sharing.private_bytes_raw() not in message
        assert state.masking.private_bytes_raw() not in message


def test_no_secret_is_common_to_all():
    """NVFlare: all clients hold one secret key of the homomorphic encryption, so each opens every update.

    All that one device holds when it has uploaded, with its own keys, opens no upload but its own.
    """
    heard, _ = uploaded()
    for curious in EVERYONE:
        assert Adversary(heard, colluders=(curious,)).opens() == {}


def test_one_colluding_participant_opens_nothing():
    """xaynet: every device sends the seed of its mask to all sum participants, so that each of these opens all updates.

    The tolerated number of colluders, together with the server, opens the one sum that was agreed on.
    """
    heard, agreeing = uploaded()
    heard.unmask(heard.agree(agreeing))
    assert set(Adversary(heard, colluders=(COLLUDER,)).opens()) == {frozenset(EVERYONE) - {COLLUDER}}


def test_shares_are_bound_to_who_sent_them_and_to_whom():
    """FCP (google/federated-compute): shares are encrypted without identities, so that two can be exchanged."""
    heard, _ = uploaded()
    session = heard.join().session
    one, other = heard.devices[0].joined, heard.devices[1].joined
    key = crypto.share_key(one.sharing, other.join.sharing_key, session.id, 0, 1)
    sealed = crypto.encrypt_shares(key, b"x" * 66, session.id, 0, 1)
    for sender, receiver in ((1, 0), (2, 1), (0, 2)):
        with pytest.raises(Refused, match="not encrypted by their sender for this session and device"):
            crypto.decrypt_shares(key, sealed, session.id, sender, receiver)
    back = crypto.share_key(one.sharing, other.join.sharing_key, session.id, 1, 0)
    assert back != key  # and the two directions have keys of their own
    assert AESGCM(key).decrypt(bytes(12), sealed, crypto.LABEL + session.id + b"\0\0\0\1") == b"x" * 66


def test_the_session_is_not_what_the_server_says():
    """FCP: the device takes the session's id from the server.

    It follows from the plan and all keys: two rosters that differ in one key have nothing in common.
    """
    heard = CheatingServer(PLAN, enrolled(PLAN))
    sharing = heard.join()
    shares = heard.tell(0, sharing.announcement())
    assert shares.session == sharing.session.id == open_session(PLAN, heard.roster, AUTHORITY_KEY, NOW).id
    for message in (
        messages.Delivery(b"\1" * 32, b"\x3f", b"\x3e", ()),
        replace(server.Masking(sharing.session, {}).announcement(0), session=bytes(32)),
    ):
        with pytest.raises(Thwarted) as thwarted:
            heard.tell(0, message)
        assert "a message of another session" in str(thwarted.value.__cause__)


# ------------------------------------------------------------------ what a device answers


def test_a_device_is_alive_or_dropped_and_never_both():
    """Flower 1.41: a server that lists one device as alive and as dropped is given shares of both its secrets.

    There is one list, of the survivors; who else shared has dropped out. `overlapping-lists` and `second-unmasking` are
    attacks that ask twice.
    """
    heard, agreeing = uploaded(lost=[0])
    heard.unmask(heard.agree(agreeing, [0]), [0])
    for answer in sent(heard, messages.Unmask).values():
        seeds, keys = ({entry.index for entry in entries} for entries in (answer.seeds, answer.keys))
        assert (seeds, keys) == (set(EVERYONE) - {0}, {0})


@pytest.mark.parametrize("step", ["join", "share", "upload", "agree", "unmask"])
def test_a_drop_out_at_any_step_does_not_lose_the_round(step):
    """Flower 1.41: one device that is lost in the set-up or while shares are exchanged ends the round for all."""
    devices = enrolled(PLAN)
    heard = CheatingServer(PLAN, devices[1:] if step == "join" else devices)
    lost = [] if step == "join" else [0]
    sharing = heard.join()
    for number in range(len(heard.devices)):
        if step != "share" or number not in lost:
            sharing = sharing.accept(number, heard.tell(number, sharing.announcement()))
    gone = {stage: lost if step in earlier else [] for stage, earlier in _EARLIER.items()}
    agreeing = heard.upload(sharing.close(), gone["upload"])
    total = heard.unmask(heard.agree(agreeing, gone["agree"]), gone["unmask"])
    np.testing.assert_array_equal(total, heard.expected(n for n in agreeing.survivors))


_EARLIER = {
    "upload": {"share", "upload"},
    "agree": {"share", "upload", "agree"},
    "unmask": {"share", "upload", "agree", "unmask"},
}


@pytest.mark.parametrize("kind", [messages.Shares, messages.Masked, messages.Consent, messages.Unmask])
def test_every_message_of_a_device_is_signed(kind):
    """Flower 1.41 and FCP: nothing is signed, so whoever sits in between speaks for any device.

    `seal` is what every message of a session travels in, and names its kind: one kind's signature is no other's. That
    the server demands it is tested in `test_rounds` and `test_api`.
    """
    heard, agreeing = uploaded()
    heard.unmask(heard.agree(agreeing))
    answer, identity = sent(heard, kind)[0], heard.devices[0].identity
    signed = seal(identity.key, answer)
    public = identity.certificate.public_key
    verify(public, kind.__name__, signed.payload, signed.signature)
    for wrong in (
        (public, "CheckIn", signed.payload),
        (public, kind.__name__, signed.payload + b"\0"),
        (heard.devices[1].identity.certificate.public_key, kind.__name__, signed.payload),
    ):
        with pytest.raises(SignatureInvalid):
            verify(*wrong, signed.signature)


def test_keys_are_signed():
    """Flower 1.41 and FCP: public keys are what the server says they are. `key-swap` and `invented-devices` try it."""
    heard = CheatingServer(PLAN, enrolled(PLAN))
    forged = replace(heard.roster.joins[1], masking_key=heard.devices[2].joined.join.sharing_key)
    roster = messages.Roster((heard.roster.joins[0], forged, *heard.roster.joins[2:]))
    with pytest.raises(Thwarted) as thwarted:
        heard.tell(0, roster)
    assert isinstance(thwarted.value.__cause__, SignatureInvalid)


def test_a_device_has_minimums_of_its_own():
    """Flower 1.41: a client takes part in whatever the server sets up, with a threshold of one if it says so."""
    plan = make_plan(floor=1, maximum=COUNT, gamma=0.0, dimension=16)
    heard = CheatingServer(plan, [make_device(plan, make_identity(n), f"device {n}", min_cohort=3) for n in (1, 2)])
    with pytest.raises(Thwarted) as thwarted:
        heard.tell(0, heard.roster)
    assert isinstance(thwarted.value.__cause__, TooFew)
    policy = DevicePolicy()
    assert policy.min_floor >= 65  # survivors, by default
    assert policy.min_gamma > 0
    assert policy.max_round_epsilon <= 8


# ------------------------------------------------------------------ noise

_DRAW = """
import sys
from unittest import mock
import numpy as np
from hushfold_protocol.encoding import EncodingParameters, encode
with mock.patch("time.time", return_value=1e9), mock.patch("time.time_ns", return_value=10**18):
    np.random.seed(0)
    encoding = EncodingParameters(64, 1.0, 100.0, 20, 20.0, (0, 0))
    sys.stdout.write(encode(np.zeros(64, np.float32), encoding).tobytes().hex())
"""


def test_noise_does_not_come_from_the_clock():
    """google-research/federated, distributed_dp: Skellam noise is seeded by the time, which a server knows.

    Two processes at the same frozen time, with the same environment and numpy seed, draw different noise.
    """
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    drawn = [
        subprocess.run(
            [sys.executable, "-c", _DRAW], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    ]
    assert len(drawn[0]) == len(drawn[1]) == 2 * 4 * 64
    assert drawn[0] != drawn[1]


def test_the_device_noises_with_nothing_but_the_systems_randomness():
    """The same from inside: whatever `encode` uses where it is given no stream, it takes from the operating system."""
    encoding = EncodingParameters(64, 1.0, 100.0, 20, 20.0, (0, 0))
    key = bytes(range(32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", lambda count: key[:count])
        known = encode(np.zeros(64, np.float32), encoding)
    np.testing.assert_array_equal(known, encode(np.zeros(64, np.float32), encoding, AesCtrStream(key)))


def test_the_sensitivity_is_the_clip_norm_whoever_has_more_examples():
    """Flower's differential privacy (1.41): noise for C / n, but updates are averaged by the number of examples, so one
    client with most of them moves the mean by almost C.

    An encoded update is at most `l2_bound` long whatever it was, nothing that a device sends says how many examples it
    has, and the curve is charged for that length.
    """
    encoding = EncodingParameters(100, 0.5, 1000.0, 24, 300.0, (1, 2))
    rng = np.random.default_rng(0)
    for times in (1e-3, 1.0, 1e3, 1e6):  # as if a thousand times the examples had made it as long
        update = (times * rng.standard_normal(100)).astype(np.float32)
        steps = quantise(update, encoding, AesCtrStream(bytes(32))).astype(np.float64)
        assert np.linalg.norm(steps) <= encoding.l2_bound
    weighting = ("example", "weight", "count")
    fields = [field for kind in (messages.Join, messages.Masked) for field in kind.__annotations__]
    assert not [name for name in fields if any(word in name for word in weighting)]
    doubled = replace(encoding, clip_norm=1.0)
    assert round_curve(doubled, 10).epsilon(1e-6) > round_curve(encoding, 10).epsilon(1e-6)
