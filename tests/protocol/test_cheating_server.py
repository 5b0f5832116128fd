"""What a server that cheats in a session is told, and that nothing comes of it."""

import list_attacks
import numpy as np
import pytest
import roster_attacks
import sparse_attacks
from adversary import Adversary
from cheating_server import COLLUDER, COUNT, PLAN, CheatingServer, enrolled

ATTACKS = roster_attacks.ATTACKS | list_attacks.ATTACKS | sparse_attacks.ATTACKS
CUTS = {name: attack for name, attack in ATTACKS.items() if attack.cut is not None}


def opened(played):
    """The sums that are open, by the devices in them; every one of them is right.

    Of a hundred devices there are too many sets to try: each alone, and what the attack is after.
    """
    count = len(played.server.devices)
    some = {played.prize, *(frozenset({number}) for number in range(count))} - {frozenset()}
    sums = Adversary(played.server, played.colluders).opens(some if count > COUNT else None)
    for numbers, total in sums.items():
        np.testing.assert_array_equal(total, played.server.expected(numbers))
    return set(sums)


def honest_noise(played):
    """The honest devices that must stand behind a sum at the least."""
    return played.server.plan.cohort.noise_contributors


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_the_device_refuses_and_says_why(attack):
    played = attack.play()
    refusal = played.server.refusal(played.victim)
    assert type(refusal) is attack.error
    assert attack.says in str(refusal)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_what_the_server_has_heard_opens_no_sum_below_the_floor(attack):
    """Not even with the secrets of as many devices as may collude with it."""
    played = attack.play()
    assert all(len(numbers) >= honest_noise(played) for numbers in opened(played))


@pytest.mark.parametrize("attack", CUTS.values(), ids=CUTS)
def test_the_attack_succeeds_where_its_protection_is_missing(attack, monkeypatch):
    """The adversary of the other tests is able to win: what stops it is that protection alone."""
    attack.cut(monkeypatch)
    played = attack.play()
    assert played.server.refusal(played.victim) is None
    assert len(played.prize) < honest_noise(played)
    assert played.prize in opened(played)


def test_an_honest_session_opens_its_sum_and_nothing_else():
    heard = CheatingServer(PLAN, enrolled(PLAN))
    unmasking = heard.agree(heard.upload(heard.share(heard.join()), lost=[0]), lost=[0])
    total = heard.unmask(unmasking, lost=[0])
    np.testing.assert_array_equal(total, heard.expected(range(1, COUNT)))
    everyone = frozenset(range(1, COUNT))
    assert set(Adversary(heard).opens()) == {everyone - {COLLUDER}}
    assert set(Adversary(heard, colluders=()).opens()) == {everyone}


def test_devices_beyond_the_tolerated_number_are_what_nothing_here_protects_from():
    """Where all others are the server's, one device's upload is its own noise away from its update."""
    heard = CheatingServer(PLAN, enrolled(PLAN))
    heard.unmask(heard.agree(heard.upload(heard.share(heard.join()))))
    assert set(Adversary(heard, colluders=range(1, COUNT)).opens()) == {frozenset({0})}
