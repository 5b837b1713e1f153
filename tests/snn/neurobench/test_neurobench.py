"""sltune's counts against NeuroBench's own: those kept in counts.json, and those of a fresh run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sltune.snn import running
from sltune.training.batches import Batch, Clip
from sltune.tuning.trial.costs import costs_of
from tests.examples.test_libraries import Environment
from tests.snn.neurobench.networks import SAMPLES, frames, networks

HERE = Path(__file__).parent
COUNTS = json.loads((HERE / "counts.json").read_text())
AGREE = ("effective_acs", "effective_macs", "parameters", "memory_bytes")


def batches() -> Iterator[Batch]:
    """Give all samples as two batches."""
    for part in (frames()[:, :2], frames()[:, 2:]):
        yield Batch(torch.zeros(part.shape[1], dtype=torch.int64), iter([Clip.of(part)]))


@pytest.mark.parametrize("name", COUNTS["networks"])
def test_counts_are_neurobenchs_to_the_unit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NeuroBench ran each sample by itself, a time step at a time; here batches run in stretches of three steps."""
    monkeypatch.setenv("SLTUNE_LIF_BACKEND", "reference")
    monkeypatch.setattr(running, "MAX_STRETCH_VALUES", 3 * frames()[0, :2].numel())
    found, expected = costs_of(networks()[name], batches), COUNTS["networks"][name]
    assert {key: getattr(found, key) for key in AGREE} == {key: expected[key] for key in AGREE}
    # Pooled neurons put out averages, which NeuroBench takes for what they fired.
    if "slanimals" not in name and "cnn" not in name:
        assert found.activation_sparsity == pytest.approx(expected["activation_sparsity"], rel=1e-12)
    assert min(expected["effective_acs"], expected["effective_macs"]) > 0


def by_definition(layer: nn.Module, values: Tensor) -> tuple[int, int]:
    """Return ACs and MACs of a call: each image or row by itself, with what is not 0 replaced by 1."""
    sums = [0, 0]
    size = 1 if isinstance(layer, nn.Linear) else 3
    plain = nn.Linear.forward if isinstance(layer, nn.Linear) else nn.Conv2d.forward
    weight, bias = layer.weight, layer.bias
    layer.weight, layer.bias = nn.Parameter((weight != 0).double()), None
    for piece in values.reshape(-1, 1, *values.shape[-size:]):
        count = round(float(plain(layer, (piece != 0).double()).sum()))  # type: ignore[arg-type]
        sums[not set(piece.unique().tolist()) <= {-1.0, 0.0, 1.0}] += count
    layer.weight, layer.bias = weight, bias
    return sums[0], sums[1]


@pytest.mark.parametrize("name", ["stepped", "slanimals, tdbn", "sew, max"])
def test_counts_follow_the_definition_computed_in_plain_torch(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLTUNE_LIF_BACKEND", "reference")
    network, inputs = networks()[name], list[tuple[nn.Module, Tensor]]()
    keep: Callable[[Any, Any], None] = lambda module, given: inputs.append((module, given[0].clone()))  # noqa: E731
    hooks = [
        module.register_forward_pre_hook(keep)
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    found = costs_of(network, batches)
    for hook in hooks:
        hook.remove()
    with torch.no_grad():
        acs, macs = map(sum, zip(*(by_definition(*one) for one in inputs), strict=True))
    assert (found.effective_acs, found.effective_macs) == (acs / SAMPLES, macs / SAMPLES)


@pytest.mark.parametrize("name", ["slanimals, none", "nmnist-cnn, none", "nmnist-mlp, none"])
def test_fused_kernels_of_the_cpu_are_counted_as_the_reference_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stage runs convolution, neurons and pooling at once; frames are sparse enough for it to be chosen."""
    monkeypatch.setattr(running, "MAX_STRETCH_VALUES", math.inf)
    found = costs_of(networks()[name], batches)
    monkeypatch.setenv("SLTUNE_LIF_BACKEND", "reference")
    assert found == costs_of(networks()[name], batches)


@pytest.mark.slow
@pytest.mark.processes
def test_a_fresh_run_of_neurobench_counts_what_is_kept(tmp_path: Path) -> None:
    environment = Environment("neurobench", tmp_path / "neurobench", HERE / "requirements.txt")
    text = environment.run("tests.snn.neurobench.count", SLTUNE_LIF_BACKEND="reference")
    assert json.loads(text[text.index("{") : text.rindex("}") + 1]) == COUNTS
