"""Memory that was let go of, given back to the system.

The C library keeps what a process frees for what it may ask for next. After a night of training that is more than the
keyboard needs all day: 35 MB, of which nothing is used again before the next night.
"""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back() -> bool:
    """Return free pages to the system; whether there were any. Takes some milliseconds.

    Does something with glibc alone, whose `malloc_trim(3)` it calls. Other allocators have no such call or, like that
    of Android, need none when memory runs short.
    """
    gc.collect()  # interpreters of LiteRT may be part of cycles
    if sys.platform != "linux":
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return bool(trim(0)) if trim is not None else False
