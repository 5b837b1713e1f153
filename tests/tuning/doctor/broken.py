"""Machines that are broken on purpose: file systems of their own, limits, and Python that errs, for a command alone."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.tuning.clusters import PATIENCE_S, environment

ERRING_KERNEL = """
import importlib.abc, importlib.util, sys

class Patch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "sltune.snn.cpu.kernels.neurons":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            right = module.neurons_forward

            def err(*arguments):
                right(*arguments)
                arguments[3][...] = 0

            module.neurons_forward = err

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Patch())
"""
"""All neurons of the CPU's kernel are silent, in every process that starts with this as its sitecustomize."""
AN_HOUR_AHEAD = "import time\nnow = time.time\ntime.time = lambda: now() + 3600\n"
NVIDIA_SMI = """#!/bin/sh
case "$1" in
--query-gpu=*) echo "GPU-1, NVIDIA H200, 550.54.15, 9.0, 143771, 4, Disabled" ;;
*) echo "GPU-1, 4194999, 2048" ;;
esac
"""
"""What the driver's tool says of a GPU on which a process that cannot be seen from here holds 2 GiB."""
PATIENT = """
from sltune.cli.main import run
from sltune.tuning.doctor import doctor, examination

doctor.LIMIT_S, examination.SILENT_S = 200.0, 100.0
run()
"""
"""The command with more patience, for machines that have ten other things to do."""
can_mount = pytest.mark.skipif(
    subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
    ).returncode
    != 0,
    reason="file systems of its own take root",
)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that is not in /dev/shm, over which these tests mount another one."""
    with tempfile.TemporaryDirectory(prefix="sltune-test-", dir="/tmp") as folder:
        yield Path(folder)


def python_path(folder: Path, startup: str) -> str:
    """Return a path for Python on which it finds a sitecustomize with this code first."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(startup)
    return os.pathsep.join([str(folder), str(Path(__file__).parents[3])])


def sltune_on(
    setup: Sequence[str],
    *arguments: object,
    variables: Mapping[str, str] = MappingProxyType({}),
    is_patient: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a command where file systems and limits are set by these shell commands, for it alone."""
    start = ["-c", PATIENT] if is_patient and arguments[0] == "doctor" else ["-m", "sltune"]
    command = shlex.join([sys.executable, *start, *map(str, arguments)])
    script = " && ".join([*setup, f"exec {command}"])
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def found(said: subprocess.CompletedProcess[str]) -> dict[str, tuple[str, str]]:
    """Return state and text of what `sltune doctor --json` found, by subject."""
    findings = json.loads(said.stdout)["findings"]
    return {one["subject"]: (one["state"], one["text"]) for one in findings}
