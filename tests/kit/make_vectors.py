"""Test vectors for a device in any language: `python tests/kit/make_vectors.py` writes tests/protocol/vectors/.

One file for each attack of a cheating server, named after it; `honest-session.json` with all that is said in a whole
session, `honest-sparse-session.json` with what some devices hear and say in one of many, and `honest-plan.json` with a
plan that is agreed to; `neighbours.json` and `encoding.json` with what devices compute for themselves and must compute
alike. docs/protocol.md says how a device is tried with them. Everything is deterministic, so the files change only with
the protocol. Bytes are hexadecimal; messages are encoded as `hushfold_protocol.wire` says.

A device that is invited starts from its `policy` and the `plan_key` that it trusts, one that looks for releases from
the `root` of its app. A device of a session starts from

    identity_key  its Ed25519 private key; `certificate` and `authority_key` belong to it
    plan          the round that it joins, at the time `now` (unix seconds, all along)
    min_cohort    devices that it demands in a roster
    stream_key    all of its random bytes are the AES-256-CTR key stream of this key, counter from zero, in this order:
                  32 for the sharing key, 32 for the masking key, 32 for the seed; at the roster, 4 for each draw of a
                  holder in a sparse graph (`Graph.choose`), then 40 for each random coefficient of the polynomial that
                  shares the seed, the highest degree first, then the same for the masking key
    vector        its encoded update, packed to the plan's bits

and sends `join` first. Then it is told one message after the other, and answers `answer` or refuses: `error` is the
class in `hushfold_protocol.errors`, `says` a part of what it tells its user. After a refusal its state is as before.
What all devices of an honest session are told is there once, and stands elsewhere by its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import list_attacks
import number_vectors
import plan_attacks
import release_attacks
import roster_attacks
import sparse_attacks
from attacks import Attack
from cheating_server import COUNT, PLAN, CheatingServer, Device, Exchange, enrolled
from cohort import NOW

from hushfold_protocol.messages import Delivery
from hushfold_protocol.packing import pack
from hushfold_protocol.wire import Message

FOLDER = Path(__file__).parent.parent / "protocol" / "vectors"
ATTACKS = roster_attacks.ATTACKS | list_attacks.ATTACKS | sparse_attacks.ATTACKS
SPARSE = "honest-sparse-session"
LOST = COUNT - 2  # of the honest session: a device that has shared, and does not upload


def of_attack(attack: Attack) -> dict[str, Any]:
    """What the victim of an attack is told, up to its refusal."""
    played = attack.play()
    exchanges = played.server.of(played.victim)
    until = next(place for place, each in enumerate(exchanges) if each.refusal is not None)
    sparse = attack.name in sparse_attacks.ATTACKS  # their roster is long, and that of the honest session
    return {
        "name": attack.name,
        "about": attack.about,
        **({"told_to_all_in": SPARSE} if sparse else {}),
        "device": _device(played.server, played.server.devices[played.victim]),
        "exchanges": _exchanges(exchanges[:until], [played.server.roster] if sparse else []),
        "refused": {
            "told": _kind_and_bytes(exchanges[until].told),
            "error": attack.error.__name__,
            "says": attack.says,
        },
    }


def of_an_honest_session() -> dict[str, Any]:
    """Everything that everybody says, and the sum."""
    heard = CheatingServer(PLAN, enrolled(PLAN))
    unmasking = heard.agree(heard.upload(heard.share(heard.join()), [LOST]), [LOST])
    total = heard.unmask(unmasking, [LOST])
    return {
        "name": "honest-session",
        "about": f"{COUNT} devices share their secrets, and one of them is lost before it uploads.",
        **_told_to_all_and_each(heard, range(COUNT)),
        "sum": pack(total, PLAN.update.bits).hex(),
    }


def of_an_honest_sparse_session() -> dict[str, Any]:
    """Everything that three of the devices say: two in the sum, and one that is lost."""
    first, lost, last = 0, 1, sparse_attacks.COUNT - 1
    with sparse_attacks.shared() as (heard, masking):
        unmasking = heard.agree(heard.upload(masking, [lost]), [lost])
        for number in (first, last):
            heard.tell(number, unmasking.announcement())
    return {
        "name": SPARSE,
        "about": f"{sparse_attacks.COUNT} devices, each of which has {masking.session.graph.holders} holders of its "
        "own choice; one is lost before it uploads. What three of them hear and say.",
        **_told_to_all_and_each(heard, (first, lost, last)),
    }


def _told_to_all_and_each(heard: CheatingServer, numbers: Iterable[int]) -> dict[str, Any]:
    to_all = [each.told for each in heard.of(0) if not isinstance(each.told, Delivery)]
    return {
        "told_to_all": {kind: encoded for told in to_all for kind, encoded in _kind_and_bytes(told).items()},
        "devices": [
            {**_device(heard, heard.devices[number]), "exchanges": _exchanges(heard.of(number), to_all)}
            for number in numbers
        ],
    }


def _device(server: CheatingServer, device: Device) -> dict[str, Any]:
    return {
        "plan": server.plan.encode().hex(),
        "now": NOW,
        "min_cohort": device.min_cohort,
        "identity_key": device.identity.key.private_bytes_raw().hex(),
        "certificate": device.identity.certificate.encode().hex(),
        "authority_key": device.identity.authority_key.hex(),
        "stream_key": device.stream_key.hex(),
        "vector": pack(device.vector, server.plan.update.bits).hex(),
        "join": device.session.join.encode().hex(),
    }


def _exchanges(exchanges: Iterable[Exchange], to_all: Iterable[Message] = ()) -> list[dict[str, Any]]:
    return [
        {
            "told": type(each.told).__name__ if each.told in to_all else _kind_and_bytes(each.told),
            "answer": _kind_and_bytes(each.answer),
        }
        for each in exchanges
        if each.answer is not None
    ]


def _kind_and_bytes(message: Message) -> dict[str, str]:
    return {type(message).__name__: message.encode().hex()}


def vectors() -> dict[str, str]:
    """The content of every file, by its name."""
    made = [
        of_an_honest_session(),
        of_an_honest_sparse_session(),
        number_vectors.of_encoding(),
        number_vectors.of_neighbours(),
        *plan_attacks.as_vectors(),
        *release_attacks.as_vectors(),
        *map(of_attack, ATTACKS.values()),
    ]
    return {f"{each['name']}.json": json.dumps(each, indent=1) + "\n" for each in made}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    files = vectors()
    for stale in FOLDER.glob("*.json"):
        if stale.name not in files:
            stale.unlink()
    for name, content in files.items():
        (FOLDER / name).write_text(content)
    size = sum(map(len, files.values()))
    print(f"{len(files)} files, {size / 1e3:.0f} kB, in {FOLDER}")


if __name__ == "__main__":
    main()
