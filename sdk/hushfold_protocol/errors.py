"""What can go wrong in the protocol, and whose fault it is.

ProtocolError
+-- LocalError            the fault is on this side, and nothing was sent
|   +-- WrongState        an event that the current stage does not take; the state is unchanged
|   +-- EncodingError     parameters, an update or a sum that cannot be encoded or decoded; a ValueError too
|       +-- RoundingFailed  no rounding of an update was short enough
+-- RemoteError           the peer broke the protocol: do not go on with it
    +-- WireError         bytes that are not a well-formed message
    +-- SignatureInvalid  a signature or certificate that does not verify
    +-- PlanRefused       a plan that asks for less protection than this device's policy
    +-- Refused           a message that is well formed but must not be answered
        +-- Equivocation  a second, different message for a step that was answered already
        +-- TooFew        fewer participants than the floor or the threshold

Beside this tree, functions of plain numbers and bytes raise ValueError for arguments outside of their domain: those of
`packing`, `rotation`, `skellam`, `privacy`, `randomness`, `secagg.shamir`, `secagg.session.merkle_root` and
`messages.to_bitmap`. Whoever feeds them what a peer has sent turns that into a RemoteError.
"""

from __future__ import annotations


class ProtocolError(Exception):
    """Root of every error that this package raises on purpose."""


class LocalError(ProtocolError):
    """The fault is on this side: it used the protocol wrongly, or holds what must not be sent."""


class WrongState(LocalError):
    """An event that the current stage does not take. The state is unchanged."""


class EncodingError(LocalError, ValueError):
    """Parameters, an update or a sum that cannot be encoded or decoded."""


class RoundingFailed(EncodingError):
    """Every stochastic rounding exceeded the norm bound. The device sits this round out; nothing was sent."""


class RemoteError(ProtocolError):
    """The peer broke the protocol."""


class WireError(RemoteError):
    """Bytes that are not a well-formed message of the expected type and version."""


class SignatureInvalid(RemoteError):
    """A signature or certificate that does not verify under the key it should."""


class PlanRefused(RemoteError):
    """A plan that asks for less protection than this device's policy demands."""


class Refused(RemoteError):
    """A well-formed message that must not be answered: answering could open an update."""


class Equivocation(Refused):
    """A second, different message for a step that was answered already."""


class TooFew(Refused):
    """Fewer participants than the floor, the threshold or the policy demands."""
