"""Lies about who is in a session, and who has shared their secrets."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from attacks import HIGH_FLOOR, VICTIM, Attacks, Played, agree_and_unmask
from cheating_server import COLLUDER, COUNT, PLAN, CheatingServer, Device, Thwarted, enrolled, make_device, session_of
from cohort import AUTHORITY, AUTHORITY_KEY, NOW, make_identity
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from protections import cut_certificates, cut_key_signatures, cut_minimums_and_consents

from hushfold_protocol import messages
from hushfold_protocol.errors import Refused, SignatureInvalid, TooFew
from hushfold_protocol.messages import Certificate, Roster, to_bitmap
from hushfold_protocol.secagg.device import Identity
from hushfold_protocol.secagg.server import Agreeing, Sharing
from hushfold_protocol.signing import issue_certificate

ATTACKS = Attacks()


# ------------------------------------------------------------------ who is in the session


@ATTACKS.add(SignatureInvalid, "the signature of this join does not verify", cut_key_signatures)
def key_swap() -> Played:
    """The roster names enrolled devices, with keys of the server in place of theirs: it would play all but one."""
    real = enrolled(PLAN)
    key = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\xaa")
    return _surround(
        real[0],
        (Identity(key, device.identity.certificate, AUTHORITY_KEY) for device in real[1:]),
    )


@ATTACKS.add(SignatureInvalid, "the signature of this certificate does not verify", cut_certificates)
def invented_devices() -> Played:
    """All other devices of the roster are the server's own, under certificates that it has made itself."""
    authority = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\xbb")
    made_up = (make_identity(100 + number, authority) for number in range(COUNT - 1))
    return _surround(enrolled(PLAN)[0], (replace(each, authority_key=AUTHORITY_KEY) for each in made_up))


@ATTACKS.add(SignatureInvalid, "is not valid at this time")
def expired_devices() -> Played:
    """All other devices of the roster are stolen ones, whose certificates have ended."""
    stolen = (make_identity(200 + number) for number in range(COUNT - 1))
    return _surround(enrolled(PLAN)[0], (replace(each, certificate=_ended(each.key)) for each in stolen))


@ATTACKS.add(TooFew, "3 devices joined, the floor is 4")
def roster_below_the_floor() -> Played:
    """The server closes joining when two others have come."""
    cheat = CheatingServer(PLAN, enrolled(PLAN, 3))
    with suppress(Thwarted):
        cheat.tell(VICTIM, cheat.roster)
    return Played(cheat, colluders=frozenset({2}))


@ATTACKS.add(TooFew, "4 devices joined, this device demands 5")
def roster_below_the_devices_own_minimum() -> Played:
    """The plan would be content with a roster of four, but the device was told by its owner to demand five."""
    devices = [make_device(PLAN, make_identity(n), f"device {n} of a picky owner", min_cohort=5) for n in range(1, 5)]
    cheat = CheatingServer(PLAN, devices)
    with suppress(Thwarted):
        cheat.tell(VICTIM, cheat.roster)
    return Played(cheat, colluders=frozenset({3}))


@ATTACKS.add(Refused, "the shares were not encrypted by their sender for this session and device")
def split_view_of_the_roster() -> Played:
    """Device 0 is hidden from devices 3 and 4, and what the others have shared with them is passed on all the same."""
    cheat = CheatingServer(PLAN, enrolled(PLAN))
    sharing = cheat.join()
    partial = Sharing(session_of(PLAN, Roster(cheat.roster.joins[1:])))
    for number in (0, 1, 2, COLLUDER):
        sharing = sharing.accept(number, cheat.tell(number, sharing.announcement()))
    for number in (3, 4):
        partial = partial.accept(number - 1, cheat.tell(number, partial.announcement()))
    whole = sharing.close().announcement(3)
    mixed = to_bitmap((0, 1, 2, 4), COUNT - 1)  # devices 1, 2, 3 and 5, by their places in the smaller roster
    senders = to_bitmap((0, 1, 4), COUNT - 1)
    forged = messages.Delivery(partial.session.id, mixed, senders, whole.sealed[1:])
    with suppress(Thwarted):
        cheat.tell(3, forged)
    return Played(cheat, victim=3)


@ATTACKS.add(SignatureInvalid, "this join was made for another plan")
def plan_changed_between_devices() -> Played:
    """Half of the devices were given a plan with a tenth of the noise, and are put into one roster with the others."""
    quiet = replace(PLAN, update=replace(PLAN.update, local_stddev=PLAN.update.local_stddev / 10))
    named = "device with another plan"
    others = [make_device(quiet, make_identity(number + 1), f"{named} {number}") for number in range(3, COUNT)]
    cheat = CheatingServer(PLAN, [*enrolled(PLAN)[:3], *others])
    victim = next(n for n, each in enumerate(cheat.devices) if each not in others)
    with suppress(Thwarted):
        cheat.tell(victim, cheat.roster)
    return Played(cheat, victim=victim)


@ATTACKS.add(Refused, "the roster does not hold this device's own keys")
def replayed_roster() -> Played:
    """The roster of an earlier session under the same plan, in which the device had other keys."""
    earlier, cheat = CheatingServer(PLAN, enrolled(PLAN, name="session 0")), CheatingServer(PLAN, enrolled(PLAN))
    with suppress(Thwarted):
        cheat.tell(VICTIM, earlier.roster)
    return Played(cheat)


# ------------------------------------------------------------------ who has shared


@ATTACKS.add(Refused, "a message of another session")
def replayed_delivery() -> Played:
    """The delivery of an earlier session."""
    earlier, cheat = CheatingServer(PLAN, enrolled(PLAN, name="session 0")), CheatingServer(PLAN, enrolled(PLAN))
    old = earlier.share(earlier.join()).announcement(VICTIM)
    cheat.share(cheat.join())
    with suppress(Thwarted):
        cheat.tell(VICTIM, old)
    return Played(cheat)


@ATTACKS.add(Refused, "the shares were not encrypted by their sender for this session and device")
def mixed_sessions() -> Played:
    """Shares of an earlier session in a delivery that names this one."""
    earlier, cheat = CheatingServer(PLAN, enrolled(PLAN, name="session 0")), CheatingServer(PLAN, enrolled(PLAN))
    old = earlier.share(earlier.join()).announcement(VICTIM)
    present = cheat.share(cheat.join())
    with suppress(Thwarted):
        cheat.tell(VICTIM, replace(old, session=present.session.id))
    return Played(cheat)


@ATTACKS.add(Refused, "the shares were not encrypted by their sender for this session and device")
def swapped_senders() -> Played:
    """The shares of two devices change places, so that each would be kept as the other's."""
    cheat = CheatingServer(PLAN, enrolled(PLAN))
    honest = cheat.share(cheat.join()).announcement(VICTIM)
    first, second, *rest = honest.sealed
    with suppress(Thwarted):
        cheat.tell(VICTIM, replace(honest, sealed=(second, first, *rest)))
    return Played(cheat)


@ATTACKS.add(Refused, "this device shared its secrets, but the server says that it did not")
def sharers_without_the_device() -> Played:
    """The victim is told that all the others have shared: it would upload what the others mask nothing towards."""
    cheat = CheatingServer(PLAN, enrolled(PLAN))
    masking = cheat.share(cheat.join())
    others = replace(masking, sealed={sender: masking.sealed[sender] for sender in masking.sealed if sender != VICTIM})
    with suppress(Thwarted):
        cheat.tell(VICTIM, others.announcement(VICTIM))
    return Played(cheat)


@ATTACKS.add(TooFew, "4 devices shared, 5 are needed", cut_minimums_and_consents)
def sharers_below_the_floor() -> Played:
    """Four devices are told that only they have shared: they would mask among themselves."""
    few = frozenset({0, 1, 2, COLLUDER})
    cheat = CheatingServer(HIGH_FLOOR, enrolled(HIGH_FLOOR))
    masking = cheat.share(cheat.join())
    partial = replace(masking, sealed={sender: masking.sealed[sender] for sender in few})
    cheat.try_all({number: partial.announcement(number) for number in few})
    agreeing = Agreeing(masking.session, few, few, cheat.upload_signatures(), masking.holders)
    with suppress(Thwarted):
        agree_and_unmask(cheat, agreeing, few)
    return Played(cheat, prize=few - {COLLUDER})


@ATTACKS.add(Refused, "consented to other lists than this device was shown")
def split_view_of_the_sharers() -> Played:
    """Device 3 is hidden from the victim alone, which then masks towards fewer devices than the others believe."""
    cheat, agreeing = _hidden_from_the_victim()
    agree_and_unmask(cheat, agreeing, agreeing.survivors - {COLLUDER})
    return Played(cheat)


@ATTACKS.add(Refused, "has not signed the sharers that this device was shown")
def split_view_of_the_sharers_kept_quiet() -> Played:
    """The same, and the consent of the victim, which would give it away, is kept from the others."""
    cheat, agreeing = _hidden_from_the_victim()
    agree_and_unmask(cheat, agreeing, agreeing.survivors - {COLLUDER, VICTIM})
    return Played(cheat, victim=1)


def _hidden_from_the_victim() -> tuple[CheatingServer, Agreeing]:
    cheat = CheatingServer(PLAN, enrolled(PLAN))
    masking = cheat.share(cheat.join())
    partial = replace(masking, sealed={sender: masking.sealed[sender] for sender in masking.sealed if sender != 3})
    views = {number: masking.announcement(number) for number in range(COUNT)} | {VICTIM: partial.announcement(VICTIM)}
    cheat.try_all(views)
    survivors = masking.sharers - {3}
    agreeing = Agreeing(masking.session, masking.sharers, survivors, cheat.upload_signatures(), masking.holders)
    return cheat, agreeing


def _surround(victim: Device, impostors: Iterable[Identity]) -> Played:
    """A session of one real device, in which the server plays the others by the rules."""
    played = [make_device(PLAN, identity, f"impostor {number}") for number, identity in enumerate(impostors)]
    cheat = CheatingServer(PLAN, [victim, *played])
    number = cheat.devices.index(victim)
    with suppress(Thwarted):
        masking = cheat.share(Sharing(session_of(PLAN, cheat.roster)), first=number)
        cheat.unmask(cheat.agree(cheat.upload(masking)))
    return Played(cheat, number, frozenset({number}), frozenset(range(len(cheat.devices))) - {number})


def _ended(key: Ed25519PrivateKey) -> Certificate:
    return issue_certificate(AUTHORITY, key.public_key().public_bytes_raw(), NOW - 7200, NOW - 1)
