"""The server, and devices that are measured, each in a process of its own: their times and memory are theirs alone.

They are the roles of `hushfold_protocol.secagg` as they are, with messages as bytes on both sides. What stands between
them in earnest is left out: HTTP, the signatures around messages, and the server's database.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any
from unittest.mock import patch

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from hushfold_protocol.encoding import encode
from hushfold_protocol.messages import Consent, Consents, Delivery, Join, Masked, Roster, Shares, Survivors, Unmask
from hushfold_protocol.packing import EncodedVector, RunningSum, running_sum
from hushfold_protocol.secagg import crypto, server
from hushfold_protocol.secagg.device import DeviceSession
from hushfold_protocol.wire import Message, decode_any

from .errors import BenchError
from .setting import NOW, Setting
from .timing import Seconds, Stopwatch, peak_memory

STEPS = ("join", "share", "upload", "agree", "unmask")

_STEP_OF: dict[type[server.Stage | server.Opened], str] = {
    server.Joining: "join",
    server.Sharing: "share",
    server.Masking: "upload",
    server.Agreeing: "agree",
    server.Unmasking: "unmask",
}
_ANSWERS: dict[type[Message], str] = {Roster: "share", Delivery: "upload", Survivors: "agree", Consents: "unmask"}


@dataclass(frozen=True, slots=True)
class Costs:
    """What one role took."""

    times: dict[str, Seconds]  # by step; a device's encoding of its update by itself, as "encode"
    memory: int  # bytes beyond what the process had before: Python, the libraries, and a device's update
    masks: int  # that were put on or taken off


class _MaskCounter:
    """Counts the masks that this process applies from now on."""

    def __init__(self) -> None:
        self.count = 0
        self._apply = crypto.apply_masks
        patch.object(crypto, "apply_masks", self._counting).start()

    def _counting(self, vector: RunningSum, masks: Iterable[tuple[bytes, int]], bits: int) -> None:
        self._apply(vector, (self._one_more(mask) for mask in masks), bits)

    def _one_more(self, mask: tuple[bytes, int]) -> tuple[bytes, int]:
        self.count += 1
        return mask


class Server:
    """The server's role: the running sum, one stage after the other."""

    def __init__(self, setting: Setting) -> None:
        plan = setting.plan()
        self._masks = _MaskCounter()
        self._memory = peak_memory()
        self._watch = Stopwatch()
        self._stage: server.Stage | server.Opened = server.Joining(plan, setting.authority_key)
        self._total = running_sum(plan.update.encoding().dimension, plan.update.bits)

    def accept(self, sender: int, body: bytes) -> None:
        """One device's message; `sender` is its place in the roster, and no matter for a join."""
        with self._watch.time(_STEP_OF[type(self._stage)]):
            match self._stage:
                case server.Joining() as stage:
                    self._stage = stage.accept(Join.decode(body), NOW)
                case server.Sharing() as stage:
                    self._stage = stage.accept(sender, Shares.decode(body))
                case server.Masking() as stage:
                    self._stage = stage.accept(sender, Masked.decode(body), self._total)
                case server.Agreeing() as stage:
                    self._stage = stage.accept(sender, Consent.decode(body))
                case server.Unmasking() as stage:
                    self._stage = stage.accept(sender, Unmask.decode(body))

    def announcement(self, receiver: int) -> bytes:
        """What the stage tells one device: encoded anew for each, as the device API does."""
        with self._watch.time(_STEP_OF[type(self._stage)]):
            match self._stage:
                case server.Masking() as stage:
                    return stage.announcement(receiver).encode()
                case server.Sharing() | server.Agreeing() | server.Unmasking() as stage:
                    return stage.announcement().encode()
        raise BenchError("the server has nothing to say before the roster is there and after the sum is")

    def close(self) -> None:
        """On to the next stage; the last one takes the masks off the sum."""
        with self._watch.time(_STEP_OF[type(self._stage)]):
            match self._stage:
                case server.Unmasking() as stage:
                    self._stage = stage.close()
                    self._total = self._stage.unmask(self._total)
                case server.Joining() | server.Sharing() | server.Masking() | server.Agreeing() as stage:
                    self._stage = stage.close()

    def costs(self) -> Costs:
        return Costs(dict(self._watch.times), peak_memory() - self._memory, self._masks.count)

    def sum(self) -> EncodedVector:
        return self._total.astype(np.uint32, copy=False)


class Device:
    """A device's role: it encodes its update when its vector is asked for."""

    def __init__(self, setting: Setting, number: int) -> None:
        plan, identity, update = setting.plan(), setting.identity(number), setting.update(number)
        noise = setting.noise(number)
        X25519PrivateKey.generate()  # the library loads its parts at the first use, which is no cost of a round
        self._masks = _MaskCounter()
        self._memory = peak_memory()
        self._watch = Stopwatch()

        def vector() -> EncodedVector:
            with self._watch.time("encode"):
                return encode(update, plan.update.encoding(), noise)

        with self._watch.time("join"):
            self._session = DeviceSession(
                plan,
                identity,
                vector,
                min_cohort=2,
                clock=lambda: NOW,
                random_bytes=setting.random_bytes(number),
            )
            self._join = self._session.join.encode()

    def join(self) -> bytes:
        return self._join

    def receive(self, body: bytes) -> bytes:
        """The answer to a server's message."""
        cpu = Stopwatch()
        with cpu.time(""):
            message = decode_any(body, *_ANSWERS)
            answer = self._session.receive(message).encode()
        self._watch.times[_ANSWERS[type(message)]] += cpu.times[""]
        return answer

    def costs(self) -> Costs:
        times = dict(self._watch.times)
        encoding, upload = times["encode"], times["upload"]
        times["upload"] = Seconds(upload.cpu - encoding.cpu, upload.wall - encoding.wall)
        return Costs(times, peak_memory() - self._memory, self._masks.count)


class Child(AbstractContextManager["Child"]):
    """An object in a process of its own: `ask("name", ...)` calls its method of that name."""

    def __init__(self, make: Callable[..., object], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, make, arguments), daemon=True)
        self._process.start()
        other.close()
        self._receive()

    def ask(self, name: str, *arguments: object) -> Any:
        """Raises BenchError if the method raises, or if the process has ended."""
        self._pipe.send((name, arguments))
        return self._receive()

    def _receive(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise BenchError("a process that was measured ended before its time", "Is there enough memory?") from None
        if isinstance(answer, BenchError):
            raise answer
        return answer

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join()


def _serve(pipe: Connection, make: Callable[..., object], arguments: tuple[object, ...]) -> None:
    """Answers until the other side is gone; what a method raises is an answer, too."""
    answer: object = None
    try:
        served = make(*arguments)
    except Exception as error:
        answer = _told(make, error)
    while True:
        try:
            pipe.send(answer)
            name, given = pipe.recv()
        except (EOFError, ConnectionError):
            return
        try:
            answer = getattr(served, name)(*given)
        except Exception as error:
            answer = _told(make, error)


def _told(make: Callable[..., object], error: Exception) -> BenchError:
    if isinstance(error, BenchError):
        return error
    return BenchError(f"{make.__name__} failed with {type(error).__name__}: {error}")
