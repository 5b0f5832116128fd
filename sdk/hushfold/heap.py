"""Memory that was let go of, given back to the system.

The C library keeps what a process frees for what it may ask for next. After a night of training that is more than the
keyboard needs all day: 35 MB, of which nothing is used again before the next night.
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys

_M_MMAP_THRESHOLD = -3  # of mallopt(3)
_LARGE = 1 << 20  # bytes


def keep_large_apart() -> bool:
    """Have buffers of a mebibyte and more, as of weights and graphs, go back to the system when they are freed; whether
    that was set.

    At first glibc does so by itself; once one was freed, it keeps others of that size in the heap, where they leave
    holes. It is a setting of the whole process: one that the app has made through the environment stays.
    """
    set_by_app = "MALLOC_MMAP_THRESHOLD_" in os.environ or "mmap_threshold" in os.environ.get("GLIBC_TUNABLES", "")
    mallopt = None if set_by_app or sys.platform != "linux" else getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGE)) if mallopt is not None else False


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
