"""Lies about who has survived, and who has consented to that; and the same question asked twice."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from attacks import HIGH_FLOOR, VICTIM, Attacks, Played, agree_and_unmask, consents_for, survivors_of
from cheating_server import COLLUDER, COUNT, PLAN, CheatingServer, Thwarted, enrolled
from protections import cut_consent_signatures, cut_memory, cut_minimums

from hushfold_protocol.errors import Equivocation, Refused, TooFew
from hushfold_protocol.secagg.server import Agreeing

ATTACKS = Attacks()


# ------------------------------------------------------------------ who has survived


@ATTACKS.add(Refused, "the list of survivors names devices that have not shared")
def survivors_who_never_shared() -> Played:
    """A device that has not shared its secrets is said to be in the sum."""
    cheat = CheatingServer(PLAN, enrolled(PLAN))
    sharing = cheat.join()
    for number in (0, 1, 2, 3, COLLUDER):
        sharing = sharing.accept(number, cheat.tell(number, sharing.announcement()))
    masking = sharing.close()
    cheat.try_all({number: masking.announcement(number) for number in masking.sharers})
    with suppress(Thwarted):
        cheat.tell(VICTIM, survivors_of(masking.session, range(COUNT)))
    return Played(cheat)


@ATTACKS.add(Refused, "this device uploaded, but the server says that it did not")
def survivors_without_the_device() -> Played:
    """The victim's upload is kept, and the victim said to have dropped out."""
    cheat = CheatingServer(PLAN, enrolled(PLAN))
    agreeing = cheat.upload(cheat.share(cheat.join()))
    with suppress(Thwarted):
        cheat.tell(VICTIM, survivors_of(agreeing.session, range(1, COUNT)))
    return Played(cheat)


@ATTACKS.add(TooFew, "4 devices uploaded, 5 are needed", cut_minimums)
def survivors_below_the_floor() -> Played:
    """Everyone uploads, but only four are said to be in the sum."""
    few = frozenset({0, 1, 2, COLLUDER})
    cheat = CheatingServer(HIGH_FLOOR, enrolled(HIGH_FLOOR))
    agreeing = replace(cheat.upload(cheat.share(cheat.join())), survivors=few)
    with suppress(Thwarted):
        agree_and_unmask(cheat, agreeing, few)
    return Played(cheat, prize=few - {COLLUDER})


_SPLIT = {  # each device's own list of survivors: long enough for everyone, and yet only 0, 1 and 5 are on all of them
    0: frozenset({0, 1, COLLUDER, 2}),
    1: frozenset({0, 1, COLLUDER, 3}),
    2: frozenset({0, 1, COLLUDER, 2}),
    3: frozenset({0, 1, COLLUDER, 3}),
    4: frozenset({0, 1, COLLUDER, 4}),
}


@ATTACKS.add(Refused, "consented to other lists than this device was shown", cut_consent_signatures)
def split_view_of_the_survivors() -> Played:
    """Every device is shown another list, and every signature that was made for any of them."""
    cheat, agreeing, signed = _split()
    told = {}
    for number, survivors in _SPLIT.items():
        shown = {signer: signed[signer] for signer in survivors - {COLLUDER}}
        told[number] = consents_for(cheat, agreeing, survivors, shown)
    cheat.try_all(told)
    return Played(cheat, prize=frozenset({0, 1}))


@ATTACKS.add(TooFew, "3 survivors consented, 4 are needed", cut_minimums)
def split_view_of_the_consents() -> Played:
    """Every device is shown another list, and only the signatures for that one."""
    cheat, agreeing, signed = _split()
    told = {}
    for number, survivors in _SPLIT.items():
        shown = {signer: signed[signer] for signer, its in _SPLIT.items() if its == survivors}
        told[number] = consents_for(cheat, agreeing, survivors, shown)
    cheat.try_all(told)
    return Played(cheat, prize=frozenset({0, 1}))


@ATTACKS.add(Refused, "the list of consents is not sorted, or names a device twice")
def duplicated_consents() -> Played:
    """Every device is shown another list, and its own signature as often as signatures are needed."""
    cheat, agreeing, signed = _split()
    told = {}
    for number, survivors in _SPLIT.items():
        alone = consents_for(cheat, agreeing, survivors - {COLLUDER}, {number: signed[number]})
        told[number] = replace(alone, signatures=alone.signatures * 4)
    cheat.try_all(told)
    return Played(cheat, prize=frozenset({0, 1}))


@ATTACKS.add(Refused, "the list of consents names a device that is not among the survivors")
def consents_of_outsiders() -> Played:
    """The signature of a device that is not on the list makes up the number."""
    cheat, agreeing, signed = _split()
    shown = {0: signed[0], 1: signed[1], 3: signed[3]}
    with suppress(Thwarted):
        cheat.tell(VICTIM, consents_for(cheat, agreeing, _SPLIT[VICTIM], shown))
    return Played(cheat)


@ATTACKS.add(Refused, "consented to other lists than this device was shown")
def replayed_consents() -> Played:
    """The consents of an earlier session of the same devices, in a message that names this one."""
    earlier, cheat = CheatingServer(PLAN, enrolled(PLAN, name="session 0")), CheatingServer(PLAN, enrolled(PLAN))
    old = earlier.agree(earlier.upload(earlier.share(earlier.join()))).announcement()
    agreeing = cheat.upload(cheat.share(cheat.join()))
    cheat.agree(agreeing)
    with suppress(Thwarted):
        cheat.tell(VICTIM, replace(old, session=agreeing.session.id))
    return Played(cheat)


# ------------------------------------------------------------------ the same question twice


@ATTACKS.add(Equivocation, "a second, different Survivors for the same session", cut_memory)
def overlapping_lists() -> Played:
    """Device 3 is first said to have survived, then to have dropped out: both of its secrets would be given away."""
    cheat = CheatingServer(PLAN, enrolled(PLAN))
    agreeing = cheat.upload(cheat.share(cheat.join()))
    cheat.agree(agreeing)
    without = replace(agreeing, survivors=agreeing.survivors - {3})
    with suppress(Thwarted):
        agree_and_unmask(cheat, without, without.survivors)
        agree_and_unmask(cheat, agreeing, agreeing.survivors)
    return Played(cheat, prize=frozenset({3}))


@ATTACKS.add(Equivocation, "a second, different Survivors for the same session", cut_memory)
def second_unmasking() -> Played:
    """When the sum is open, the same devices are asked once more, for a sum without device 3."""
    cheat = CheatingServer(PLAN, enrolled(PLAN))
    agreeing = cheat.upload(cheat.share(cheat.join()))
    cheat.unmask(cheat.agree(agreeing))
    without = replace(agreeing, survivors=agreeing.survivors - {3})
    with suppress(Thwarted):
        agree_and_unmask(cheat, without, without.survivors)
    return Played(cheat, prize=frozenset({3}))


def _split() -> tuple[CheatingServer, Agreeing, dict[int, bytes]]:
    """A session in which every honest device has signed the list of `_SPLIT` that it was shown."""
    cheat = CheatingServer(PLAN, enrolled(PLAN))
    agreeing = cheat.upload(cheat.share(cheat.join()))
    answers = cheat.try_all({n: survivors_of(agreeing.session, survivors) for n, survivors in _SPLIT.items()})
    return cheat, agreeing, {n: answer.signature for n, answer in answers.items()}
