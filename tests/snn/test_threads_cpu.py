"""Sharing of work among threads: torch's own, and where these cannot be had, others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sltune.snn import threads_cpu
from sltune.snn.threads_cpu import share


@pytest.fixture(params=["torch's threads", "own threads"])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "own threads":
        monkeypatch.setattr(threads_cpu, "_openmp", lambda: None)
    elif threads_cpu._openmp() is None:
        pytest.skip("torch brings no GNU OpenMP here")
    before = torch.get_num_threads()
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("blocks", [0, 1, 2, 7, 100])
def test_every_block_is_worked_on_once(blocks: int, count: int, threads: str) -> None:
    torch.set_num_threads(count)
    done = np.zeros(blocks, np.int64)

    def kernel(first: int, last: int, target: NDArray[Any]) -> None:
        target[first:last] += 1

    share(kernel, blocks, done)
    assert done.tolist() == [1] * blocks


def test_so_many_threads_work_at_once_as_torch_uses(threads: str) -> None:
    torch.set_num_threads(3)
    meeting = threading.Barrier(3)

    def kernel(first: int, last: int) -> None:
        # Passed only when three threads are here; blocks are 12 pieces, so that each thread comes four times.
        if first < last:
            meeting.wait(timeout=30)

    share(kernel, 12)


@pytest.mark.parametrize("error", [ValueError, MemoryError, KeyboardInterrupt])
def test_what_a_thread_raises_is_raised(error: type[BaseException], threads: str) -> None:
    torch.set_num_threads(2)

    def kernel(first: int, last: int) -> None:
        if first <= 5 < last:
            raise error("in a piece")

    with pytest.raises(error, match="in a piece"):
        share(kernel, 16)
    share(lambda first, last: None, 16)
