"""Training with the compiled kernels against training with the reference layer, from the same weights and batches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sltune.snn.backends import CHOICE
from sltune.snn.network import NetworkOptions
from sltune.training.batches import Batch, Clip
from sltune.training.fit import Learner, evaluate, train_epoch
from sltune.training.optim import make_optimizer
from tests.networks import NETWORKS

STEPS = 20
SIZE = (17, 18)
"""So that both pooled layers have a row or a column too many."""


def draw_frames(seed: int, dtype: torch.dtype, steps: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand((steps, 4, 2, *SIZE), generator=generator) < 0.1).to(dtype)


def make_network(dtype: torch.dtype, norm: str = "none") -> nn.Module:
    torch.manual_seed(0)
    network = NETWORKS["slanimals"]((2, *SIZE), 5, options=NetworkOptions(norm=norm)).to(dtype)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    return network


def losses(backend: str, dtype: torch.dtype, norm: str, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    monkeypatch.setenv(CHOICE, backend)
    network = make_network(dtype, norm)
    optimizer = make_optimizer("adam", network.parameters(), 1e-3)
    labels = torch.tensor([0, 1, 2, 4])
    batches = (Batch(labels, iter([Clip.of(draw_frames(step, dtype))])) for step in range(STEPS))
    values, samples = train_epoch(Learner(network, optimizer), batches)
    assert samples == 4 * STEPS
    return values


@pytest.mark.parametrize("norm", ["none", "tdbn"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-2)], ids=["64", "32"])
def test_losses_of_20_training_steps_equal_the_references(
    norm: str, dtype: torch.dtype, tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = losses("reference", dtype, norm, monkeypatch)
    assert losses("numba", dtype, norm, monkeypatch) == pytest.approx(expected, rel=tolerance)
    assert max(expected) - min(expected) > 1e-3, "the network learns, so there is something to compare"


def test_evaluation_counts_the_spikes_that_the_reference_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = torch.tensor([0, 1, 2, 4])
    results = []
    for backend in ("reference", "numba"):
        monkeypatch.setenv(CHOICE, backend)
        batch = Batch(labels, iter([Clip.of(draw_frames(0, torch.float64, steps=40))]))
        results.append(evaluate(make_network(torch.float64), [batch]))
    assert results[0].spikes == results[1].spikes
    assert results[0].synaptic_ops == results[1].synaptic_ops
    assert results[0].loss == pytest.approx(results[1].loss)
    assert min(results[0].spikes.values()) > 0
