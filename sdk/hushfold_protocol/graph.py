"""Who holds shares of whose secrets, and who masks towards whom.

Up to `COMPLETE` devices everybody holds shares of everybody's secrets. In a larger roster each device chooses k holders
by its own randomness, after it has verified the roster (Bell et al. 2020, section 4: neighbours that nobody else can
choose). How many it takes is what `neighbours` works out; both roles do that for themselves, so nothing of it travels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from .errors import Refused
from .neighbours import quorum, solve
from .randomness import RandomBytes

COMPLETE = 100  # devices: the largest roster for which the sparse graph is not considered


@dataclass(frozen=True, slots=True)
class Graph:
    """The graph of a session of `size` devices. A device masks towards its holders and those whose holder it is."""

    size: int  # n, devices in the roster
    holders: int  # k, devices that hold shares of one device's secrets; n, itself among them, in the complete graph
    threshold: int  # t, shares that open a secret
    strays: int = 0  # honest survivors at most that a cheating server can keep out of the sum

    @property
    def complete(self) -> bool:
        """Whether everybody holds shares of everybody's secrets."""
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


@lru_cache(maxsize=64)
def graph_of(size: int, colluders: int, floor: int) -> Graph:
    """The graph of a roster of `size` devices, `colluders` of which the server may have on its side.

    floor: survivors below which nothing is opened.
    """
    if size > COMPLETE:
        found = solve(size, colluders, floor)
        if found is not None:
            return Graph(size, found.holders, found.threshold, found.strays)
    return Graph(size, size, quorum(size, colluders))


def _below(bound: int, random_bytes: RandomBytes) -> int:
    """A uniform integer from 0 to `bound` - 1; numbers that would favour the small ones are drawn again."""
    fair = (1 << 32) // bound * bound
    while (number := int.from_bytes(random_bytes(4), "big")) >= fair:
        pass
    return number % bound
