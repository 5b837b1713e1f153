"""Memory of the host: when it is given back, and when Python looks for what is not used any more."""

from __future__ import annotations

import ctypes
import functools
import gc
from collections.abc import Iterator
from contextlib import contextmanager

# These numbers are in glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
MAX_THRESHOLD = 2**31 - 1
"""The largest number that mallopt takes: no amount of freed memory is ever given back."""


@functools.cache
def keep_freed_memory() -> bool:
    """Tell the C library, for the rest of this process, not to give freed memory back; return whether it complies.

    By default, large tensors get fresh pages at every step, and faulting them in takes a fifth of a training step on
    the CPU. The process then keeps as much memory as it needed at its peak. C libraries other than glibc do not comply.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, MAX_THRESHOLD))


@contextmanager
def without_collection() -> Iterator[None]:
    """Keep Python from looking for unused cycles within the block, in which very many objects are made to stay.

    It would look through all of them again and again, as their number grows, and find nothing.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
