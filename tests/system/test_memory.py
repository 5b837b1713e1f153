"""Freed memory stays with the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from sltune.system.memory import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
# What is aligned needs a little more than what was freed, until the pieces fit.
for _ in range(10):
    torch.zeros(8 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.zeros(8 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_tensors_of_a_step_take_the_memory_of_the_step_before() -> None:
    """20 times 32 MiB are 163,840 pages of 4 KiB."""
    faults = {
        mode: int(subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, check=True).stdout)
        for mode in ("keep", "default")
    }
    assert faults["default"] > 100_000
    assert faults["keep"] < faults["default"] / 5
