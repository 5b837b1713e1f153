"""Damaged recordings and tag files end in samples or in an error of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("cases", "seed"), [(150, 1), pytest.param(20_000, 2, marks=pytest.mark.slow)], ids=["150", "20000"]
)
def test_damaged_folders_end_in_a_dataset_or_an_error_of_ours(cases: int, seed: int) -> None:
    """In a process of its own, whose memory is limited and which ends with a trace where a case takes 20 s."""
    command = [sys.executable, "-m", "tests.events.fuzz", str(cases), str(seed)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "'a dataset': " in ended.stdout
    assert "'an error': " in ended.stdout
