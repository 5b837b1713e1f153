"""Damaged files of runs and datasets are read, or end in an error of ours that names the file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.damage import KINDS

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("cases", "seed"), [(60, 1), pytest.param(5000, 2, marks=pytest.mark.slow)], ids=["60", "5000"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_end_in_an_error_that_names_them(kind: str, cases: int, seed: int) -> None:
    """In a process of its own, whose memory is limited and which ends with a trace where a case takes 20 s."""
    command = [sys.executable, "-m", "tests.damage", kind, str(cases), str(seed)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    counts = json.loads(ended.stdout.splitlines()[-1])
    assert counts.keys() == {"read", "an error"}, ended.stdout
    assert sum(counts.values()) == cases
