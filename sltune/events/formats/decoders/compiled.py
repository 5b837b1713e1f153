"""Compilation by numba, for decoders that have to go from word to word.

Nothing checks an index in compiled code, so each kernel compares its position with the end itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numba


def jit(function: Callable[..., Any]) -> Any:
    """Compile a function to run outside Python's lock; keep its machine code on disk where there is a place for it."""
    compiled = numba.njit(nogil=True)(function)
    try:
        compiled.enable_caching()
    except RuntimeError:
        text = "numba can keep no compiled kernels, so every process compiles them anew; set NUMBA_CACHE_DIR"
        warnings.warn(text, RuntimeWarning, stacklevel=1)
    return compiled
