"""A machine that is broken in many ways: each is named, and a run refuses or survives as docs/doctor.md says.

The GPU and its driver's tool are faked; everything else is as broken as it says.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import tomlkit

from sltune.runs.folder import RunFolder
from tests.small import quick
from tests.tuning.doctor.broken import ERRING_KERNEL, NVIDIA_SMI, can_mount, found, python_path, sltune_on, tmp_path

__all__ = ["tmp_path"]
pytestmark = [pytest.mark.processes, can_mount]


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """A kernel that errs, and a GPU that the driver knows and torch may not see."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text(NVIDIA_SMI)
    (tools / "nvidia-smi").chmod(0o755)
    return {
        "PATH": os.pathsep.join([str(tools), os.environ["PATH"]]),
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": python_path(tmp_path / "startup", ERRING_KERNEL),
    }


def mounted(folder: Path, size: str) -> list[str]:
    folder.mkdir(exist_ok=True)
    return [f"mount -t tmpfs -o size={size} none {folder}"]


SMALL_MEMORY = ["mount -t tmpfs -o size=16m none /dev/shm", "ulimit -n 256"]


@pytest.mark.slow
def test_each_fault_of_a_machine_is_named(tmp_path: Path, variables: dict[str, str]) -> None:
    full = tmp_path / "full"
    setup = [*SMALL_MEMORY, *mounted(full, "1m"), f"(cat /dev/zero > {full}/fill 2>/dev/null || true)"]
    said = sltune_on(setup, "doctor", "--json", "--results", full / "results", variables=variables)
    assert said.returncode == 8, said.stderr
    states = found(said)
    assert states["results"] == ("broken", f"{full}: cannot be written: No space left on device")
    assert states["/dev/shm"][0] == "warning"
    assert "16.8 MB of 16.8 MB are free" in states["/dev/shm"][1]
    assert states["open files"] == ("warning", "256 may be open at once")
    assert states["GPU 0"][0] == "warning"
    assert "2.15 GB are held by processes of others (unknown)" in states["GPU 0"][1]
    assert states["torch"][0] == "broken"
    assert "sees 0 of 1 GPUs: CUDA_VISIBLE_DEVICES is ''" in states["torch"][1]
    assert states["kernels (cpu)"][0] == "broken"
    assert "layer: " in states["kernels (cpu)"][1]
    assert "spikes differ from the reference" in states["kernels (cpu)"][1]
    assert "sltune: 3 things to mend before a run" in said.stderr


@pytest.mark.slow
def test_a_run_survives_little_memory_few_files_a_hidden_gpu_and_a_kernel_that_errs(
    tmp_path: Path, dataset: Path, variables: dict[str, str]
) -> None:
    space = tmp_path / "space.toml"
    space.write_text(tomlkit.dumps(quick(evaluation__folds=2).model_dump(mode="json")))
    arguments = ("evaluate", space, "--data", dataset, "--results", tmp_path, "--run", "run", "--no-baselines")
    said = sltune_on(SMALL_MEMORY, *arguments, variables=variables)
    assert said.returncode == 0, said.stderr
    assert said.stderr.count("the compiled kernel of layer is replaced by plain torch") == 1
    # With silent neurons it would be 1/2.
    assert [record.metrics.test_accuracy for record in RunFolder(tmp_path / "run").records()] == [1.0, 1.0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["read-only", "full"])
def test_results_that_cannot_be_written_are_named_and_refused(tmp_path: Path, dataset: Path, kind: str) -> None:
    folder = tmp_path / "results"
    breaking, reason = {
        "read-only": (f"mount -o remount,ro {folder}", "Read-only file system"),
        "full": (f"(cat /dev/zero > {folder}/fill 2>/dev/null || true)", "No space left on device"),
    }[kind]
    setup = [*mounted(folder, "1m"), breaking]
    said = sltune_on(setup, "doctor", "--json", "--results", folder)
    assert said.returncode == 8, said.stderr
    assert found(said)["results"] == ("broken", f"{folder}: cannot be written: {reason}")
    space = tmp_path / "space.toml"
    space.write_text(tomlkit.dumps(quick(evaluation__folds=2).model_dump(mode="json")))
    said = sltune_on(setup, "evaluate", space, "--data", dataset, "--results", folder)
    assert said.returncode == 2, said.stderr
    assert reason in said.stderr
    assert "Traceback" not in said.stderr


@pytest.mark.slow
def test_facts_are_those_of_a_report_of_a_fault(tmp_path: Path) -> None:
    said = sltune_on(["true"], "doctor", "--json", "--results", tmp_path)
    assert said.returncode == 0, said.stderr
    facts = json.loads(said.stdout)["facts"][""]
    assert facts["limits"]["cpus"] == len(os.sched_getaffinity(0))
    assert facts["torch"]["version"]
    assert facts["kernels"][0]["faults"] == {}
