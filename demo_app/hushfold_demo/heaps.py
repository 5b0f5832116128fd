"""Memory of many threads that each need much of it once in a while."""

from __future__ import annotations

import ctypes
import sys

_M_ARENA_MAX = -8  # of glibc's malloc.h
_ARENAS = 2


def share_heaps() -> None:
    """Has all threads allocate from few heaps, where the C library is glibc; elsewhere nothing changes.

    glibc gives each thread a heap of its own and keeps what was freed there: every phone that has trained once would
    hold on to some forty megabytes that no other phone can use.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, _ARENAS)
