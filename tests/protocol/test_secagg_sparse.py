"""Secure aggregation over the sparse graph: exact sums whoever is lost, what each step checks, and its memory."""

import tracemalloc
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from cohort import share_work, use_sparse_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from sparse_cohort import COUNT, HOLDERS, THRESHOLD, holders_of, make_cohort, use_small_sparse_graph

from hushfold_protocol import messages
from hushfold_protocol.errors import ProtocolError, Refused, TooFew
from hushfold_protocol.packing import unpack
from hushfold_protocol.secagg import crypto, shamir
from hushfold_protocol.secagg.device import Shared

# ------------------------------------------------------------------ the sum


def can_finish(masking, absent):
    """Whether every sharer has a threshold of holders who are not absent."""
    return all(len(holders_of(masking, owner) - absent) >= THRESHOLD for owner in masking.sealed)


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_sum_equals_the_plain_sum_whoever_is_lost(data):
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_small_sparse_graph(monkeypatch)
        cohort = make_cohort(seed=data.draw(st.integers(0, 99)), bits=data.draw(st.sampled_from([8, 20, 32])))
        lost = data.draw(st.lists(st.integers(0, COUNT - 1), unique=True, max_size=5))
        steps = [data.draw(st.sampled_from(["share", "upload", "agree", "unmask"])) for _ in lost]
        at = {step: {n for n, s in zip(lost, steps, strict=True) if s == step} for step in steps}
        gone = at.get("share", set())
        masking = cohort.share(cohort.join(), gone)
        number = {index: n for n, index in cohort.index.items()}
        # who has too few holders left does not upload; its secrets can be had all the same, if others keep enough
        stranded = {number[i] for i in masking.sealed if len(holders_of(masking, i) & masking.sharers) < THRESHOLD}
        gone |= at.get("upload", set()) | stranded
        expected, silent = cohort.expected(gone), gone | at.get("agree", set()) | at.get("unmask", set())
        try:
            unmasking = cohort.agree(cohort.upload(masking, gone), gone | at.get("agree", set()))
            total = cohort.unmask(unmasking, silent)
        except TooFew:
            absent = {cohort.index[n] for n in silent} | (set(range(COUNT)) - masking.sharers)
            assert not can_finish(masking, absent) or COUNT - len(silent) < cohort.plan.cohort.consents(COUNT)
        else:
            np.testing.assert_array_equal(total, expected)


@pytest.fixture(scope="module")
def hundred_and_twenty():
    """A cohort with the graph that its plan gives, and its stage when all have shared; for tests to go on from."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        share_work(monkeypatch)
        cohort = make_cohort(120, floor=100, gamma=0.05, dimension=16)
        assert not cohort.plan.cohort.graph(120).complete
        yield cohort, cohort.share(cohort.join())


def go_on(cohort, masking, upload=(), agree=(), unmask=()):
    """The sum of a copy of a cohort that has shared, with the named devices lost at each step and at all later ones."""
    twin, lost = cohort.copy(), set(upload)
    agreeing = twin.upload(masking, lost)
    unmasking = twin.agree(agreeing, lost := lost | set(agree))
    return twin.unmask(unmasking, lost | set(unmask))


@pytest.mark.parametrize(
    "lost",
    [
        {},
        {"upload": range(18)},
        {"agree": range(18)},
        {"unmask": range(20)},
        {"upload": range(6), "agree": range(6, 12), "unmask": range(12, 20)},
    ],
    ids=lambda lost: "-".join(lost) or "nobody",
)
def test_as_many_as_the_plan_allows_may_be_lost_of_a_hundred_and_twenty(lost, hundred_and_twenty):
    cohort, masking = hundred_and_twenty
    np.testing.assert_array_equal(go_on(cohort, masking, **lost), cohort.expected(lost.get("upload", ())))


def test_drop_outs_before_they_have_shared_are_nobodys_neighbours(monkeypatch):
    share_work(monkeypatch)
    cohort = make_cohort(110, floor=90, gamma=0.05, dimension=16)
    assert not cohort.plan.cohort.graph(110).complete
    np.testing.assert_array_equal(cohort.run(share=range(19)), cohort.expected(range(19)))


@pytest.mark.slow
def test_a_thousand_devices_in_one_session(monkeypatch):
    """One in ten drops out: before uploading, after it, and at every step: sums are exact."""
    share_work(monkeypatch)
    cohort = make_cohort(1_000, floor=890, gamma=0.05, dimension=16)
    masking = cohort.share(cohort.join())
    graph = masking.session.graph
    assert not graph.complete
    assert {len(sealed) for sealed in masking.sealed.values()} == {graph.holders}
    tenth = range(0, 1_000, 10)
    after = {"agree": tenth[:50], "unmask": tenth[50:]}
    mixed = {"upload": tenth[:30], "agree": tenth[30:60], "unmask": tenth[60:]}
    for lost in ({"upload": tenth}, after, mixed):
        np.testing.assert_array_equal(go_on(cohort, masking, **lost), cohort.expected(lost.get("upload", ())))
    with pytest.raises(TooFew, match=f"devices uploaded, {890 + graph.strays} are needed"):
        cohort.copy().upload(masking, range(1_000 - 890 - graph.strays + 1))


def test_more_than_the_floor_must_agree_where_some_can_be_kept_out_of_the_sum(monkeypatch):
    use_sparse_graph(monkeypatch, HOLDERS, THRESHOLD, strays=1)
    cohort = make_cohort(floor=10)
    with pytest.raises(TooFew, match="10 devices uploaded, 11 are needed"):
        cohort.run(upload=range(4))
    cohort = make_cohort(floor=10)
    np.testing.assert_array_equal(cohort.run(upload=range(3)), cohort.expected(range(3)))


# ------------------------------------------------------------------ who holds what


def test_each_device_chooses_its_holders_and_shares_with_these_alone(sparse):
    cohort = make_cohort()
    masking = cohort.share(cohort.join())
    chosen = {index: holders_of(masking, index) for index in masking.sealed}
    assert all(len(holders) == HOLDERS and index not in holders for index, holders in chosen.items())
    assert len(set(chosen.values())) > 1
    for receiver in range(COUNT):
        delivery = masking.announcement(receiver)
        senders = messages.from_bitmap(delivery.senders, COUNT)
        assert senders == {index for index, holders in chosen.items() if receiver in holders}
        assert len(delivery.sealed) == len(senders)
    other = make_cohort(seed=2)
    assert {i: holders_of(other.share(other.join()), i) for i in range(COUNT)} != chosen


def test_masks_are_towards_the_chosen_and_those_who_chose(sparse, monkeypatch):
    """And towards nobody else; both ends of each pair make the same mask, with opposite signs."""
    cohort = make_cohort()
    masking = cohort.share(cohort.join(), lost=[3])
    pairs, seed_of = Counter(), crypto.pair_seed
    made = []

    def recorded(private, public, session, one, other):
        made.append((one, other, seed_of(private, public, session, one, other)))
        return made[-1][2]

    monkeypatch.setattr(crypto, "pair_seed", recorded)
    cohort.upload(masking, lost=[3])
    expected = {
        frozenset((one, other))
        for one in masking.sealed
        for other in masking.sealed
        if other in holders_of(masking, one)
    }
    for one, other, seed in made:
        pairs[frozenset((one, other)), seed] += crypto.pair_sign(one, other)
    assert {pair for pair, _ in pairs} == expected
    assert len(pairs) == len(expected)  # one seed for each pair
    assert set(pairs.values()) == {0}
    assert len(made) == 2 * len(expected)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("one less", "shares for 5 devices, they are for 6 others"),
        ("itself", "shares for 6 devices, they are for 6 others"),
        ("one more", "shares for 7 devices, they are for 6 others"),
        ("no seal", "5 shares for 6 devices"),
        ("beyond the roster", "beyond the roster"),
    ],
)
def test_server_refuses_shares_for_others_than_k_holders(fault, said, sparse):
    cohort = make_cohort()
    sharing = cohort.join()
    index = cohort.index[0]
    shares = cohort.devices[0].receive(sharing.announcement())
    receivers = sorted(messages.from_bitmap(shares.receivers, COUNT))
    match fault:
        case "one less":
            receivers, sealed = receivers[1:], shares.sealed[1:]
        case "itself":
            receivers, sealed = [index, *receivers[1:]], shares.sealed
        case "one more":
            other = min(set(range(COUNT)) - set(receivers) - {index})
            receivers, sealed = [*receivers, other], (*shares.sealed, shares.sealed[0])
        case "no seal":
            sealed = shares.sealed[1:]
        case _:
            receivers, sealed = [*receivers[1:], COUNT + 1], shares.sealed
    bitmap = sum(1 << receiver for receiver in receivers).to_bytes(2, "little")
    with pytest.raises(ProtocolError, match=said):
        sharing.accept(index, replace(shares, receivers=bitmap, sealed=sealed))
    assert sharing.accept(index, shares).sealed.keys() == {index}


def test_server_takes_shares_of_those_only_whom_a_device_holds(sparse):
    cohort = make_cohort()
    masking = cohort.share(cohort.join())
    unmasking = cohort.agree(cohort.upload(masking, lost=[2]), lost=[2])
    index, gone = cohort.index[0], cohort.index[2]
    answer = cohort.devices[0].receive(unmasking.announcement())
    held = {owner for owner in masking.sealed if index in holders_of(masking, owner)}
    assert {entry.index for entry in answer.seeds} == held - {gone}
    assert {entry.index for entry in answer.keys} == held & {gone}
    stranger = min(unmasking.survivors - held)
    more = messages.IndexedShare(stranger, bytes(shamir.SHARE_BYTES))
    for seeds in (answer.seeds[1:], tuple(sorted((*answer.seeds, more), key=lambda entry: entry.index))):
        with pytest.raises(Refused, match="seed shares for other devices"):
            unmasking.accept(index, replace(answer, seeds=seeds))
    assert unmasking.accept(index, answer).answers.keys() == {index}


# ------------------------------------------------------------------ deliveries


def delivered(masking, index, **changes):
    return replace(masking.announcement(index), **changes)


def test_a_device_does_not_upload_where_its_seed_could_not_be_opened(sparse):
    """With less than a threshold of its holders among the sharers it would spend its budget, and lose the sum."""
    cohort = make_cohort()
    masking = cohort.share(cohort.join())
    index, device = cohort.index[0], cohort.devices[0]
    chosen = sorted(holders_of(masking, index))

    def without(hidden):
        return replace(masking, sealed={i: s for i, s in masking.sealed.items() if i not in hidden}).announcement(index)

    with pytest.raises(TooFew, match="2 holders of this device's secrets shared, 3 are needed"):
        device.receive(without(chosen[:4]))
    assert isinstance(device.state, Shared)
    assert isinstance(device.receive(without(chosen[:3])), messages.Masked)


SEALED_BY_OTHERS = "were not encrypted by their sender"
FORGERIES = {
    "shared, but not among the sharers": "devices that have not shared",
    "itself": "devices that have not shared, or of this device",
    "too many": r"\d shares of \d devices",
    "too few": r"\d shares of \d devices",
    "swapped": SEALED_BY_OTHERS,
    "of one that has not chosen the device": SEALED_BY_OTHERS,
    "beyond the roster": "beyond the roster",
}


@pytest.mark.parametrize("fault", FORGERIES)
def test_a_device_refuses_shares_that_no_sharer_sealed_to_it(fault, sparse):
    cohort = make_cohort()
    masking = cohort.share(cohort.join())
    index, device = cohort.index[0], cohort.devices[0]
    honest = masking.announcement(index)
    senders = sorted(messages.from_bitmap(honest.senders, COUNT))
    strangers = sorted(masking.sharers - set(senders) - {index})
    match fault:
        case "shared, but not among the sharers":
            forged = replace(honest, sharers=messages.to_bitmap(masking.sharers - {senders[0]}, COUNT))
        case "itself":
            forged = replace(honest, senders=messages.to_bitmap([*senders[1:], index], COUNT))
        case "too many":
            forged = replace(honest, sealed=(*honest.sealed, honest.sealed[0]))
        case "too few":
            forged = replace(honest, sealed=honest.sealed[1:])
        case "swapped":
            forged = replace(honest, sealed=(honest.sealed[1], honest.sealed[0], *honest.sealed[2:]))
        case "of one that has not chosen the device":
            forged = replace(honest, senders=messages.to_bitmap([*senders[1:], strangers[0]], COUNT))
        case _:
            forged = replace(honest, senders=b"\xff\xff")
    with pytest.raises(ProtocolError, match=FORGERIES[fault]):
        device.receive(forged)
    assert isinstance(device.state, Shared)
    assert isinstance(device.receive(honest), messages.Masked)


def test_withheld_shares_cost_the_sum_and_open_nothing(sparse):
    """A device whose shares were withheld from one of its holders has masked towards it, and not the other way."""
    cohort = make_cohort()
    masking = stage = cohort.share(cohort.join())
    owner = cohort.index[0]
    holder = min(h for h in holders_of(masking, owner) if owner not in holders_of(masking, h))
    withheld = replace(
        masking,
        sealed={**masking.sealed, owner: {h: s for h, s in masking.sealed[owner].items() if h != holder}},
    )
    uploads = {}
    for number, device in enumerate(cohort.devices):
        index = cohort.index[number]
        seen = withheld if index == holder else masking
        answer = device.receive(seen.announcement(index))
        uploads[index] = unpack(answer.vector, cohort.total.size, cohort.plan.update.bits)
        stage = stage.accept(index, answer, cohort.total)
    unmasking = cohort.agree(stage.close())
    answer = cohort.devices[next(n for n, i in cohort.index.items() if i == holder)].receive(unmasking.announcement())
    assert owner not in {entry.index for entry in answer.seeds}  # it has no share to give
    for number, device in enumerate(cohort.devices):
        answer = device.receive(unmasking.announcement())
        if cohort.index[number] == holder:
            with pytest.raises(Refused, match="seed shares for other devices"):
                unmasking.accept(holder, answer)  # the honest server's own check
        else:
            unmasking = unmasking.accept(cohort.index[number], answer)
    total = unmasking.close().unmask(cohort.total)
    assert np.mean(total == cohort.expected(())) < 0.1  # noise


# ------------------------------------------------------------------ memory


def server_peak(count, monkeypatch):
    """Bytes that uploads and their sum take at most, in the server's part of a session, beyond the sum itself."""
    cohort = make_cohort(count, dimension=1 << 18, bits=20)
    stage = cohort.share(cohort.join())
    kept = peak = 0

    def watched(call, *arguments):
        nonlocal kept, peak
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        result = call(*arguments)
        after, most = tracemalloc.get_traced_memory()
        peak = max(peak, kept + most - before)
        kept += after - before
        return result

    tracemalloc.start()
    try:
        for number in range(2, count):
            index = cohort.index[number]
            masked = cohort.devices[number].receive(stage.announcement(index))
            stage = watched(stage.accept, index, masked, cohort.total)
        unmasking = cohort.agree(stage.close(), lost=[0, 1])
        for number in range(2, count):
            unmasking = unmasking.accept(cohort.index[number], cohort.devices[number].receive(unmasking.announcement()))
        opened = unmasking.close()
        total = watched(opened.unmask, cohort.total)
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(total, cohort.expected([0, 1]))
    return peak


def test_memory_of_the_sum_does_not_grow_with_the_cohort(sparse, monkeypatch):
    """A vector of 2^18 values has a megabyte: the server holds two at a time and some buffers, however many come."""
    few, many = server_peak(10, monkeypatch), server_peak(40, monkeypatch)
    assert many < few + (1 << 19)
    assert many < 5 << 20
