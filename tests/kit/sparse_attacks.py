"""Lies in a sparse graph, about who has shared and whose shares are whose: what a complete one has no room for.

It takes more than a hundred devices, so they have shared once for all attacks, and do once what each does for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache

import pytest
from attacks import VICTIM, Attacks, Played, entries, survivors_of
from cheating_server import CheatingServer, Thwarted, enrolled
from cohort import make_plan, share_work
from protections import cut_upload_signatures

from hushfold_protocol.errors import Refused, TooFew
from hushfold_protocol.messages import Consents, Delivery, from_bitmap, to_bitmap
from hushfold_protocol.secagg.server import Masking

COUNT = 101
PLAN = make_plan(bits=16, floor=75, maximum=COUNT, gamma=0.05, dimension=16)
"""Each device has 47 holders, 23 of whom open a secret; 76 devices must agree. Masks have two bytes a value."""

ATTACKS = Attacks()


@contextmanager
def shared() -> Iterator[tuple[CheatingServer, Masking]]:
    """A session in which all devices have shared, for one attack to go on from."""
    with pytest.MonkeyPatch.context() as patch:
        share_work(patch)
        cheat, masking = _shared()
        yield cheat.copy(), masking


@cache
def _shared() -> tuple[CheatingServer, Masking]:
    cheat = CheatingServer(PLAN, enrolled(PLAN, COUNT, "a sparse session"))
    return cheat, cheat.share(cheat.join())


# ------------------------------------------------------------------ who has shared


@ATTACKS.add(Refused, "has not signed the sharers that this device was shown", cut_upload_signatures)
def sparse_sharers_hidden_from_one_device() -> Played:
    """Half of one device's holders are hidden from it, and the others dropped: its masks are towards drop-outs alone,
    whose keys are opened, and the hidden half, asked for its seed, has enough shares to open its update."""
    return _hide(quiet=False)


@ATTACKS.add(Refused, "has not signed the sharers that this device was shown", cut_upload_signatures)
def sparse_sharers_hidden_from_one_device_kept_quiet() -> Played:
    """The same, and what that device has signed with its upload is kept back."""
    return _hide(quiet=True)


def _hide(quiet: bool) -> Played:
    with shared() as (cheat, masking):
        target, session = VICTIM, masking.session
        chosen = sorted(masking.sealed[target])
        hidden, dropped = frozenset(chosen[: session.threshold]), frozenset(chosen[session.threshold :])
        told = {number: masking.announcement(number) for number in range(COUNT)}
        told[target] = _delivered(masking, target, masking.sharers - hidden, senders=dropped)
        uploads = {number: answer.signature for number, answer in cheat.try_all(told).items()}
        survivors = masking.sharers - dropped
        answers = cheat.try_all(dict.fromkeys(survivors - {target}, survivors_of(session, survivors)))
        signed = {number: answer.signature for number, answer in answers.items()}
        late = {} if quiet else {target: uploads[target]}
        cheat.try_all(dict.fromkeys(signed, Consents(session.id, entries(signed), entries(late))))
        return Played(cheat, victim=min(hidden), prize=frozenset({target}), colluders=frozenset())


@ATTACKS.add(Refused, "consented to other lists than this device was shown")
def sparse_split_view_of_the_sharers() -> Played:
    """Two halves of the devices are shown different sharers, and the signatures of both are put together."""
    with shared() as (cheat, masking):
        first, last = 0, COUNT - 1
        for number in range(COUNT):
            unseen = last if number < COUNT // 2 else first
            cheat.tell(number, _delivered(masking, number, masking.sharers - {unseen}))
        survivors = masking.sharers - {first, last}
        answers = cheat.try_all(dict.fromkeys(survivors, survivors_of(masking.session, survivors)))
        signed = {number: answer.signature for number, answer in answers.items()}
        consents = Consents(masking.session.id, entries(signed), ())
        cheat.try_all(dict.fromkeys(signed, consents))
        return Played(cheat, victim=min(survivors), colluders=frozenset())


@ATTACKS.add(TooFew, "22 holders of this device's secrets shared, 23 are needed")
def sparse_holders_hidden_below_the_threshold() -> Played:
    """So many of a device's holders are hidden from it that its seed could never be opened, nor the sum."""
    with shared() as (cheat, masking):
        hidden = sorted(masking.sealed[VICTIM])[masking.session.threshold - 1 :]
        return _deceived(cheat, _delivered(masking, VICTIM, masking.sharers - frozenset(hidden)))


# ------------------------------------------------------------------ whose shares


@ATTACKS.add(Refused, "shares of devices that have not shared, or of this device")
def sparse_shares_of_a_hidden_device() -> Played:
    """A device is said not to have shared, and its shares are passed on all the same."""
    with shared() as (cheat, masking):
        honest, (first, *_) = _honest(masking)
        sharers = to_bitmap(masking.sharers - {first}, COUNT)
        return _deceived(cheat, replace(honest, sharers=sharers))


@ATTACKS.add(Refused, "shares of devices that have not shared, or of this device")
def sparse_shares_of_the_device_itself() -> Played:
    """A device is said to have chosen itself: it would mask towards itself, and nothing would take that off."""
    with shared() as (cheat, masking):
        honest, (_, *others) = _honest(masking)
        return _deceived(cheat, replace(honest, senders=to_bitmap([VICTIM, *others], COUNT)))


@ATTACKS.add(Refused, "the shares were not encrypted by their sender for this session and device")
def sparse_shares_of_a_stranger() -> Played:
    """A device that has not chosen the victim is said to have: the victim would mask towards it, and not it."""
    with shared() as (cheat, masking):
        honest, (_, *others) = _honest(masking)
        stranger = next(one for one in sorted(masking.sharers - {VICTIM}) if VICTIM not in masking.sealed[one])
        return _deceived(cheat, replace(honest, senders=to_bitmap([stranger, *others], COUNT)))


def _delivered(
    masking: Masking, receiver: int, sharers: frozenset[int], senders: frozenset[int] | None = None
) -> Delivery:
    """What a device is told of these sharers, with the shares that these senders have for it; all, unless they are
    named."""
    senders = sharers if senders is None else senders
    sealed = {sharer: masking.sealed[sharer] if sharer in senders else {} for sharer in sharers}
    return replace(masking, sealed=sealed).announcement(receiver)


def _honest(masking: Masking) -> tuple[Delivery, list[int]]:
    """What the victim should be told, and who has sent it shares."""
    delivery = masking.announcement(VICTIM)
    return delivery, sorted(from_bitmap(delivery.senders, COUNT))


def _deceived(cheat: CheatingServer, delivery: Delivery) -> Played:
    with suppress(Thwarted):
        cheat.tell(VICTIM, delivery)
    return Played(cheat, colluders=frozenset())
