"""Sharing of work among threads: torch's own, and where these cannot be had, others."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sltune.snn.cpu import threads as threads_cpu
from sltune.snn.cpu.threads import share


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


@pytest.mark.parametrize("error", [ValueError, IndexError, KeyboardInterrupt])
def test_what_a_thread_raises_is_raised(error: type[BaseException], threads: str) -> None:
    torch.set_num_threads(2)

    def kernel(first: int, last: int) -> None:
        if first <= 5 < last:
            raise error("in a piece")

    with pytest.raises(error, match="in a piece"):
        share(kernel, 16)
    share(lambda first, last: None, 16)


def test_an_interruption_is_raised_before_the_errors_of_other_threads(threads: str) -> None:
    torch.set_num_threads(2)
    meeting = threading.Barrier(2)

    def kernel(first: int, last: int) -> None:
        if first == last:
            return
        is_main = meeting.wait(timeout=30) == 0
        raise KeyboardInterrupt if is_main else ValueError("another thread")

    with pytest.raises(KeyboardInterrupt):
        share(kernel, 8)


INTERRUPTED = """
import random, signal, time
import torch
from sltune.snn.cpu.threads import share
torch.set_num_threads(2)
signal.signal(signal.SIGALRM, signal.default_int_handler)
caught = lost = undone = 0
while caught < 200 and not lost and not undone:
    done = []
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 3e-4))
        share(lambda first, last: done.append(last - first), 8)
        undone += sum(done) != 8
        # The signal comes here at the latest, if it did not come before.
        time.sleep(0.05)
        lost += 1
    except KeyboardInterrupt:
        caught += 1
print(caught, lost, undone)
"""


@pytest.mark.processes
def test_no_signal_is_lost_and_leaves_work_undone() -> None:
    """Python hands signals out between any two steps, the entry of a thread's function included."""
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=True)
    assert ended.stdout == "200 0 0\n"
