"""Secure aggregation over the sparse graph: whatever a server shows and withholds, it opens nothing but the sum."""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from cohort import share_work, use_sparse_graph
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from sparse_cohort import THRESHOLD, holders_of, make_cohort

from hushfold_protocol import messages
from hushfold_protocol.errors import ProtocolError, Refused, SignatureInvalid
from hushfold_protocol.packing import unpack
from hushfold_protocol.secagg import crypto, shamir
from hushfold_protocol.secagg.device import Agreed
from hushfold_protocol.secagg.session import sign_consent

# ------------------------------------------------------------------ views


def test_a_device_that_was_shown_fewer_sharers_is_not_opened(sparse):
    """The attack on a device alone: the server hides half of its holders from it, and drops the other half.

    Its masks are then towards drop-outs only, whose keys are opened, and the hidden half holds enough shares of its
    seed. But the hidden half has signed other sharers than it, and gives none.
    """
    cohort = make_cohort(20, floor=10, gamma=0.0)
    masking = stage = cohort.share(cohort.join())
    victim = cohort.index[0]
    chosen = sorted(holders_of(masking, victim))
    hidden, dropped = frozenset(chosen[:THRESHOLD]), frozenset(chosen[THRESHOLD:])
    shown = replace(masking, sealed={i: s for i, s in masking.sealed.items() if i not in hidden})
    number = {index: n for n, index in cohort.index.items()}
    for index in masking.sealed:
        masked = cohort.devices[number[index]].receive((shown if index == victim else masking).announcement(index))
        stage = stage.recall(index, masked.signature)
    agreeing = replace(stage, uploaded=stage.uploaded - dropped).close()
    signers = agreeing.survivors - {victim}
    for index in signers:
        agreeing = agreeing.accept(index, cohort.devices[number[index]].receive(agreeing.announcement()))
    consents = agreeing.close().announcement()
    assert len(consents.signatures) >= cohort.plan.cohort.consents(20)
    for index in hidden:
        device = cohort.devices[number[index]]
        with pytest.raises(Refused, match=f"{masking.session.name(victim)} has not signed the sharers"):
            device.receive(consents)
        assert isinstance(device.state, Agreed)
    others = [index for index in signers - hidden if victim not in cohort.devices[number[index]].state.seed_shares]
    assert others  # they have no share of the victim's secrets, and what they give helps nobody
    for index in others:
        answer = cohort.devices[number[index]].receive(consents)
        assert victim not in {entry.index for entry in (*answer.seeds, *answer.keys)}


def test_an_upload_that_signs_other_sharers_is_refused_alone(sparse):
    cohort = make_cohort()
    masking = cohort.share(cohort.join())
    index = cohort.index[0]
    masked = cohort.devices[0].receive(masking.announcement(index))
    with pytest.raises(SignatureInvalid):
        masking.accept(index, replace(masked, signature=bytes(64)), cohort.total)
    assert not cohort.total.any()
    assert masking.accept(index, masked, cohort.total).uploaded == {index}


# ------------------------------------------------------------------ what any server could open


class Attack:
    """A server that shows two groups different sharers, withholds shares and drops whom it likes, and has a colluder.

    All indices are of the roster. Who masked towards whom is in `masks`, as (who, towards whom).
    """

    def __init__(self, data, cohort, colluder=0):
        self.cohort, self.masking = cohort, cohort.share(cohort.join())
        self.session = self.masking.session
        self.number = {index: number for number, index in cohort.index.items()}
        self.mine, self.colluder = cohort.index[colluder], cohort.devices[colluder].state
        self.holders = {owner: holders_of(self.masking, owner) for owner in self.masking.sealed}
        self.masks, self.uploads, self.shown = set(), {}, {}
        needed, everyone = self.session.consents, range(self.session.size)
        some = st.frozensets(st.sampled_from(everyone), max_size=len(everyone) - needed).map(set(everyone).difference)
        edges = sorted((owner, holder) for owner in self.holders for holder in self.holders[owner])
        self.upload(
            (data.draw(some), data.draw(some)),
            [data.draw(st.sampled_from([0, 0, 0, 0, 1])) for _ in everyone],
            data.draw(st.sets(st.sampled_from(edges), max_size=3)),
        )
        self.sharers = self.shown_to_most()
        self.survivors = data.draw(some) & self.sharers & (self.uploads.keys() | {self.mine})
        self.seeds, self.keys = self.unmask(self.agree())

    def tell(self, index, message):
        """The device's answer; None if it refuses."""
        try:
            return self.cohort.devices[self.number[index]].receive(message)
        except ProtocolError:
            return None

    def upload(self, views, side, withheld):
        for index in self.holders.keys() - {self.mine}:
            sharers = frozenset(views[side[index]] | {index})
            sealed = {
                owner: {h: s for h, s in self.masking.sealed[owner].items() if h != index or (owner, h) not in withheld}
                for owner in sharers
            }
            delivery = replace(self.masking, sealed=sealed).announcement(index)
            masked = self.tell(index, delivery)
            if masked is not None:
                self.uploads[index], self.shown[index] = masked, sharers
                towards = (self.holders[index] & sharers) | messages.from_bitmap(delivery.senders, self.session.size)
                self.masks |= {(index, peer) for peer in towards}

    def shown_to_most(self):
        return Counter(self.shown.values()).most_common(1)[0][0] if self.shown else frozenset()

    def agree(self):
        text = self.session.consent_text(self.sharers, self.survivors)
        lists = messages.Survivors(self.session.id, messages.to_bitmap(self.survivors, self.session.size))
        answers = {index: self.tell(index, lists) for index in self.uploads}
        signed = {i: a.signature for i, a in answers.items() if a is not None and self.shown[i] == self.sharers}
        self.signers = frozenset(signed)
        if self.mine in self.survivors:
            signed[self.mine] = sign_consent(self.colluder.identity.key, text)
        late = {i: self.uploads[i].signature for i in self.survivors & self.uploads.keys() - signed.keys()}
        lists = ((i, messages.IndexedSignature(i, s)) for some in (signed, late) for i, s in sorted(some.items()))
        entries = [entry for _, entry in lists]
        return messages.Consents(self.session.id, tuple(entries[: len(signed)]), tuple(entries[len(signed) :]))

    def unmask(self, consents):
        """The seeds and the masking keys of which there are enough shares, the colluder's among them."""
        seeds, keys = defaultdict(dict), defaultdict(dict)
        for index in self.signers:
            answer = self.tell(index, consents)
            if answer is not None:
                for entry in answer.seeds:
                    seeds[entry.index][index] = entry.share
                for entry in answer.keys:
                    keys[entry.index][index] = entry.share
        for owner in self.holders.keys() - {self.mine}:
            if self.mine in self.holders[owner]:
                public, ends = self.session.joins[owner].sharing_key, (self.session.id, owner, self.mine)
                key = crypto.share_key(self.colluder.sharing, public, *ends)
                plain = crypto.decrypt_shares(key, self.masking.sealed[owner][self.mine], *ends)
                seeds[owner][self.mine], keys[owner][self.mine] = plain[:33], plain[33:]
        return self.reconstructed(seeds), self.reconstructed(keys)

    def reconstructed(self, shares):
        enough = {owner: sorted(held)[: self.session.threshold] for owner, held in shares.items()}
        return {
            owner: shamir.Reconstructor(holders).secret(shares[owner])
            for owner, holders in enough.items()
            if len(holders) == self.session.threshold
        }

    def opened(self):
        """The smallest sets of honest devices whose sum has no unknown mask.

        It counts both ends of a mask alike; a mask with one end never goes away, nor does an unknown mask of one's own.
        """
        alive = self.uploads.keys() - self.keys.keys()
        unknown = {(a, b) for a, b in self.masks if a in alive and b not in self.keys and b != self.mine}
        groups = {index: {index} for index in alive}
        for one, other in unknown:
            if (other, one) in unknown and groups[one] is not groups[other]:
                groups[one] |= groups[other]
                groups |= dict.fromkeys(groups[other], groups[one])
        hidden = (alive - self.seeds.keys()) | {one for one, other in unknown if (other, one) not in unknown}
        return {frozenset(group) for group in groups.values() if not group & hidden}

    def sum_of(self, group):
        """The sum of a group of `opened`, with the secrets that are known."""
        session, size = self.session, self.cohort.total.size
        private = {owner: X25519PrivateKey.from_private_bytes(key) for owner, key in self.keys.items()}
        private[self.mine] = self.colluder.masking
        total = np.zeros(size, np.uint32)
        for index in group:
            total += unpack(self.uploads[index].vector, size, 32)
            crypto.apply_masks(total, [(crypto.self_seed(self.seeds[index], session.id, index), -1)], 32)
        for one, other in self.masks:
            if one in group and other not in group:
                public = session.joins[one].masking_key
                seed = crypto.pair_seed(private[other], public, session.id, one, other)
                crypto.apply_masks(total, [(seed, -crypto.pair_sign(one, other))], 32)
        return total


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_what_opens_is_closed_and_helps_itself_whatever_the_server_shows_and_withholds(data):
    """The two conditions that docs/neighbours.md counts sets by hold of what real devices let a server open.

    Every sum that opens is really computed. The signers in it have a threshold of holders among themselves and the
    colluder, and no holder among the other signers.
    """
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_sparse_graph(monkeypatch, data.draw(st.integers(2, 4)), 2)
        share_work(monkeypatch)
        cohort = make_cohort(9, seed=data.draw(st.integers(0, 999)), floor=2, gamma=0.12, bits=32, dimension=16)
        attack = Attack(data, cohort)
        assert (attack.session.consents, cohort.plan.cohort.colluders) == (6, 1)
        assert not attack.seeds.keys() & attack.keys.keys()
        for group in attack.opened():
            signers = group & attack.signers
            assert signers
            for index in signers:
                assert len(attack.holders[index] & (signers | {attack.mine})) >= 2
                assert not attack.holders[index] & (attack.signers - group)
            plain = sum((cohort.vectors[attack.number[index]] for index in group), np.zeros(16, np.uint32))
            np.testing.assert_array_equal(attack.sum_of(group), plain)
            event("all signers" if signers == attack.signers else "some signers")
