"""Memory of the host: keep what is freed, since the next training step takes as much again."""

from __future__ import annotations

import ctypes
import functools

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
LARGEST = 2**31 - 1


@functools.cache
def keep_freed_memory() -> bool:
    """Tell the C library, once and for all of this process, not to give freed memory back; say whether it can.

    By default large tensors get fresh pages at every step, and faulting them in takes a fifth of a training step on
    the CPU. The process keeps as much as it needed at its peak. Other C libraries than glibc stay as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, LARGEST))
