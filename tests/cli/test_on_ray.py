"""What the command line refuses once Ray runs, and before there is a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sltune.cli.main import main
from tests.tuning.clusters import ray_here

pytestmark = pytest.mark.processes

SPACES = Path(__file__).parents[2] / "search_spaces"


@pytest.fixture(scope="module", autouse=True)
def without_gpus() -> Iterator[None]:
    """A Ray for all of these commands, which use one that their process has started."""
    with ray_here(num_cpus=2):
        yield


def sltune(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--gpus-per-trial", "0.5"], "0.5 GPUs, and no node has them"),
        (["--device", "cuda"], "no node has a GPU"),
        (["--cpus-per-trial", "4096"], "asks for 4096 CPUs"),
    ],
)
def test_what_no_node_has_is_exit_code_2(dataset: Path, tmp_path: Path, flags: list[str], said: str) -> None:
    result = sltune("evaluate", SPACES / "nmnist.toml", "--data", dataset, "--results", tmp_path, "-q", *flags)
    assert result.exit_code == 2, result.stderr
    assert said in result.stderr


def test_a_search_by_what_only_a_gpu_can_measure_is_refused_without_one(dataset: Path, tmp_path: Path) -> None:
    searched = ("training.learning_rate={choices=[0.1, 0.2]}", 'search.objectives=["val_accuracy", "gpu_joules"]')
    overrides = [word for one in searched for word in ("--set", one)]
    result = sltune("tune", SPACES / "nmnist.toml", "--data", dataset, "--results", tmp_path, "-q", *overrides)
    assert result.exit_code == 2, result.stderr
    assert "[search]: judges by gpu_joules, and trials get no GPU" in result.stderr


@pytest.mark.parametrize(
    ("override", "code", "said"),
    [
        ("network.weights=absent.pt", 3, "absent.pt: weights cannot be read: No such file"),
        ("sampling.downsample=4", 2, "frames are too small for conv2: 1x1 pixels reach it, 4x4 are needed"),
        ("evaluation.folds=9", 3, "9 folds need at least 9 subjects, but the dataset has 8"),
        ('evaluation.sessions=["S1", "S2"]', 3, "no recording of the sessions S1, S2; the dataset has: S3"),
    ],
)
def test_what_does_not_fit_the_data_is_told_before_a_run_exists(
    dataset: Path, tmp_path: Path, override: str, code: int, said: str
) -> None:
    result = sltune(
        *("evaluate", SPACES / "nmnist.toml", "--data", dataset, "--results", tmp_path / "results", "--run", "r", "-q"),
        *("--set", override),
    )
    assert result.exit_code == code, result.stderr
    assert said in result.stderr
    assert not (tmp_path / "results").exists()
