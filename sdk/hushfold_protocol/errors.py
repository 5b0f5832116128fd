"""What can go wrong in the protocol, and whose fault it is.

ProtocolError
+-- LocalError            this side used the protocol wrongly: a defect in the calling code
|   +-- WrongState        an event that the current stage does not take; the state is unchanged
+-- RemoteError           the peer broke the protocol: do not go on with it
    +-- WireError         bytes that are not a well-formed message
    +-- SignatureInvalid  a signature or certificate that does not verify
    +-- PlanRefused       a plan that asks for less protection than this device's policy
    +-- Refused           a message that is well formed but must not be answered
        +-- Equivocation  a second, different message for a step that was answered already
        +-- TooFew        fewer participants than the floor or the threshold
"""

from __future__ import annotations


class ProtocolError(Exception):
    """Root of every error that this package raises on purpose."""


class LocalError(ProtocolError):
    """This side used the protocol wrongly."""


class WrongState(LocalError):
    """An event that the current stage does not take. The state is unchanged."""


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
