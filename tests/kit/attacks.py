"""What one attack of a cheating server is, and what attacks have in common.

The attacks are in three tables by what the server lies about: `roster_attacks` (who is in the session, and has shared),
`list_attacks` (who has survived, and who has consented to that) and `sparse_attacks` (who has shared, and with whom,
where not all do with all). Each is a function that names the refusal that it must meet, and the protection (`cut`)
without which it would succeed: then the sum over `Played.prize`, of fewer honest devices than the plan promises, is
open. Where there is no `cut`, it does not fail by one protection alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import pytest
from cheating_server import COLLUDER, PLAN, CheatingServer, Thwarted

from hushfold_protocol.errors import RemoteError
from hushfold_protocol.messages import Consents, IndexedSignature, Survivors, to_bitmap
from hushfold_protocol.secagg.server import Agreeing
from hushfold_protocol.secagg.session import Session, sign_consent

VICTIM = 0
HIGH_FLOOR = replace(PLAN, cohort=replace(PLAN.cohort, floor=5))
"""Four shares open a secret, but five devices must agree: what only the floor forbids."""

Cut = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Played:
    """A session after the attack."""

    server: CheatingServer
    victim: int = VICTIM  # whose refusal it is about
    prize: frozenset[int] = frozenset()  # honest devices whose sum the attack is after
    colluders: frozenset[int] = frozenset({COLLUDER})


@dataclass(frozen=True)
class Attack:
    name: str
    about: str
    play: Callable[[], Played]
    error: type[RemoteError]
    says: str  # in the refusal
    cut: Cut | None


class Attacks(dict[str, Attack]):
    """A table that functions are entered into as they are defined, under their own name."""

    def add(
        self, error: type[RemoteError], says: str, cut: Cut | None = None
    ) -> Callable[[Callable[[], Played]], Callable[[], Played]]:
        def enter(play: Callable[[], Played]) -> Callable[[], Played]:
            name = play.__name__.replace("_", "-")
            self[name] = Attack(name, " ".join((play.__doc__ or "").split()), play, error, says, cut)
            return play

        return enter


def survivors_of(of: Session, members: Iterable[int]) -> Survivors:
    return Survivors(of.id, to_bitmap(members, of.size))


def consents_for(
    cheat: CheatingServer, agreeing: Agreeing, survivors: frozenset[int], signed: dict[int, bytes]
) -> Consents:
    """Signatures of honest devices, the colluder's on whatever list it takes, and the rest from uploads."""
    text = agreeing.session.consent_text(agreeing.sharers, survivors)
    everything = dict(signed)
    if COLLUDER in survivors:
        everything[COLLUDER] = sign_consent(cheat.devices[COLLUDER].identity.key, text)
    uploads = cheat.upload_signatures()
    silent = {number: uploads[number] for number in survivors - everything.keys()}
    return Consents(agreeing.session.id, entries(everything), entries(silent))


def entries(signatures: Mapping[int, bytes]) -> tuple[IndexedSignature, ...]:
    """Signatures by number as they travel."""
    return tuple(IndexedSignature(number, signatures[number]) for number in sorted(signatures))


def agree_and_unmask(cheat: CheatingServer, agreeing: Agreeing, members: Iterable[int]) -> None:
    """Shows `members` the list of survivors, and then each of them all that they have signed."""
    answers = cheat.try_all({number: agreeing.announcement() for number in members})
    if len(answers) < len(frozenset(members)):
        raise Thwarted
    signed = {number: answer.signature for number, answer in answers.items()}
    consents = consents_for(cheat, agreeing, agreeing.survivors, signed)
    cheat.try_all(dict.fromkeys(members, consents))
