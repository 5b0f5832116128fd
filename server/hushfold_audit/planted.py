"""Bugs that an audit must find, each planted in this process alone, around the product's own functions.

Nothing in the product knows of them. A bug is in force inside of its `with` block, for all devices and the server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from hushfold_protocol import encoding
from hushfold_protocol.randomness import AesCtrStream, RandomBytes
from hushfold_protocol.secagg import crypto, device
from hushfold_protocol.skellam import sample_skellam

LESS_NOISE = 10  # times
_UNCLIPPED = 1_000  # clip norms: longer than any update of an audit


@contextmanager
def noise_divided_by_ten() -> Iterator[None]:
    """Devices draw noise of a tenth of the standard deviation that they charge for."""

    def too_little(count: int, variance: float, randomness: RandomBytes) -> Any:
        return sample_skellam(count, variance / LESS_NOISE**2, randomness)

    with mock.patch.object(encoding, "sample_skellam", too_little):
        yield


@contextmanager
def no_clip() -> Iterator[None]:
    """Devices send updates as long as they are.

    That takes more than to forget the clipping: the norm is checked again on the rounded integers, and a device would
    send nothing. Both go by the clip norm, so it is raised for both.
    """
    quantise = encoding.quantise

    def unclipped(update: Any, parameters: encoding.EncodingParameters, *others: Any, **named: Any) -> Any:
        return quantise(update, replace(parameters, clip_norm=_UNCLIPPED * parameters.clip_norm), *others, **named)

    with mock.patch.object(encoding, "quantise", unclipped):
        yield


@contextmanager
def mask_reused() -> Iterator[None]:
    """Devices mask every round's vector by the same masks.

    That takes two mistakes, since the masks follow from fresh keys and from the session: each device's generator begins
    anew in every round, as after a restored backup, and masks are derived without their session.
    """
    join, on_roster, self_seed, pair_seed = device.join, device.on_roster, crypto.self_seed, crypto.pair_seed

    def repeated(identity: device.Identity, step: bytes) -> RandomBytes:
        return AesCtrStream(hashlib.sha256(step + identity.certificate.public_key).digest())

    def join_again(plan: Any, identity: device.Identity, _random: RandomBytes) -> Any:
        return join(plan, identity, repeated(identity, b"join"))

    def share_again(state: device.Joined, roster: Any, now: float, least: int, _random: RandomBytes) -> Any:
        return on_roster(state, roster, now, least, repeated(state.identity, b"share"))

    def self_again(secret: bytes, _session: bytes, index: int) -> bytes:
        return self_seed(secret, b"", index)

    def pair_again(private: Any, public: bytes, _session: bytes, one: int, other: int) -> bytes:
        return pair_seed(private, public, b"", one, other)

    with ExitStack() as stack:
        for module, name, instead in (
            (device, "join", join_again),
            (device, "on_roster", share_again),
            (crypto, "self_seed", self_again),
            (crypto, "pair_seed", pair_again),
        ):
            stack.enter_context(mock.patch.object(module, name, instead))
        yield


PLANTED: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "noise divided by ten": noise_divided_by_ten,
    "no clip": no_clip,
    "mask reused": mask_reused,
}
