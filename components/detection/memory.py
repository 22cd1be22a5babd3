"""Keeps the heap of long loops over large temporaries from fragmenting."""

import ctypes
import sys

_M_MMAP_THRESHOLD = -3
_THRESHOLD_BYTES = 1_000_000


def return_large_blocks() -> None:
    """Have glibc give freed blocks of over a megabyte back to the system.

    PatchCore's coreset selection frees two temporaries of tens of megabytes in each of its steps; glibc's
    growing threshold keeps them in a heap that fragments to more than 20 GB at 17,000 patches.
    Other C libraries give them back by themselves.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)
