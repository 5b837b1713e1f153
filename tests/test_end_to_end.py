"""What the README promises, by its own commands; minutes each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sltune.cli.main import main

pytestmark = pytest.mark.processes

SPACES = Path(__file__).parent.parent / "search_spaces"


def sltune(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    return result


@pytest.mark.slow
def test_the_demo_learns_to_read_signs_of_signers_it_has_not_seen(tmp_path: Path) -> None:
    table = json.loads(sltune("demo", "--out", tmp_path / "demo", "--json").stdout)
    row = table["rows"][0]
    assert row["n"] == 4
    assert row["synthetic"]
    assert row["mean"] >= 30
    assert row["chance"] == pytest.approx(100 / 19)
    searched = next(row for row in table["rows"] if row["run"] == "demo-search" and row["metric"] == "test_accuracy")
    assert searched["n"] == 4
    assert searched["mean"] >= 30
    for name in ("demo/space.toml", "demo-search/space.toml", "demo-search/best.toml"):
        assert 'sessions = ["S1", "S2", "S3", "S4"]' in (tmp_path / "demo" / "results" / name).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["crops", "neuron", "full"])
def test_the_spaces_that_come_with_sltune_run_at_full_size(tmp_path: Path, name: str) -> None:
    sltune("synth", tmp_path / "recordings", "--recordings", 8, "-q")
    sltune("import", tmp_path / "recordings", "--out", tmp_path / "data", "-q")
    run = ("--data", tmp_path / "data", "--results", tmp_path, "--run", name, "--smoke", "--json")
    row = json.loads(sltune("tune", SPACES / f"{name}.toml", *run).stdout)["rows"][0]
    assert (row["run"], row["config_id"], row["n"]) == (name, "c0000", 4)


@pytest.mark.slow
def test_real_n_mnist_samples_are_classified_at_92_per_cent_also_in_bfloat16(
    nmnist_folder: Path, tmp_path: Path
) -> None:
    sltune("import", nmnist_folder, "--source", "nmnist-folder", "--out", tmp_path / "data")
    means = {}
    for precision in ("float32", "bfloat16"):
        run = ("--data", tmp_path / "data", "--results", tmp_path, "--run", precision, "--json")
        setting = ("--set", f"training.precision={precision}")
        row = json.loads(sltune("evaluate", SPACES / "nmnist.toml", *run, *setting).stdout)["rows"][0]
        assert (row["n"], row["protocol"], row["synthetic"]) == (4, "train-val-test", False)
        means[precision] = row["mean"]
    assert means["float32"] >= 92
    assert abs(means["bfloat16"] - means["float32"]) <= 2
