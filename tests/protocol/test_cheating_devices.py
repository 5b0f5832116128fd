"""Enrolled devices that cheat: the round survives or ends with a clear reason, and what they do to a sum is bounded."""

import math
from dataclasses import replace

import numpy as np
import pytest
from adversary import Adversary
from cheating_server import COLLUDER, COUNT, PLAN, CheatingServer, enrolled
from hypothesis import given, settings
from hypothesis import strategies as st

from hushfold_protocol import messages
from hushfold_protocol.encoding import EncodingParameters, decode_sum, encode
from hushfold_protocol.errors import Equivocation, Refused, RemoteError, SignatureInvalid, TooFew
from hushfold_protocol.messages import SEALED_BYTES, IndexedShare
from hushfold_protocol.packing import pack, unpack
from hushfold_protocol.privacy import round_curve
from hushfold_protocol.randomness import AesCtrStream
from hushfold_protocol.secagg import crypto, shamir
from hushfold_protocol.secagg.session import sign_sharers

CHEAT = 2  # the device that does not keep to the protocol
OTHERS = [number for number in range(COUNT) if number != CHEAT]


def started():
    return CheatingServer(PLAN, enrolled(PLAN))


def shared():
    heard = started()
    return heard, heard.share(heard.join())


# ------------------------------------------------------------------ wrong lengths

WRONG_SHARES = {
    "one too few": lambda m: replace(m, sealed=m.sealed[:-1]),
    "one too many": lambda m: replace(m, sealed=(*m.sealed, m.sealed[0])),
    "for itself": lambda m: replace(m, receivers=messages.to_bitmap([*OTHERS[1:], CHEAT], COUNT)),
    "for fewer": lambda m: replace(m, receivers=messages.to_bitmap(OTHERS[1:], COUNT), sealed=m.sealed[1:]),
    "for a device beyond the roster": lambda m: replace(m, receivers=b"\x7b"),
    "a bitmap of another length": lambda m: replace(m, receivers=m.receivers + b"\0"),
    "a short one": lambda m: replace(m, sealed=(m.sealed[0][:-1], *m.sealed[1:])),
    "of another session": lambda m: replace(m, session=bytes(32)),
}


@pytest.mark.parametrize("fault", WRONG_SHARES)
def test_shares_of_a_wrong_form_are_refused_and_the_round_goes_on(fault):
    heard = started()
    sharing = heard.join()
    for number in range(COUNT):
        answer = heard.tell(number, sharing.announcement())
        if number == CHEAT:
            with pytest.raises(RemoteError):
                sharing.accept(number, WRONG_SHARES[fault](answer))
        else:
            sharing = sharing.accept(number, answer)
    masking = sharing.close()
    assert masking.sharers == set(OTHERS)
    agreeing = heard.upload(masking, [CHEAT])
    total = heard.unmask(heard.agree(agreeing, [CHEAT]), [CHEAT])
    np.testing.assert_array_equal(total, heard.expected(OTHERS))


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=60))
def test_a_vector_of_another_length_changes_no_sum(content):
    heard, masking = shared()
    answer = heard.tell(CHEAT, masking.announcement(CHEAT))
    total = np.ones(PLAN.update.encoding().dimension, np.uint32)
    if len(content) != len(answer.vector):
        with pytest.raises(Refused, match="the masked vector is malformed"):
            masking.accept(CHEAT, replace(answer, vector=content), total)
        np.testing.assert_array_equal(total, 1)


# ------------------------------------------------------------------ wrong shares


def sealing(masking, change):
    """The stage as if device CHEAT had sealed something else to the others: by receiver, what it had sealed before."""
    return replace(masking, sealed={**masking.sealed, CHEAT: change(masking.sealed[CHEAT])})


def test_shares_that_do_not_open_name_their_sender_and_cost_only_their_receivers():
    heard, masking = shared()
    masking = sealing(masking, lambda sealed: {**sealed, 0: bytes(SEALED_BYTES)})
    told = {number: masking.announcement(number) for number in range(COUNT)}
    answers = heard.try_all(told)
    assert set(answers) == {1, 2, 3, 4, 5}
    assert str(heard.refusal(0)).startswith(masking.session.name(CHEAT))


def test_shares_that_nobody_can_open_end_the_round_before_any_other_has_uploaded():
    """Security with abort: a device can lose the others a round, but none of them has paid for it."""
    heard, masking = shared()
    masking = sealing(masking, lambda sealed: dict.fromkeys(sealed, bytes(SEALED_BYTES)))
    answers = heard.try_all({number: masking.announcement(number) for number in range(COUNT)})
    assert set(answers) == {CHEAT}
    masking = masking.accept(CHEAT, answers[CHEAT], heard.total)
    with pytest.raises(TooFew, match="1 devices uploaded, 4 are needed"):
        masking.close()


def wrong_secret(heard, masking, which):
    """Shares, well sealed, of other secrets than the device has bound itself to with its join."""
    session, state = masking.session, heard.devices[CHEAT].joined
    other = shamir.share(bytes(32), session.threshold, range(COUNT), AesCtrStream(bytes(32)))
    sealed = {}
    for peer, was in masking.sealed[CHEAT].items():
        key = crypto.share_key(state.sharing, session.joins[peer].sharing_key, session.id, CHEAT, peer)
        plain = crypto.decrypt_shares(key, was, session.id, CHEAT, peer)
        seed, masking_key = plain[: shamir.SHARE_BYTES], plain[shamir.SHARE_BYTES :]
        plain = other[peer] + masking_key if which == "seed" else seed + other[peer]
        sealed[peer] = crypto.encrypt_shares(key, plain, session.id, CHEAT, peer)
    return sealing(masking, lambda _: sealed)


@pytest.mark.parametrize("which", ["seed", "masking key"])
def test_shares_of_another_secret_end_the_round_by_name_and_open_nothing(which):
    """They show when the sum is to be opened: masks that follow from a wrong secret would make noise of it."""
    heard, masking = shared()
    masking = wrong_secret(heard, masking, which)
    lost = [CHEAT] if which == "masking key" else []
    unmasking = heard.agree(heard.upload(masking, lost), lost)
    with pytest.raises(Refused, match=f"the {which} of {masking.session.name(CHEAT)} do not fit its"):
        heard.unmask(unmasking, lost)
    assert all(len(members) >= PLAN.cohort.noise_contributors for members in Adversary(heard).opens())


@pytest.mark.parametrize(
    "share", [shamir.PRIME.to_bytes(33, "big"), bytes([255]) * 33, bytes(33)], ids=["prime", "large", "zero"]
)
def test_a_wrong_share_of_anothers_secret_ends_the_round_with_that_ones_name(share):
    heard, masking = shared()
    unmasking = heard.agree(heard.upload(masking))
    for number in range(COUNT):
        answer = heard.tell(number, unmasking.announcement())
        if number == CHEAT:
            answer = replace(answer, seeds=(IndexedShare(0, share), *answer.seeds[1:]))
        unmasking = unmasking.accept(number, answer)
    with pytest.raises(Refused, match=masking.session.name(0)):
        unmasking.close()


OTHER_SEEDS, OTHER_KEYS = "seed shares for other devices", "key shares for other devices"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("drop one", OTHER_SEEDS),
        ("another owner", OTHER_SEEDS),
        ("twice", OTHER_SEEDS),
        ("keys of survivors", OTHER_KEYS),
    ],
)
def test_shares_for_others_than_were_asked_for_are_refused(change, said):
    heard, masking = shared()
    unmasking = heard.agree(heard.upload(masking))
    answer = heard.tell(CHEAT, unmasking.announcement())
    first, *rest = answer.seeds
    forged = {
        "drop one": replace(answer, seeds=tuple(rest)),
        "another owner": replace(answer, seeds=(replace(first, index=COUNT), *rest)),
        "twice": replace(answer, seeds=(first, first, *rest[1:])),
        "keys of survivors": replace(answer, keys=(first,)),
    }[change]
    with pytest.raises(Refused, match=said):
        unmasking.accept(CHEAT, forged)
    for number in OTHERS:
        unmasking = unmasking.accept(number, heard.tell(number, unmasking.announcement()))
    np.testing.assert_array_equal(unmasking.close().unmask(heard.total), heard.expected(range(COUNT)))


# ------------------------------------------------------------------ equivocation


def test_a_second_different_message_of_any_step_is_an_equivocation_and_the_first_one_counts():
    heard = started()
    sharing = heard.join()
    shares = {number: heard.tell(number, sharing.announcement()) for number in range(COUNT)}
    for number, answer in shares.items():
        sharing = sharing.accept(number, answer)
    with pytest.raises(Equivocation):
        sharing.accept(CHEAT, replace(shares[CHEAT], sealed=shares[CHEAT].sealed[::-1]))
    assert sharing.accept(CHEAT, shares[CHEAT]) == sharing
    masking = sharing.close()
    for number in range(COUNT):
        masked = heard.tell(number, masking.announcement(number))
        masking = masking.accept(number, masked, heard.total)
    with pytest.raises(Equivocation):
        masking.accept(COUNT - 1, masked, heard.total)
    unmasking = heard.agree(masking.close())
    for number in range(COUNT):
        answer = heard.tell(number, unmasking.announcement())
        unmasking = unmasking.accept(number, answer)
    with pytest.raises(Equivocation):
        unmasking.accept(COUNT - 1, replace(answer, seeds=answer.seeds[::-1]))
    np.testing.assert_array_equal(unmasking.close().unmask(heard.total), heard.expected(range(COUNT)))


def test_an_upload_under_other_sharers_is_refused():
    heard, masking = shared()
    masked = heard.tell(CHEAT, masking.announcement(CHEAT))
    key = heard.devices[CHEAT].identity.key
    other = sign_sharers(key, masking.session.sharers_text(masking.sharers - {0}))
    with pytest.raises(SignatureInvalid):
        masking.accept(CHEAT, replace(masked, signature=other), heard.total)
    assert not heard.total.any()


# ------------------------------------------------------------------ noise and size

NOISY = EncodingParameters(64, 1.0, 40.0, 20, 12.0, (1, 2))


def test_without_the_noise_of_the_colluders_there_is_as_much_as_was_charged():
    """Devices that add no noise are colluders of the plan. At the floor, with as many of them as gamma admits, the
    noise in the sum has the variance that the device and the server have charged for, and no less."""
    floor, colluders = 12, 3
    contributors = floor - colluders
    sums = []
    for trial in range(60):
        honest = [
            encode(np.zeros(64, np.float32), NOISY, AesCtrStream(bytes([trial, n]) * 16)) for n in range(contributors)
        ]
        silent = [np.zeros(64, np.uint32)] * colluders
        total = np.sum([*honest, *silent], axis=0, dtype=np.uint64) % NOISY.modulus
        sums.append((total.astype(np.int64) + NOISY.modulus // 2) % NOISY.modulus - NOISY.modulus // 2)
    variance, samples = contributors * NOISY.local_stddev**2, 64 * len(sums)
    measured = np.mean(np.square(np.array(sums, float)))
    assert abs(measured / variance - 1) < 5 * math.sqrt(2 / samples)
    plan = replace(PLAN, cohort=replace(PLAN.cohort, maximum=20, floor=floor, gamma=0.15))
    assert (plan.cohort.colluders, plan.cohort.noise_contributors) == (colluders, contributors)
    assert plan.curve() == round_curve(plan.update.encoding(), contributors)


def test_one_device_can_send_any_vector_and_what_it_did_is_in_the_sum():
    """Nobody sees a single vector: the protocol carries what was sent, exactly, and nothing bounds it here.

    `hushfold_server.sum_bound` is what a server can see of it, and refuses to learn from.
    """
    heard, masking = shared()
    encoding, anything = PLAN.update.encoding(), heard.devices[CHEAT].vector
    honest = [encode(np.zeros(encoding.dimension, np.float32), encoding, AesCtrStream(bytes([n]) * 32)) for n in OTHERS]
    for number, vector in zip(OTHERS, honest, strict=True):
        heard.devices[number].session._vector = vector.copy
    total = heard.unmask(heard.agree(heard.upload(masking)))
    expected = np.sum([anything, *honest], axis=0, dtype=np.uint64) % encoding.modulus
    np.testing.assert_array_equal(total, expected)
    assert np.linalg.norm(decode_sum(total, encoding)) > 10 * COUNT * encoding.clip_norm


def test_a_device_that_colludes_can_replace_its_vector_after_it_has_masked_it_but_once():
    """A masked vector plus anything is a masked vector: the same as another vector, and no more than one of them."""
    heard, masking = shared()
    bits = PLAN.update.bits
    shift = np.arange(PLAN.update.encoding().dimension, dtype=np.uint32)
    for number in range(COUNT):
        masked = heard.tell(number, masking.announcement(number))
        if number == COLLUDER:
            vector = (unpack(masked.vector, shift.size, bits) + shift) % np.uint32(1 << bits)
            masked = replace(masked, vector=pack(vector, bits))
        masking = masking.accept(number, masked, heard.total)
    with pytest.raises(Equivocation):
        masking.accept(COLLUDER, masked, heard.total)
    total = heard.unmask(heard.agree(masking.close()))
    np.testing.assert_array_equal(total, (heard.expected(range(COUNT)) + shift) % (1 << bits))
