"""Compilation by numba, for loops that numpy and torch have no operation for.

Nothing checks an index in compiled code.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numba


def jit(function: Callable[..., Any], is_kept: bool = True) -> Any:
    """Compile a function to run outside Python's lock; keep its machine code on disk where there is a place for it."""
    compiled = numba.njit(nogil=True)(function)
    if not is_kept:
        return compiled
    try:
        compiled.enable_caching()
    except RuntimeError:
        # Neither the package's folder nor the user's cache can be written, as in some containers.
        text = "numba can keep no compiled kernels, so every process compiles them anew; set NUMBA_CACHE_DIR"
        warnings.warn(text, RuntimeWarning, stacklevel=1)
    return compiled
