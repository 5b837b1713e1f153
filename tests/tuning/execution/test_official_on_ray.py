"""N-MNIST by its official parts, from its folders to the table, with trials on Ray."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sltune.cli.main import main
from sltune.runs.folder import RunFolder
from tests.tuning.clusters import ray_here

pytestmark = pytest.mark.processes

SPACE = Path(__file__).parents[3] / "search_spaces" / "nmnist.toml"
PER_DIGIT = 6


def sltune(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def test_n_mnist_is_tested_on_its_test_part_alone(nmnist_folder: Path, tmp_path: Path) -> None:
    """The files that are left out of training stand for the test part, of which none are here."""
    for digit in range(10):
        files = sorted((nmnist_folder / "NMNIST" / "Train" / str(digit)).glob("*.bin"))[: 2 * PER_DIGIT]
        for number, file in enumerate(files):
            target = tmp_path / "NMNIST" / ("Train" if number < PER_DIGIT else "Test") / str(digit) / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    sltune("import", tmp_path, "--source", "nmnist-folder", "--out", tmp_path / "data")
    run = ("--data", tmp_path / "data", "--results", tmp_path, "--run", "official", "--device", "cpu")
    settings = ("evaluation.split=official", "evaluation.folds=0", "evaluation.seeds=[0, 1]", "training.epochs=1")
    flags = [word for setting in settings for word in ("--set", setting)]
    with ray_here(num_cpus=2):
        table = json.loads(sltune("evaluate", SPACE, *run, *flags, "--json").stdout)
    records = RunFolder(tmp_path / "official").records()
    assert [len(one.splits["test"]) for one in records] == [10 * PER_DIGIT] * 2
    assert all(name.startswith("test-") for one in records for name in one.splits["test"])
    assert [len(one.splits["val"]) for one in records] == [9, 9]
    assert {one.validation for one in records} == {"sample"}
    row = table["rows"][0]
    assert (row["split"], row["n"], row["std_over"]) == ("official", 2, "seeds")
    assert {figure["split"] for figure in table["published"]} == {"official"}
