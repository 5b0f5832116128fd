"""Secure aggregation: sums are exact whoever is lost, and what must not be answered is not."""

from dataclasses import replace

import numpy as np
import pytest
from cohort import Cohort, make_identity, make_plan, make_vectors, use_sparse_graph
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
from hushfold_protocol.plan import CohortParameters
from hushfold_protocol.secagg import crypto, shamir
from hushfold_protocol.secagg.device import Agreed, Joined, Shared, Unmasked, Uploaded
from hushfold_protocol.secagg.session import sign_consent


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


@given(st.integers(2, 1000), st.floats(0, 0.49), st.integers(0, 300))
def test_two_lists_of_survivors_never_both_find_enough_signers(maximum, gamma, absent):
    """Two quorums of a roster share more devices than may collude, so an honest one, which signs one list only."""
    cohort = CohortParameters(maximum, maximum, 1, gamma)
    joined = max(1, maximum - absent)
    quorum = cohort.quorum(joined)
    assert 2 * quorum - joined > cohort.colluders
    assert 2 * (quorum - 1) - joined <= cohort.colluders  # and no larger than that takes


@pytest.mark.parametrize("joined", [8, 100, 101, 400, 1000])
@pytest.mark.parametrize("gamma", [0, 0.05, 0.2])
def test_a_quorum_and_the_floor_must_consent_whatever_the_graph(joined, gamma):
    for floor in (1, joined // 2, joined * 3 // 4, joined):
        cohort = CohortParameters(joined, joined, floor, gamma)
        graph = cohort.graph(joined)
        assert cohort.consents(joined) == max(cohort.quorum(joined), floor + graph.strays) <= joined


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


@pytest.mark.parametrize(
    ("count", "floor", "needed"),
    [
        (6, 5, 5),  # the floor is above the threshold of four
        (8, 2, 5),  # the threshold is above the floor
    ],
)
def test_a_device_demands_the_floor_and_the_threshold_at_every_step(count, floor, needed):
    """With one less it does not answer, and with just as many it does."""
    cohort = make_cohort(count, floor=floor, maximum=8, gamma=0.0)
    device = cohort.devices[0]
    masking = cohort.share(cohort.join())
    index = cohort.index[0]
    chosen = sorted({index, *sorted(set(range(count)) - {index})[: needed - 1]})
    fewer = frozenset(chosen) - {next(i for i in chosen if i != index)}

    def shared(members):
        return replace(masking, sealed={i: masking.sealed[i] for i in sorted(members)}).announcement(index)

    with pytest.raises(TooFew, match=f"{needed - 1} devices shared, {needed} are needed"):
        device.receive(shared(fewer))
    assert isinstance(device.receive(shared(chosen)), messages.Masked)

    def survived(members):
        return messages.Survivors(masking.session.id, messages.to_bitmap(members, count))

    with pytest.raises(TooFew, match=f"{needed - 1} devices uploaded, {needed} are needed"):
        device.receive(survived(fewer))
    assert isinstance(device.receive(survived(chosen)), messages.Consent)

    text = masking.session.consent_text(frozenset(chosen), frozenset(chosen))
    signatures = [
        messages.IndexedSignature(cohort.index[n], sign_consent(make_identity(n + 1).key, text))
        for n in sorted(range(count), key=cohort.index.__getitem__)
        if cohort.index[n] in chosen
    ]
    with pytest.raises(TooFew, match=f"{needed - 1} survivors consented, {needed} are needed"):
        device.receive(messages.Consents(masking.session.id, tuple(signatures[1:])))
    assert isinstance(device.receive(messages.Consents(masking.session.id, tuple(signatures))), messages.Unmask)


# ------------------------------------------------------------------ a cheating server


@pytest.fixture(params=["complete", "sparse"])
def either_graph(request, monkeypatch):
    """What must hold whoever holds whose secrets."""
    if request.param == "sparse":
        use_sparse_graph(monkeypatch, holders=5, threshold=2)


def agreeing_cohort(**kwargs):
    cohort = make_cohort(8, floor=5, maximum=8, gamma=0.0, **kwargs)
    return cohort, cohort.upload(cohort.share(cohort.join()))


@pytest.mark.usefixtures("either_graph")
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


def hiding_a_sharer_from(victim, cohort, hidden):
    """The agreeing stage of a server that shows device `victim` one sharer less, which it then drops."""
    masking = stage = cohort.share(cohort.join())
    for number in range(8):
        index = cohort.index[number]
        seen = masking
        if number == victim:
            seen = replace(masking, sealed={s: v for s, v in masking.sealed.items() if s != cohort.index[hidden]})
        masked = cohort.devices[number].receive(seen.announcement(index))
        if number == victim:
            with pytest.raises(SignatureInvalid):  # an honest server takes it out
                stage.accept(index, masked, cohort.total)
        stage = stage.recall(index, masked.signature)
    return replace(stage, uploaded=stage.uploaded - {cohort.index[hidden]}).close()


@pytest.mark.usefixtures("either_graph")
def test_split_view_of_the_sharers_opens_nothing():
    """The server shows one device fewer sharers: its signature then stands for other lists, and nobody unmasks."""
    cohort, victim = make_cohort(8, floor=5, maximum=8, gamma=0.0), 0
    agreeing = hiding_a_sharer_from(victim, cohort, hidden=7)
    answers = {cohort.index[n]: cohort.devices[n].receive(agreeing.announcement()).signature for n in range(7)}
    with pytest.raises(SignatureInvalid):
        agreeing.accept(cohort.index[victim], messages.Consent(agreeing.session.id, answers[cohort.index[victim]]))
    entries = tuple(messages.IndexedSignature(i, answers[i]) for i in sorted(answers))
    for number in range(7):
        with pytest.raises(Refused, match="other lists"):
            cohort.devices[number].receive(messages.Consents(agreeing.session.id, entries))


def test_a_survivor_that_was_shown_other_sharers_cannot_be_passed_off_as_silent():
    """Six consents are enough. But nobody helps to open the seed of a device that may not have masked towards it."""
    cohort, victim = make_cohort(8, floor=5, maximum=8, gamma=0.0), 0
    stage = hiding_a_sharer_from(victim, cohort, hidden=7)
    for number in range(1, 7):
        stage = stage.accept(cohort.index[number], cohort.devices[number].receive(stage.announcement()))
    honest = stage.close().announcement()
    assert len(honest.signatures) == 6
    assert [entry.index for entry in honest.uploads] == [cohort.index[victim]]
    silent = stage.session.name(cohort.index[victim])
    for number in range(1, 7):
        for consents in (honest, replace(honest, uploads=())):
            with pytest.raises(Refused, match=f"{silent} has not signed the sharers"):
                cohort.devices[number].receive(consents)
        assert isinstance(cohort.devices[number].state, Agreed)


@pytest.mark.usefixtures("either_graph")
def test_survivors_that_fall_silent_are_in_the_sum():
    """They have signed the sharers with their uploads."""
    cohort = make_cohort(8, floor=5, maximum=8, gamma=0.0)
    np.testing.assert_array_equal(cohort.run(agree=[1, 4]), cohort.expected(()))


@pytest.mark.usefixtures("either_graph")
def test_a_survivor_never_gives_both_secrets_of_one_device():
    cohort, stage = agreeing_cohort()
    unmasking = cohort.agree(stage)
    answer = cohort.devices[0].receive(unmasking.announcement())
    assert answer.seeds
    assert {e.index for e in answer.seeds}.isdisjoint(e.index for e in answer.keys)
    assert isinstance(cohort.devices[0].state, Unmasked)


@pytest.mark.usefixtures("either_graph")
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


@pytest.mark.usefixtures("either_graph")
def test_a_device_signs_no_list_of_survivors_that_is_short_foreign_or_without_it():
    cohort = make_cohort(8, floor=5, maximum=8, gamma=0.0)
    stage = cohort.upload(cohort.share(cohort.join(), lost=[7]), lost=[7])
    me, gone = cohort.index[0], cohort.index[7]
    others = sorted(set(range(8)) - {me, gone})
    for survivors, fault in (([me, *others[:3]], TooFew), (others, Refused), (range(8), Refused)):
        with pytest.raises(fault):
            cohort.devices[0].receive(replace(stage, survivors=frozenset(survivors)).announcement())
        assert isinstance(cohort.devices[0].state, Uploaded)


@pytest.mark.usefixtures("either_graph")
def test_too_few_consents_open_nothing():
    cohort, stage = agreeing_cohort()
    unmasking = cohort.agree(stage)
    full = unmasking.announcement()
    with pytest.raises(TooFew, match="4 survivors consented, 5 are needed"):
        cohort.devices[0].receive(replace(full, signatures=full.signatures[:4]))


@pytest.mark.usefixtures("either_graph")
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


@pytest.mark.usefixtures("either_graph")
def test_consents_of_another_session_are_worthless():
    one, stage = agreeing_cohort()
    consents = one.agree(stage).announcement()
    other = Cohort(one.plan, one.vectors, seed=2)
    other_stage = other.upload(other.share(other.join()))
    other.agree(other_stage)
    forged = replace(consents, session=other_stage.session.id)
    with pytest.raises(Refused, match="other lists"):
        other.devices[0].receive(forged)


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
    with pytest.raises(Refused, match=f"seed of {stage.session.name(2)} do not fit its commitment"):
        unmasking.close()


def test_server_refuses_wrong_shares_of_a_drop_outs_masking_key():
    """They would give some key, and with it masks that are in no upload: noise for a sum."""
    cohort = make_cohort(8, floor=5, maximum=8, gamma=0.0)
    agreeing = cohort.upload(cohort.share(cohort.join()), lost=[7])
    unmasking = cohort.agree(agreeing, lost=[7])
    liar = next(n for n in range(7) if cohort.index[n] == min(agreeing.survivors))  # its shares are used
    for number in range(7):
        answer = cohort.devices[number].receive(unmasking.announcement())
        if number == liar:
            (entry,) = answer.keys
            wrong = (int.from_bytes(entry.share, "big") + 1) % shamir.PRIME
            answer = replace(answer, keys=(replace(entry, share=wrong.to_bytes(33, "big")),))
        unmasking = unmasking.accept(cohort.index[number], answer)
    with pytest.raises(Refused, match=f"masking key of {agreeing.session.name(cohort.index[7])} do not fit"):
        unmasking.close()


def sealing_garbage_to(receivers, cohort):
    """The masking stage of a cohort whose device 0 has sealed garbage to some of the others, by device number."""
    masking = cohort.share(cohort.join())
    sender = cohort.index[0]
    garbage = {cohort.index[n]: bytes(messages.SEALED_BYTES) for n in receivers}
    return replace(masking, sealed={**masking.sealed, sender: {**masking.sealed[sender], **garbage}})


def test_shares_that_do_not_open_cost_the_round_their_receivers_only():
    cohort = make_cohort(8, floor=5, maximum=8, gamma=0.0)
    masking = sealing_garbage_to([1, 2], cohort)
    for number in (1, 2):
        with pytest.raises(Refused, match=f"{masking.session.name(cohort.index[0])}: the shares were not encrypted"):
            cohort.devices[number].receive(masking.announcement(cohort.index[number]))
        assert isinstance(cohort.devices[number].state, Shared)
    lost = [1, 2]
    total = cohort.unmask(cohort.agree(cohort.upload(masking, lost), lost), lost)
    np.testing.assert_array_equal(total, cohort.expected(lost))


def test_shares_that_open_for_nobody_end_the_round_before_any_other_device_has_sent_its_vector():
    cohort = make_cohort(8, floor=5, maximum=8, gamma=0.0)
    masking = sealing_garbage_to(range(1, 8), cohort)
    for number in range(1, 8):
        with pytest.raises(Refused, match=f"{masking.session.name(cohort.index[0])}: the shares were not encrypted"):
            cohort.devices[number].receive(masking.announcement(cohort.index[number]))
    with pytest.raises(TooFew, match="1 devices uploaded, 5 are needed"):
        cohort.upload(masking, lost=range(1, 8))


@pytest.mark.usefixtures("either_graph")
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


@pytest.mark.usefixtures("either_graph")
def test_every_message_out_of_order_raises_and_leaves_the_state():
    cohort = make_cohort(6)
    device = cohort.devices[0]
    session = cohort.join().session
    for message in (
        messages.Delivery(session.id, b"\x3f", b"\x3e", ()),
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
