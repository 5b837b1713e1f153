"""Runs that are stopped from outside, as real processes, and that go on as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from sltune.runs.folder import RunFolder
from tests.small import quick
from tests.tuning.clusters import PATIENCE_S, PROMPT_S, below, ended, sltune, wait_for

pytestmark = pytest.mark.processes

EPOCHS = "training.epochs=3000"


@pytest.fixture
def space(tmp_path: Path) -> Path:
    file = tmp_path / "space.toml"
    configuration = quick(network__name="slanimals", sampling__train_crop="random", training__epochs=25)
    file.write_text(tomlkit.dumps(configuration.model_dump(mode="json")))
    return file


def start(*arguments: object) -> subprocess.Popen[str]:
    return sltune(*arguments, "--device", "cpu", "--max-concurrent", "1")


def results(folder: RunFolder) -> dict[str, dict[str, Any]]:
    return {record.key.name: record.metrics for record in folder.records()}


def test_a_run_that_is_killed_interrupted_and_terminated_goes_on_to_the_same_results(
    dataset: Path, space: Path, tmp_path: Path
) -> None:
    whole = ("evaluate", space, "--data", dataset, "--results", tmp_path)
    undisturbed = RunFolder(tmp_path / "undisturbed")
    first_line = f"to go on after any interruption: sltune resume {undisturbed.root}\n"
    assert ended(start(*whole, "--run", "undisturbed", "-q"), 0) == first_line

    folder = RunFolder(tmp_path / "stopped")
    first = folder.trials / "c0000-f0-s0" / "record.json"
    process = start(*whole, "--run", "stopped")
    wait_for(first.exists, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    kept = first.read_bytes()

    for stop, fold in ((signal.SIGINT, 1), (signal.SIGTERM, 2)):
        process = start("resume", folder.root)
        wait_for((folder.trials / f"c0000-f{fold}-s0" / "epochs.csv").exists, process)
        os.kill(process.pid, stop)
        assert f"sltune resume {folder.root}" in ended(process, 130)
        assert len(results(folder)) < 4

    ended(start("resume", folder.root), 0)
    assert first.read_bytes() == kept
    assert len(list(folder.trials.glob("*/record*.json"))) == 4
    assert results(folder) == results(undisturbed)


def test_a_dataset_that_changed_cannot_go_on_with_a_run(dataset: Path, tmp_path: Path, space: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.root.mkdir()
    folder.space_toml.write_bytes(space.read_bytes())
    facts = {
        "name": "x", "synthetic": True, "classes": ["a"], "path": str(dataset), "fingerprint": "of another dataset"
    }  # fmt: skip
    folder.run_json.write_text(
        json.dumps({"schema": 1, "name": "x", "kind": "evaluate", "dataset": facts, "trials": ["c0000-f0-s0"]})
    )
    assert "these differ: name, fingerprint, classes" in ended(start("resume", folder.root), 3)


@pytest.mark.parametrize("after_s", [3.0, *(pytest.param(after_s, marks=pytest.mark.slow) for after_s in (1.5, 6.0))])
def test_two_signals_in_a_row_end_a_run_at_any_time_with_its_exit_code_and_leave_no_process(
    dataset: Path, tmp_path: Path, space: Path, after_s: float
) -> None:
    process = start("evaluate", space, "--data", dataset, "--results", tmp_path, "--run", "run")
    wait_for(lambda: bool(below(process.pid)), process)
    time.sleep(after_s)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    began = below(process.pid)
    ended(process, 130)
    wait_for(lambda: not any(Path(f"/proc/{number}").exists() for number in began))


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0])
def test_sigterm_to_the_command_alone_while_ray_starts_is_an_interruption(
    dataset: Path, tmp_path: Path, space: Path, after_s: float
) -> None:
    process = start("evaluate", space, "--data", dataset, "--results", tmp_path, "--run", "run", "--set", EPOCHS)
    wait_for(lambda: any(b"gcs_server" in line for line in below(process.pid).values()), process)
    time.sleep(after_s)
    (command,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(command), signal.SIGTERM)
    began = below(process.pid)
    assert "interrupted" in ended(process, 130)
    wait_for(lambda: not any(Path(f"/proc/{number}").exists() for number in began))


def test_a_batch_system_that_ends_every_process_at_once_is_told_how_to_go_on(
    dataset: Path, tmp_path: Path, space: Path
) -> None:
    """As `timeout` and Slurm do: the driver and all of Ray get SIGTERM."""
    folder = RunFolder(tmp_path / "run")
    process = start("evaluate", space, "--data", dataset, "--results", tmp_path, "--run", "run", "--set", EPOCHS)
    wait_for((folder.trials / "c0000-f0-s0" / "epochs.csv").exists, process)
    began = time.monotonic()
    for number in [process.pid, *below(process.pid)]:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGTERM)
    assert f"go on with: sltune resume {folder.root}" in ended(process, 130)
    assert time.monotonic() - began < PROMPT_S


def test_impatience_costs_no_word_on_how_to_go_on(dataset: Path, tmp_path: Path, space: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    process = start("evaluate", space, "--data", dataset, "--results", tmp_path, "--run", "run", "--set", EPOCHS)
    wait_for((folder.trials / "c0000-f0-s0" / "epochs.csv").exists, process)
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.7)
    assert f"go on with: sltune resume {folder.root}" in ended(process, 130)
