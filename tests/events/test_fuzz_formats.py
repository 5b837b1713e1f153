"""Damaged recordings of every format end in events or in an error of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.events.formats.writers import WRITERS

ROOT = Path(__file__).parents[2]


def fuzz(cases: int, seed: int, *suffixes: str) -> None:
    """Run in a process of its own, whose memory is limited and which ends with a trace where a case hangs."""
    command = [sys.executable, "-m", "tests.events.fuzz_formats", str(cases), str(seed), *suffixes]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    for suffix in suffixes or WRITERS:
        assert f"{suffix} {{" in ended.stdout
    assert "'an error': " in ended.stdout
    assert "'events': " in ended.stdout


@pytest.mark.processes
def test_damaged_recordings_end_in_events_or_an_error_of_ours() -> None:
    fuzz(20, 1)


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("suffix", WRITERS)
def test_five_thousand_damaged_recordings_end_in_events_or_an_error_of_ours(suffix: str) -> None:
    fuzz(5000, 2, suffix)
