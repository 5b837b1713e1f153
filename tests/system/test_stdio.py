"""Commands whose standard streams break while they work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sltune.runs.folder import RunFolder
from tests.small import quick

SLTUNE = [sys.executable, "-m", "sltune"]
SCRIPT = """
import logging, sys, warnings
from rich.console import Console
from rich.live import Live
from sltune.system.stdio import drop_errors
drop_errors("stderr")
drop_errors("stdout", BrokenPipeError)
console = Console(stderr=True)
for _ in range(3):
    console.print("line")
    warnings.warn(str(_))
    logging.warning("logged")
    print("said", file=sys.stderr)
    print("table", flush=True)
with Live("board", console=console, refresh_per_second=50):
    pass
sys.exit(4)
"""


def broken_pipe() -> int:
    """Return the end of a pipe of which nobody holds the other one."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("device", ["pipe", "/dev/full"])
def test_whatever_is_said_to_a_broken_stderr_a_command_ends_as_it_would(device: str) -> None:
    broken = broken_pipe() if device == "pipe" else os.open(device, os.O_WRONLY)
    stdout = broken if device == "pipe" else subprocess.DEVNULL
    process = subprocess.run([sys.executable, "-c", SCRIPT], stderr=broken, stdout=stdout, check=False)
    os.close(broken)
    assert process.returncode == 4


def test_a_full_disk_behind_stdout_is_still_an_error() -> None:
    with open("/dev/full", "w") as full:
        process = subprocess.run([sys.executable, "-c", SCRIPT], stderr=subprocess.DEVNULL, stdout=full, check=False)
    assert process.returncode not in (0, 4)


@pytest.mark.processes
def test_a_verb_that_reports_to_a_broken_pipe_does_its_work(tmp_path: Path) -> None:
    broken = broken_pipe()
    command = [*SLTUNE, "synth", str(tmp_path / "out"), "--recordings", "2"]
    process = subprocess.run(command, stderr=broken, check=False)
    os.close(broken)
    assert process.returncode == 0
    assert len(list((tmp_path / "out").rglob("*.aedat"))) == 2


@pytest.mark.processes
@pytest.mark.slow
def test_a_training_of_which_nobody_reads_the_progress_goes_on_to_its_end(dataset: Path, tmp_path: Path) -> None:
    """As `sltune evaluate … 2>&1 | head -1`."""
    import tomlkit

    (tmp_path / "space.toml").write_text(tomlkit.dumps(quick(evaluation__folds=2).model_dump(mode="json")))
    broken = broken_pipe()
    command = [*SLTUNE, "evaluate", tmp_path / "space.toml", "--data", dataset, "--results", tmp_path, "--run", "run"]
    process = subprocess.run([*map(str, command), "--device", "cpu"], stderr=broken, stdout=broken, check=False)
    os.close(broken)
    assert process.returncode == 0
    assert [record.status for record in RunFolder(tmp_path / "run").records()] == ["done"] * 2
    assert (tmp_path / "run" / "report").exists()
