"""The verb export: what it writes and compares, and what it says where it cannot."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from pathlib import Path

import nir
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn

from sltune.cli.main import main
from sltune.export import targets
from sltune.export.reading import as_network
from sltune.export.targets import Target
from sltune.extensions.code import Code
from sltune.runs.record import DatasetInfo
from sltune.training.weights import weights_to_bytes
from sltune.tuning.final.model import FittedNetwork, ModelFolder, ModelInfo, write_model
from tests.small import CLASSES, SENSOR, quick


def model_of(folder: Path, seeds: tuple[int, ...] = (0,), **settings: object) -> Path:
    """Return a model of networks that nobody has trained."""
    made = ModelFolder(folder)
    dataset = DatasetInfo(name="two sides", synthetic=True, fingerprint="f", classes=CLASSES)
    networks = tuple(FittedNetwork(seed=seed, epoch=1, epochs=1) for seed in seeds)
    config = quick(evaluation__seeds=seeds, neuron__v_threshold=0.02, **settings)
    info = ModelInfo(config=config, sensor=SENSOR, dataset=dataset, validation=False, networks=networks)
    for seed in seeds:
        made.weights(seed).parent.mkdir(parents=True)
        made.weights(seed).write_bytes(weights_to_bytes(info.job(seed, Code()).network()))
    write_model(made, info)
    return folder


def export(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


class Exact(nn.Module):
    """A simulator that asks sltune anew for all time steps so far."""

    def __init__(self, file: Path, late: bool) -> None:
        super().__init__()
        self.network = as_network(nir.read(file), "")
        self.late = late
        for name, layer in self.network.layers.items():
            self.add_module(name, _Last(layer, late))

    def forward(self, step: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
        frames = step[None] if before is None else torch.cat([before, step[None]])
        value = frames
        for name in self.network.layers:
            value = self.get_submodule(name).whole(value)
            self.get_submodule(name)(value)
        return value, frames


class _Last(nn.Module):
    def __init__(self, layer: nn.Module, late: bool) -> None:
        super().__init__()
        self.whole = layer
        self.late = late

    def forward(self, value: Tensor) -> Tensor:
        return value[max(len(value) - 2, 0)] if self.late else value[-1]


def fake(monkeypatch: pytest.MonkeyPatch, load: Callable[[Path, float], nn.Module]) -> None:
    found = (Target("Fake", "numpy", load, lambda *_: ""), Target("Absent", "no-such-package", load, lambda *_: ""))
    monkeypatch.setattr(targets, "TARGETS", found)


def test_a_model_becomes_a_graph_and_is_never_replaced_unasked(tmp_path: Path) -> None:
    model, out = model_of(tmp_path / "model", network__name="nmnist-mlp2"), tmp_path / "network.nir"
    result = export(model, out, "--dt-ms", "20")
    assert result.exit_code == 0, result.output
    assert result.stderr == f"{out}: 5 nodes, 2 layers of neurons, frames of 2×16×16, time steps of 20 ms\n"
    assert float(nir.read(out).metadata["dt_s"]) == 0.02
    content = out.read_bytes()
    result = export(model, out)
    assert (result.exit_code, result.stderr) == (2, f"sltune: {out}: exists already; --force replaces it\n")
    assert out.read_bytes() == content
    assert export(model, out, "--force").exit_code == 0
    assert out.read_bytes() != content


def test_spikes_are_compared_in_every_simulator_that_is_installed(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = model_of(tmp_path / "model", network__name="nmnist-mlp2"), tmp_path / "network.nir"
    fake(monkeypatch, lambda file, _: Exact(file, late=False))
    result = export(model, out, "--verify", "--data", dataset, "--samples", "3")
    assert result.exit_code == 0, result.output
    # 10 time steps of 512 and 2 neurons, three times.
    assert "all 15,420 values are equal in 2 layers, on 3 samples" in result.stdout
    assert "Absent: not installed" in result.stdout
    fake(monkeypatch, lambda file, _: Exact(file, late=True))
    result = export(model, out, "--force", "--verify", "--data", dataset, "--samples", "3")
    assert result.exit_code == 6, result.output
    assert "first fc1_lif at time step 1 of user00_indoor_01: a potential is " in result.stdout
    assert result.stderr.endswith("neurons fire otherwise in a simulator than in sltune\n")


def test_nothing_is_taken_for_equal_where_nothing_ran(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(tmp_path / "model", network__name="nmnist-mlp2")
    monkeypatch.setattr(targets, "TARGETS", (Target("Absent", "no-such-package", Exact, lambda *_: ""),))  # type: ignore[arg-type]
    result = export(model, tmp_path / "network.nir", "--verify", "--data", dataset)
    assert result.exit_code == 2
    assert "so nothing was compared; pip install snntorch" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--verify"], "--verify and --data DATA go together"),
        (["--data", "d"], "--verify and --data DATA go together"),
        ([], "--seed must be one of 0, 3 for a model of several networks"),
        (["--seed", "1"], "--seed must be one of 0, 3"),
        (["--dt-ms", "0"], "Invalid value for '--dt-ms'"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments: list[str], reason: str, tmp_path: Path) -> None:
    model = model_of(tmp_path / "model", (0, 3), network__name="nmnist-mlp2")
    result = export(model, tmp_path / "network.nir", *arguments)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert not (tmp_path / "network.nir").exists()


def test_one_of_several_networks_is_chosen_by_its_seed(tmp_path: Path) -> None:
    model = model_of(tmp_path / "model", (0, 3), network__name="nmnist-mlp2")
    weights = [torch.load(ModelFolder(model).weights(seed))["fc1.weight"] for seed in (0, 3)]
    assert export(model, tmp_path / "network.nir", "--seed", "3").exit_code == 0
    written = torch.from_numpy(nir.read(tmp_path / "network.nir").nodes["fc1"].weight)
    assert torch.equal(written, weights[1])
    assert not torch.equal(written, weights[0])


def test_what_nir_cannot_say_is_refused_and_nothing_written(tmp_path: Path) -> None:
    model = model_of(tmp_path / "model", network__name="sew", network__options={"width": 4})
    result = export(model, tmp_path / "network.nir")
    assert result.exit_code == 2
    assert (
        'pool (MaxPool) cannot be exported to NIR: NIR has no such layer; train with network.options.pool = "average"'
        in (result.stderr)
    )
    assert not (tmp_path / "network.nir").exists()


def test_a_folder_that_is_no_model_is_named(tmp_path: Path) -> None:
    result = export(tmp_path, tmp_path / "network.nir")
    assert result.exit_code == 3
    assert "is neither a model that sltune fit made, nor a trial of a run" in result.stderr


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(tmp_path / "model", network__name="nmnist-mlp2")
    for name in [name for name in sys.modules if name == "nir" or name.startswith(("nir.", "sltune.export."))]:
        monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def without_nir(name: str, *more: object) -> object:
        if name == "nir":
            raise ModuleNotFoundError("No module named 'nir'", name="nir")
        return real(name, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_nir)
    result = export(model, tmp_path / "network.nir")
    assert (result.exit_code, result.stderr) == (
        2,
        "sltune: the package nir is not installed; pip install 'sltune[nir]'\n",
    )
