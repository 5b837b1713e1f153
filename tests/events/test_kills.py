"""An import that is killed at any moment can be done again, and leaves no trace of it."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from sltune.cli.main import main
from tests.events.conftest import TinyFolder, content

pytestmark = pytest.mark.processes

NAMES = tuple(f"user{user:02d}_dc" for user in range(35, 47))


def start_import(source: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "sltune", "import", str(source), "--out", str(out), "-q"])


def finished_files(out: Path) -> int:
    return len(list(out.glob("recordings/*.parquet")))


def finish_import(source: Path, out: Path) -> None:
    """Import in this process, as no start of another one is looked at."""
    assert CliRunner().invoke(main, ["import", str(source), "--out", str(out), "-q"]).exit_code == 0


@pytest.mark.parametrize("kills", [8, pytest.param(40, marks=pytest.mark.slow)])
def test_after_a_kill_at_any_moment_a_second_import_gives_the_same_bytes(
    tiny_folder: TinyFolder, tmp_path: Path, kills: int
) -> None:
    source, undisturbed = tiny_folder(names=NAMES, events=12_000), tmp_path / "undisturbed"
    finish_import(source, undisturbed)
    expected = content(undisturbed)
    assert len(expected) == len(NAMES) + 2
    rng = random.Random(0)
    left_by_kills = []
    for kill in range(kills):
        out = tmp_path / f"killed{kill}"
        process = start_import(source, out)
        # From the start of writing on, since half of the time goes into starting Python.
        wait_until_written(process, out, files=rng.randrange(len(NAMES)))
        time.sleep(rng.uniform(0, 0.03))
        process.kill()
        process.wait()
        left_by_kills.append(finished_files(out))
        finish_import(source, out)
        assert content(out) == expected
    assert len(set(left_by_kills)) > 3, "kills hit different moments"
    assert min(left_by_kills) < len(NAMES)


def wait_until_written(process: subprocess.Popen[bytes], out: Path, files: int) -> None:
    while process.poll() is None and (not out.exists() or finished_files(out) < files):
        time.sleep(0.001)
