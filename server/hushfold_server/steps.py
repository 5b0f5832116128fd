"""The steps of a round, as data. Nothing here knows a database or a clock.

    phase      a device sends   counted in   closes into
    open       Join             joined       sharing
    sharing    Shares           sharers      masking
    masking    Masked           survivors    agreeing
    agreeing   Consent                       unmasking
    unmasking  Unmask                        summed

Where a round is within its step is a stage of `hushfold_protocol.secagg.server`: an immutable value. The functions
below do with any stage what its step asks for, so that a caller need not know which one it holds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from hushfold_protocol.errors import Refused
from hushfold_protocol.messages import Consent, Join, Masked, Shares, Unmask
from hushfold_protocol.packing import RunningSum
from hushfold_protocol.secagg.server import Agreeing, Joining, Masking, Sharing, Stage, Unmasking
from hushfold_protocol.secagg.session import Session
from hushfold_protocol.signing import device_id
from hushfold_protocol.wire import Message

from .database import Phase


@dataclass(frozen=True, slots=True)
class Step:
    """What happens in one phase of a round."""

    answer: type[Message]  # what a device sends
    stored: str  # `round_messages.stage` of it
    following: Phase
    counted: str | None = None  # column of `rounds` for how many devices had answered at the end


STEPS: Mapping[Phase, Step] = MappingProxyType(
    {
        Phase.OPEN: Step(Join, "join", Phase.SHARING, "joined"),
        Phase.SHARING: Step(Shares, "shares", Phase.MASKING, "sharers"),
        Phase.MASKING: Step(Masked, "masked", Phase.AGREEING, "survivors"),
        Phase.AGREEING: Step(Consent, "consent", Phase.UNMASKING),
        Phase.UNMASKING: Step(Unmask, "unmask", Phase.SUMMED),
    }
)
"""The steps in their order."""

STEP_OF: Mapping[type[Message], Step] = MappingProxyType({step.answer: step for step in STEPS.values()})


def index_of(stage: Stage, device: bytes) -> int:
    """A device's place in the session. Raises Refused for one that is not in it, and before there is one."""
    try:
        return _session(stage).index_of(device)
    except KeyError:
        raise Refused("this device is not in the session") from None


def public_key_of(stage: Stage, device: bytes) -> bytes:
    """The key that a device of the session signs with. Raises Refused as `index_of` does."""
    return _session(stage).joins[index_of(stage, device)].certificate.public_key


def accept(stage: Stage, device: bytes, message: Message, now: float, total: RunningSum) -> Stage:
    """The stage with a device's message, whose signature is the caller's to check (a join carries its own).

    A masked vector is added to `total`, in place. `now` is unix seconds. Raises Refused for a message of
    another step, and what the stage raises.
    """
    match stage, message:
        case Joining(), Join():
            return stage.accept(message, now)
        case _, Join():
            raise Refused("the session has begun without this device")
        case Sharing(), Shares():
            return stage.accept(index_of(stage, device), message)
        case Masking(), Masked():
            return stage.accept(index_of(stage, device), message, total)
        case Agreeing(), Consent():
            return stage.accept(index_of(stage, device), message)
        case Unmasking(), Unmask():
            return stage.accept(index_of(stage, device), message)
        case _:
            raise Refused("the session is at another step: ask for its next message")


def replay(stage: Stage, step: Step, device: bytes, body: bytes, received_at: float) -> Stage:
    """The stage with a message that it had accepted before, from what was stored of it."""
    if isinstance(stage, Masking):  # the vector is in the stored sum, and nowhere else
        return stage.recall(index_of(stage, device), Masked.decode(body).signature)
    return accept(stage, device, step.answer.decode(body), received_at, np.empty(0, np.uint32))


def stored(message: Message, content: bytes) -> bytes:
    """What is stored of a message whose encoding is `content`: all but a vector, which is in the sum."""
    return replace(message, vector=b"").encode() if isinstance(message, Masked) else content


def answered(stage: Stage) -> Collection[object]:
    """The devices that have done their part: by id while they join, by index from then on."""
    match stage:
        case Joining():
            return stage.joins
        case Sharing():
            return stage.sealed
        case Masking():
            return stage.uploaded
        case Agreeing():
            return stage.signatures
        case Unmasking():
            return stage.answers


def announcement(stage: Stage, index: int) -> Message | None:
    """What the step asks of a device; None if the device missed an earlier one."""
    match stage:
        case Sharing():
            return stage.announcement()
        case Masking() if index in stage.sharers:
            return stage.announcement(index)
        case Agreeing() if index in stage.survivors:
            return stage.announcement()
        case Unmasking() if index in stage.signatures:
            return stage.announcement()
        case _:
            return None


def survivors(stage: Unmasking) -> frozenset[bytes]:
    """The ids of the devices whose updates are in the sum."""
    return frozenset(device_id(stage.session.joins[i].certificate.public_key) for i in stage.survivors)


def _session(stage: Stage) -> Session:
    if isinstance(stage, Joining):
        raise Refused("the session has not begun")
    return stage.session
