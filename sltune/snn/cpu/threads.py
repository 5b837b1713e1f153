"""Sharing the work of a compiled kernel among threads."""

from __future__ import annotations

import ctypes
import functools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sltune.snn.cpu.kernels.switches import is_on

PIECES_PER_THREAD = 4
"""More than one, so that threads finish together although samples differ in their number of events."""


def share(kernel: Callable[..., None], blocks: int, *arguments: Any) -> None:
    """Call kernel(first, last, *arguments) for pieces of all blocks, on as many threads as torch uses.

    The kernel must be compiled to run outside Python's lock.
    """
    threads = min(torch.get_num_threads(), blocks)
    if threads <= 1:
        kernel(0, blocks, *arguments)
        return
    # If the kernel must be compiled, this does it here: the stacks of other threads may be too small for a compiler.
    kernel(0, 0, *arguments)
    bounds = np.linspace(0, blocks, min(blocks, PIECES_PER_THREAD * threads) + 1).astype(int).tolist()
    pieces = deque(pairwise(bounds))
    failures: list[BaseException] = []

    def work() -> None:
        try:
            while (piece := _next(pieces)) is not None:
                kernel(*piece, *arguments)
        except BaseException as error:
            failures.append(error)

    _run_on(threads, work)
    # An interruption is raised before errors, which may be its consequences.
    for failure in sorted(failures, key=lambda error: isinstance(error, Exception)):
        raise failure


def _next(pieces: deque[tuple[int, int]]) -> tuple[int, int] | None:
    try:
        return pieces.popleft()
    except IndexError:
        return None


def _run_on(threads: int, work: Callable[[], None]) -> None:
    """Call work, which raises nothing, on each of some threads, and wait.

    Torch's own threads are used where they can be reached: after each of torch's operations they wait at full speed for
    some milliseconds for the next one, and other threads would have to share the processors with them.

    Raises:
        KeyboardInterrupt: a signal came.
    """
    openmp = _openmp() if is_on("threads") else None
    if openmp is None:
        for future in [_pool(torch.get_num_threads()).submit(work) for _ in range(threads)]:
            future.result()
        return
    parallel, callback = openmp
    returned: dict[int, bool] = {}

    def call(_: Any) -> None:
        thread = threading.get_ident()
        work()
        # Not a call, since after one Python would look for signals again.
        returned[thread] = True

    parallel(callback(call), None, threads, 0)
    # This thread is one of them. What a signal raises outside of work, ctypes prints but does not raise.
    if threading.get_ident() not in returned:
        raise KeyboardInterrupt


@functools.cache
def _openmp() -> tuple[Any, Any] | None:
    """Return the entry to parallel regions of the GNU OpenMP that torch ships, and the type of its callback.

    None where torch ships another library, or none.
    """
    packages = Path(torch.__file__).parent
    for path in [*packages.glob("lib/libgomp*.so*"), *packages.parent.glob("torch.libs/libgomp*.so*")]:
        callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        try:
            parallel = ctypes.CDLL(str(path)).GOMP_parallel
        except (OSError, AttributeError):
            continue
        parallel.argtypes = [callback, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        parallel.restype = None
        return parallel, callback
    return None


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="lif")
