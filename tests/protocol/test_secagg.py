"""Secure aggregation: sums are exact whoever is lost, and what must not be answered is not."""

from dataclasses import replace

import numpy as np
import pytest
from cohort import AUTHORITY_KEY, NOW, Cohort, make_identity, make_plan, make_vectors, seeded
from hypothesis import given, settings
from hypothesis import strategies as st

from hushfold_protocol import messages
from hushfold_protocol.errors import (
    Equivocation,
    Refused,
    SignatureInvalid,
    TooFew,
    WrongState,
)
from hushfold_protocol.packing import unpack
from hushfold_protocol.secagg import crypto, server, shamir
from hushfold_protocol.secagg.device import DeviceSession, Joined, Shared, Unmasked, Uploaded
from hushfold_protocol.secagg.session import merkle_root


def make_cohort(count=6, **plan):
    plan = make_plan(**plan)
    return Cohort(plan, make_vectors(count, plan))


# ------------------------------------------------------------------ the sum


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_sum_equals_the_plain_sum_whoever_is_lost(data):
    plan = make_plan(bits=data.draw(st.sampled_from([8, 16, 20, 32])), floor=4, maximum=12, dimension=20)
    count = data.draw(st.integers(8, 12))
    cohort = Cohort(plan, make_vectors(count, plan, data.draw(st.integers(0, 99))))
    needed = plan.cohort.consents(count)
    lost = data.draw(st.lists(st.integers(0, count - 1), unique=True, max_size=count - needed))
    steps = [data.draw(st.sampled_from(["share", "upload", "agree", "unmask"])) for _ in lost]
    at = {step: [n for n, s in zip(lost, steps, strict=True) if s == step] for step in steps}
    total = cohort.run(**at)
    gone_before_upload = {*at.get("share", ()), *at.get("upload", ())}
    np.testing.assert_array_equal(total, cohort.expected(gone_before_upload))


def test_a_masked_vector_is_uniform_and_unrelated_to_its_content():
    """The same content under two sessions' masks; and half of all bits are set, although the content is zero."""
    plan = make_plan(bits=32, dimension=4096)
    uploads = []
    for seed in (1, 2):
        cohort = Cohort(plan, [np.zeros(4096, np.uint32)] * 6, seed=seed)
        masking = cohort.share(cohort.join())
        masked = cohort.devices[0].receive(masking.announcement(cohort.index[0]))
        uploads.append(unpack(masked.vector, 4096, 32))
    assert not np.any(uploads[0] == uploads[1])
    ones = np.unpackbits(uploads[0].view(np.uint8)).mean()
    assert abs(ones - 0.5) < 5 * 0.5 / np.sqrt(32 * 4096)


def test_two_sessions_use_no_mask_twice():
    """A mask that comes back would open the difference of two updates: every seed is new in every session."""
    seeds = set()
    for seed in (1, 2):
        cohort = make_cohort()
        cohort = Cohort(cohort.plan, cohort.vectors, seed=seed)
        sharing = cohort.join()
        session, states = sharing.session, [device.state for device in cohort.devices]
        for n, state in enumerate(states):
            seeds.add(crypto.self_seed(state.seed, session.id, cohort.index[n]))
            for m in range(n):
                key = states[m].join.masking_key
                seeds.add(crypto.pair_seed(state.masking, key, session.id, cohort.index[n], cohort.index[m]))
    assert len(seeds) == 2 * (6 + 15)


def test_masks_depend_on_the_session_not_only_on_the_keys():
    """The same keys under another roster give other masks."""
    state, join = make_cohort(1, floor=1, gamma=0).devices[0].state, make_cohort(2).devices[1].join
    pair = [crypto.pair_seed(state.masking, join.masking_key, bytes([s]) * 32, 0, 1) for s in (1, 2)]
    assert pair[0] != pair[1]
    assert crypto.self_seed(state.seed, bytes(32), 0) != crypto.self_seed(state.seed, b"\1" * 32, 0)


# ------------------------------------------------------------------ too few


@pytest.mark.parametrize("step", ["share", "upload", "agree", "unmask"])
def test_below_the_floor_nothing_is_opened(step):
    cohort = make_cohort(6, floor=5, maximum=6, gamma=0.0)
    lost = {"unmask": [0, 1, 2]}.get(step, [0, 1])  # three shares fewer than the threshold of four
    with pytest.raises(TooFew):
        cohort.run(**{step: lost})


def test_a_device_refuses_a_cohort_below_its_own_minimum():
    cohort = make_cohort(6)
    cohort.devices[0]._min_cohort = 7
    with pytest.raises(TooFew, match="this device demands 7"):
        cohort.devices[0].receive(cohort.join().announcement())


def test_a_device_refuses_a_list_of_sharers_that_is_short_or_without_it():
    cohort = make_cohort(6, floor=4, gamma=0.0)
    masking = cohort.share(cohort.join())
    index = cohort.index[0]
    honest = masking.announcement(index)
    others = sorted(set(range(6)) - {index})
    for sharers, fault in ((others, Refused), ([index, *others[:2]], TooFew)):
        forged = replace(honest, sharers=messages.to_bitmap(sharers, 6))
        with pytest.raises(fault):
            cohort.devices[0].receive(forged)
        assert isinstance(cohort.devices[0].state, Shared)


# ------------------------------------------------------------------ a cheating server


def agreeing_cohort(**kwargs):
    cohort = make_cohort(8, floor=5, maximum=8, gamma=0.0, **kwargs)
    return cohort, cohort.upload(cohort.share(cohort.join()))


def test_split_view_of_the_survivors_opens_nothing():
    """Two halves are shown different survivors, both above the floor. Neither list finds enough signers.

    Without the consent round each half would give its shares, and the server would hold the difference of two sums:
    the update of the one device that is on one list only.
    """
    cohort, stage = agreeing_cohort()
    everyone = frozenset(range(8))
    lists = (everyone - {7}, everyone - {6})
    signatures = ({}, {})
    for number in range(8):
        index = cohort.index[number]
        half = 0 if index in (0, 1, 2, 6) else 1
        view = replace(stage, survivors=lists[half])
        signatures[half][index] = cohort.devices[number].receive(view.announcement()).signature
    everything = signatures[0] | signatures[1]
    for number in range(8):
        half = 0 if cohort.index[number] in signatures[0] else 1
        own = {i: s for i, s in signatures[half].items() if i in lists[half]}
        both = {i: s for i, s in everything.items() if i in lists[half]}
        for collected, fault in ((own, TooFew), (both, Refused)):
            entries = tuple(messages.IndexedSignature(i, collected[i]) for i in sorted(collected))
            with pytest.raises(fault):
                cohort.devices[number].receive(messages.Consents(stage.session.id, entries))


def test_split_view_of_the_sharers_opens_nothing():
    """The server shows one device fewer sharers: its signature then stands for other lists, and nobody unmasks."""
    cohort = make_cohort(8, floor=5, maximum=8, gamma=0.0)
    masking = cohort.share(cohort.join())
    stage, victim = masking, 0
    for number in range(8):
        index = cohort.index[number]
        seen = masking
        if number == victim:
            hidden = cohort.index[7]
            seen = replace(masking, sealed={s: v for s, v in masking.sealed.items() if s != hidden})
        stage = stage.accept(index, cohort.devices[number].receive(seen.announcement(index)), cohort.total)
    agreeing = replace(stage, uploaded=stage.uploaded - {cohort.index[7]}).close()
    answers = {cohort.index[n]: cohort.devices[n].receive(agreeing.announcement()).signature for n in range(7)}
    with pytest.raises(SignatureInvalid):
        agreeing.accept(cohort.index[victim], messages.Consent(agreeing.session.id, answers[cohort.index[victim]]))
    entries = tuple(messages.IndexedSignature(i, answers[i]) for i in sorted(answers))
    for number in range(7):
        with pytest.raises(Refused, match="other lists"):
            cohort.devices[number].receive(messages.Consents(agreeing.session.id, entries))


def test_a_survivor_never_gives_both_secrets_of_one_device():
    cohort, stage = agreeing_cohort()
    unmasking = cohort.agree(stage)
    answer = cohort.devices[0].receive(unmasking.announcement())
    assert {e.index for e in answer.seeds}.isdisjoint(e.index for e in answer.keys)
    assert isinstance(cohort.devices[0].state, Unmasked)


@pytest.mark.parametrize("kind", [messages.Roster, messages.Delivery, messages.Survivors, messages.Consents])
def test_a_second_different_message_of_a_step_is_refused_and_the_same_one_repeated(kind):
    cohort, stage = agreeing_cohort()
    unmasking = cohort.agree(stage)
    device = cohort.devices[0]
    device.receive(unmasking.announcement())
    received, answer = device._answered[kind]
    assert device.receive(received) == answer
    altered = (
        messages.Roster(received.joins[1:]) if kind is messages.Roster else replace(received, session=b"\xff" * 32)
    )
    with pytest.raises(Equivocation):
        device.receive(altered)
    assert isinstance(device.state, Unmasked)


def test_a_device_signs_no_list_of_survivors_that_is_short_foreign_or_without_it():
    cohort = make_cohort(8, floor=5, maximum=8, gamma=0.0)
    stage = cohort.upload(cohort.share(cohort.join(), lost=[7]), lost=[7])
    me, gone = cohort.index[0], cohort.index[7]
    others = sorted(set(range(8)) - {me, gone})
    for survivors, fault in (([me, *others[:3]], TooFew), (others, Refused), (range(8), Refused)):
        with pytest.raises(fault):
            cohort.devices[0].receive(replace(stage, survivors=frozenset(survivors)).announcement())
        assert isinstance(cohort.devices[0].state, Uploaded)


def test_too_few_consents_open_nothing():
    cohort, stage = agreeing_cohort()
    unmasking = cohort.agree(stage)
    full = unmasking.announcement()
    with pytest.raises(TooFew, match="4 survivors consented, 5 are needed"):
        cohort.devices[0].receive(replace(full, signatures=full.signatures[:4]))


@pytest.mark.parametrize("fault", ["twice", "unsorted", "outsider"])
def test_malformed_lists_of_consents_are_refused(fault):
    cohort, stage = agreeing_cohort()
    full = cohort.agree(stage).announcement()
    entries = {
        "twice": full.signatures[:1] * 8,
        "unsorted": full.signatures[::-1],
        "outsider": (*full.signatures, messages.IndexedSignature(99, bytes(64))),
    }[fault]
    with pytest.raises(Refused):
        cohort.devices[0].receive(replace(full, signatures=entries))


def test_consents_of_another_session_are_worthless():
    one, stage = agreeing_cohort()
    consents = one.agree(stage).announcement()
    other = Cohort(one.plan, one.vectors, seed=2)
    other_stage = other.upload(other.share(other.join()))
    other.agree(other_stage)
    forged = replace(consents, session=other_stage.session.id)
    with pytest.raises(Refused, match="other lists"):
        other.devices[0].receive(forged)


# ------------------------------------------------------------------ the roster


@pytest.mark.parametrize("fault", ["without me", "twice", "unsorted", "stranger", "other plan", "key swapped"])
def test_rosters_that_a_device_refuses(fault):
    cohort = make_cohort(6)
    joins = list(cohort.join().announcement().joins)
    mine = cohort.devices[0].join
    other = next(j for j in joins if j != mine)
    match fault:
        case "without me":
            joins.remove(mine)
        case "twice":
            joins.insert(joins.index(other), other)
        case "unsorted":
            joins.reverse()
        case "stranger":
            joins[joins.index(other)] = replace(other, certificate=replace(other.certificate, not_after=NOW + 9999))
        case "other plan":
            joins[joins.index(other)] = replace(other, plan_hash=bytes(32))
        case "key swapped":
            joins[joins.index(other)] = replace(other, masking_key=bytes(range(32)))
    with pytest.raises((Refused, SignatureInvalid)):
        cohort.devices[0].receive(messages.Roster(tuple(joins)))
    assert isinstance(cohort.devices[0].state, Joined)


def test_plans_that_differ_give_no_common_session():
    """A device with another plan (a lower floor) cannot be put into the same roster."""
    cohort = make_cohort(6)
    other_plan = make_plan(floor=3)
    stranger = DeviceSession(
        other_plan,
        make_identity(99),
        lambda: cohort.vectors[0],
        min_cohort=2,
        clock=lambda: NOW,
        random_bytes=seeded(99),
    )
    with pytest.raises(SignatureInvalid, match="another plan"):
        server.Joining(cohort.plan, AUTHORITY_KEY).accept(stranger.join, NOW)


def test_an_expired_certificate_does_not_join():
    cohort = make_cohort(1, floor=1, gamma=0)
    with pytest.raises(SignatureInvalid, match="not valid at this time"):
        server.Joining(cohort.plan, AUTHORITY_KEY).accept(cohort.devices[0].join, NOW + 7200)


# ------------------------------------------------------------------ devices that cheat or fail


def test_server_refuses_wrong_shares_by_name():
    cohort, stage = agreeing_cohort()
    unmasking = cohort.agree(stage)
    for number in range(8):
        answer = cohort.devices[number].receive(unmasking.announcement())
        if cohort.index[number] == 0:
            bad = messages.IndexedShare(answer.seeds[2].index, (1).to_bytes(33, "big"))
            answer = replace(answer, seeds=(*answer.seeds[:2], bad, *answer.seeds[3:]))
        unmasking = unmasking.accept(cohort.index[number], answer)
    with pytest.raises(Refused, match="device 2"):
        unmasking.close()


def test_one_vector_a_device():
    cohort = make_cohort(6)
    masking = cohort.share(cohort.join())
    index = cohort.index[0]
    masked = cohort.devices[0].receive(masking.announcement(index))
    masking = masking.accept(index, masked, cohort.total)
    before = cohort.total.copy()
    with pytest.raises(Equivocation):
        masking.accept(index, masked, cohort.total)
    np.testing.assert_array_equal(cohort.total, before)


@pytest.mark.parametrize("change", [lambda v: v[:-1], lambda v: v + b"\0", lambda v: b""])
def test_a_vector_of_the_wrong_length_changes_nothing(change):
    cohort = make_cohort(6)
    masking = cohort.share(cohort.join())
    masked = cohort.devices[0].receive(masking.announcement(cohort.index[0]))
    with pytest.raises(Refused, match="malformed"):
        masking.accept(cohort.index[0], replace(masked, vector=change(masked.vector)), cohort.total)
    assert not cohort.total.any()


def test_every_message_out_of_order_raises_and_leaves_the_state():
    cohort = make_cohort(6)
    device = cohort.devices[0]
    session = cohort.join().session
    for message in (
        messages.Delivery(session.id, b"\x3f", ()),
        messages.Survivors(session.id, b"\x3f"),
        messages.Consents(session.id, ()),
        messages.Wait(1),
    ):
        with pytest.raises(WrongState):
            device.receive(message)
        assert isinstance(device.state, Joined)


def test_states_do_not_print_their_secrets():
    cohort = make_cohort(6)
    device = cohort.devices[0]
    secret = device.state.seed
    masking = cohort.share(cohort.join())
    for state in (device.state, masking):
        assert repr(secret)[2:-1] not in repr(state)
        assert secret.hex() not in repr(state)


# ------------------------------------------------------------------ parts


@given(st.binary(min_size=32, max_size=32), st.integers(1, 6), st.integers(0, 5), st.integers(0, 2**32))
def test_shamir(secret, threshold, more, seed):
    count = threshold + more
    random = seeded(seed)
    shares = shamir.share(secret, threshold, count, random)
    holders = sorted(range(count), key=lambda i: random(4))[:threshold]
    assert shamir.Reconstructor(holders).secret({i: shares[i] for i in holders}) == secret


def test_fewer_shares_than_the_threshold_say_nothing():
    """Two shares of a threshold-three secret fit every other secret equally well."""
    shares = shamir.share(b"\5" * 32, 3, 5, seeded(1))
    for other in (bytes(32), b"\xff" * 32):
        x1, x2, prime = 1, 2, shamir.PRIME
        y0, y1, y2 = (int.from_bytes(v, "big") for v in (other, shares[0], shares[1]))
        # the parabola through (0, other), (1, share 1), (2, share 2) exists whatever `other` is
        a = ((y2 - y0) * pow(x2, -1, prime) - (y1 - y0) * pow(x1, -1, prime)) * pow(x2 - x1, -1, prime) % prime
        b = ((y1 - y0) * pow(x1, -1, prime) - a * x1) % prime
        third = (a * 9 + b * 3 + y0) % prime
        fitting = {0: shares[0], 1: shares[1], 2: third.to_bytes(33, "big")}
        assert shamir.Reconstructor([0, 1, 2]).secret(fitting) == other


def test_merkle_root_of_rfc_6962():
    """Test vectors of the Certificate Transparency reference (empty leaf, and the leaves 00, 10, 20 21)."""
    assert merkle_root([b""]).hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle_root([b"", b"\0"]).hex() == "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    assert (
        merkle_root([b"", b"\0", b"\x10"]).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    )


def test_a_share_is_bound_to_sender_receiver_and_session():
    key = bytes(32)
    sealed = crypto.encrypt_shares(key, b"x" * 66, bytes(32), 1, 2)
    assert crypto.decrypt_shares(key, sealed, bytes(32), 1, 2) == b"x" * 66
    for session, sender, receiver in ((bytes(32), 2, 1), (bytes(32), 1, 3), (b"\1" * 32, 1, 2)):
        with pytest.raises(Refused):
            crypto.decrypt_shares(key, sealed, session, sender, receiver)


def test_mask_stream_is_aes_ctr():
    """NIST SP 800-38A, F.5.5: AES-256-CTR, here with the counter at zero, checked against plain AES."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key = bytes(range(32))
    vector = np.zeros(8, np.uint32)
    crypto.apply_mask(vector, key, 1)
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    blocks = ecb.update(bytes(16)) + ecb.update((1).to_bytes(16, "big"))
    assert vector.astype("<u4").tobytes() == blocks
    crypto.apply_mask(vector, key, -1)
    assert not vector.any()
