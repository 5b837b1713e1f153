"""A nested search as a user runs it: killed in its searches and in its outer trials, it ends as if undisturbed."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from sltune.runs.folder import RunFolder
from sltune.runs.info import read_info
from tests.small import quick
from tests.tuning.clusters import PATIENCE_S, ended, sltune, wait_for

pytestmark = [pytest.mark.processes, pytest.mark.slow]

ONE_AT_A_TIME = ("--device", "cpu", "--max-concurrent", "1", "--checkpoint-minutes", "0")


@pytest.fixture
def space(tmp_path: Path) -> Path:
    """Two configurations on two folds, which train for long enough to be killed in."""
    settings = {"network__name": "slanimals", "sampling__train_crop": "random", "training__epochs": 20}
    tables = quick(**settings, evaluation__folds=2).model_dump(mode="json")
    tables["neuron"]["decay"] = {"low": 0.1, "high": 0.9}
    tables["search"] = {"trials": 2, "fold_pruner": "none"}
    file = tmp_path / "space.toml"
    file.write_text(tomlkit.dumps(tables))
    return file


def results(folder: RunFolder) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    folders = {"": folder, **{f"outer-{fold}/": folder.outer(fold) for fold in (0, 1)}}
    return {
        f"{place}{record.key.name}": (record.config, record.metrics.as_json())
        for place, one in folders.items()
        for record in one.records()
    }


def stop(process: subprocess.Popen[str], place: Path, how: signal.Signals) -> str:
    """Stop a command once the trial at a place has an epoch; return what it said."""
    wait_for((place / "epochs.csv").exists, process)
    os.kill(process.pid, how)
    return process.communicate(timeout=PATIENCE_S)[1]


def test_a_nested_search_that_is_killed_anywhere_ends_as_an_undisturbed_one(
    dataset: Path, space: Path, tmp_path: Path
) -> None:
    whole = ("tune", space, "--data", dataset, "--results", tmp_path, "--nested", *ONE_AT_A_TIME)
    said = ended(sltune(*whole, "--run", "undisturbed"), 0)
    assert "undisturbed/nested: test " in said
    undisturbed = RunFolder(tmp_path / "undisturbed")
    assert len(results(undisturbed)) == 4 + 4 + 2

    folder = RunFolder(tmp_path / "stopped")
    stop(sltune(*whole, "--run", "stopped"), folder.outer(0).root / "trials/c0001-f0-s0", signal.SIGKILL)
    again = ("resume", folder.root, *ONE_AT_A_TIME)
    how_to_go_on = f"go on with: sltune resume {folder.root}\n"
    assert stop(sltune(*again), folder.outer(1).root / "trials/c0000-f1-s0", signal.SIGINT).endswith(how_to_go_on)
    assert len(read_info(folder).winners or ()) == 1
    assert stop(sltune(*again), folder.root / "trials/c0000-f1-s0", signal.SIGTERM).endswith(how_to_go_on)
    assert len(read_info(folder).winners or ()) == 2
    ended(sltune(*again), 0)
    assert results(folder) == results(undisturbed)
