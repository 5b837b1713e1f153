"""Calls from Python on a real Ray, in processes of their own; a minute or two each."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api import on_ray
from tests.tuning.clusters import PATIENCE_S, environment

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {**environment(), "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=3 * PATIENCE_S, check=False
    )


def test_calls_follow_each_other_are_stopped_and_gone_on_with_and_leave_nothing_behind(prepared: Path) -> None:
    result = python(prepared, on_ray.__file__)
    assert (result.returncode, result.stdout) == (0, "all of it\n"), result.stderr
    # Without progress nothing is said.
    assert result.stderr == ""


def test_a_ray_that_was_imported_too_early_is_refused(prepared: Path) -> None:
    code = "import ray, sltune; sltune.evaluate('tiny.toml', 'data', run='early', progress=False)"
    result = python(prepared, "-c", code)
    assert "UsageError: Ray was imported before sltune's first call" in result.stderr
    assert not (prepared / "results" / "early").exists()
