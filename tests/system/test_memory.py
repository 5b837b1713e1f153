"""Freed memory stays with the process, and what is made to stay is not looked through."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys

import pytest

from sltune.system.memory import without_collection

FAULTS = """
import resource
import torch
from sltune.system.memory import keep_freed_memory

def faults():
    # What is aligned needs a little more than what was freed, until the pieces fit.
    for _ in range(10):
        torch.zeros(8 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.zeros(8 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults())
assert keep_freed_memory()
print(faults())
"""


@pytest.mark.processes
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_tensors_of_a_step_take_the_memory_of_the_step_before() -> None:
    """20 times 32 MiB are 163,840 pages of 4 KiB."""
    ended = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    default, kept = map(int, ended.stdout.split())
    assert default > 100_000
    assert kept < default / 5


def test_nothing_is_collected_within_the_block_and_again_after_it() -> None:
    with without_collection():
        before = gc.get_stats()
        # Else the youngest generation is looked through after some hundred.
        kept = [[number] for number in range(200_000)]
        assert gc.get_stats() == before
    assert len(kept) == 200_000
    assert gc.isenabled()


def test_where_nothing_was_collected_before_nothing_is_after_the_block() -> None:
    gc.disable()
    try:
        with without_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
