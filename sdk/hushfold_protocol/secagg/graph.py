"""Who holds shares of whose secrets, and who masks towards whom."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Refused
from ..randomness import RandomBytes


@dataclass(frozen=True, slots=True)
class Graph:
    """The graph of a session of `size` devices. A device masks towards its holders and those whose holder it is."""

    size: int  # n, devices in the roster
    holders: int  # k, devices that hold shares of one device's secrets; n in the complete graph
    threshold: int  # t, shares that open a secret

    @property
    def complete(self) -> bool:
        """Whether everybody holds shares of everybody's secrets, of its own too."""
        return self.holders == self.size

    def choose(self, index: int, random_bytes: RandomBytes) -> frozenset[int]:
        """The holders of the secrets of device `index`: k others, every set of them equally likely."""
        if self.complete:
            return frozenset(range(self.size))
        others = [other for other in range(self.size) if other != index]
        for place in range(self.holders):
            pick = place + _below(len(others) - place, random_bytes)
            others[place], others[pick] = others[pick], others[place]
        return frozenset(others[: self.holders])

    def require_holders(self, index: int, receivers: frozenset[int]) -> None:
        """Raises Refused unless these can be all the other devices that `index` has chosen."""
        others = self.holders - self.complete
        if index in receivers or len(receivers) != others:
            raise Refused(f"shares for {len(receivers)} devices, they are for {others} others")


def _below(bound: int, random_bytes: RandomBytes) -> int:
    """A uniform integer from 0 to `bound` - 1; numbers that would favour the small ones are drawn again."""
    fair = (1 << 32) // bound * bound
    while (number := int.from_bytes(random_bytes(4), "big")) >= fair:
        pass
    return number % bound
