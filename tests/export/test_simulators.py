"""Real simulators on real N-MNIST samples, in an environment that has them beside what the tests have."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.examples.steps import EXAMPLES
from tests.examples.test_libraries import Environment

pytestmark = [pytest.mark.slow, pytest.mark.processes]
ROOT = EXAMPLES.parent


@pytest.fixture(scope="module")
def simulators(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return Environment("simulators", tmp_path_factory.mktemp("simulators"), ROOT / "benchmarks" / "requirements.txt")


@pytest.fixture(scope="module")
def digits(simulators: Environment, test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (test_data / "nmnist-small.zip").is_file():
        pytest.skip("nmnist-small.zip is absent")
    folder = tmp_path_factory.mktemp("digits")
    with zipfile.ZipFile(test_data / "nmnist-small.zip") as archive:
        archive.extractall(folder / "source")
    simulators.run("sltune", "import", folder / "source", "--source", "nmnist-folder", "--out", folder / "data")
    return folder / "data"


@pytest.mark.parametrize(
    ("network", "simulators_equal"),
    [("nmnist-mlp2", {"snnTorch", "SpikingJelly", "Norse"}), ("nmnist-cnn", {"snnTorch", "SpikingJelly"})],
)
def test_neurons_fire_alike_in_all_simulators(
    network: str, simulators_equal: set[str], simulators: Environment, digits: Path, tmp_path: Path
) -> None:
    model, out = tmp_path / "model", tmp_path / "network.nir"
    settings = ("--set", f"network.name={network}", "--set", "training.epochs=2")
    space = ROOT / "search_spaces" / "nmnist.toml"
    simulators.run("sltune", "fit", space, *settings, "--data", digits, "--out", model, "--device", "cpu", "-q")
    folded = ["--fold-resistance"] if "Norse" in simulators_equal else []
    said = simulators.run("sltune", "export", model, out, *folded, "--verify", "--data", digits)
    for name in simulators_equal:
        (line,) = [line for line in said.splitlines() if line.startswith(f"{name} ")]
        assert "values are equal in" in line or ": rounding: a potential is " in line
        assert "on 100 samples" in line
    assert ("Norse" in simulators_equal) == ("it knows no average pooling" not in said)
