"""A machine on which Ray is not installed can be examined, too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tuning.clusters import environment
from tests.tuning.doctor.broken import python_path

NO_RAY = """
import importlib.metadata, sys

sys.modules["ray"] = None
version = importlib.metadata.version

def version_without_ray(name):
    if name == "ray":
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)

importlib.metadata.version = version_without_ray
"""


@pytest.mark.processes
def test_a_machine_without_ray_is_examined_and_ray_is_named(tmp_path: Path) -> None:
    variables = {**environment(), "PYTHONPATH": python_path(tmp_path / "startup", NO_RAY)}
    command = [sys.executable, "-m", "sltune", "doctor", "--results", os.fspath(tmp_path)]
    said = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=120)
    assert said.returncode == 8, said.stderr
    (line,) = [line for line in said.stdout.splitlines() if line.startswith("broken")]
    assert "versions" in line
    assert "no ray" in line
    assert "ok       results" in said.stdout
