"""Freed memory stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

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
