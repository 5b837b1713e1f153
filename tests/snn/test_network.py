"""The built-in networks against the class that they once were, bit by bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sltune.snn import running
from sltune.snn.network import NetworkOptions
from sltune.snn.neurons.lif import LIFParameters
from sltune.snn.running import rates_of
from sltune.training.batches import Batch, Clip
from sltune.training.fit import autocast, evaluate
from tests.networks import NETWORKS
from tests.snn.earlier_network import NetworkOptions as EarlierOptions
from tests.snn.earlier_network import SpikingNetwork

SIZE, CLASSES = (18, 21), 5
NEURON = LIFParameters(0.2, 0.6, "gaussian", 0.8)
every_network = pytest.mark.parametrize("name", NETWORKS)
every_setting = pytest.mark.parametrize(
    ("norm", "dropout", "init"), [("none", 0.0, "torch"), ("tdbn", 0.4, "stbp"), ("none", 0.3, "torch")]
)
every_precision = pytest.mark.parametrize("precision", ["float32", "bfloat16"])


def pair(name: str, norm: str, dropout: float, init: str) -> tuple[torch.nn.Module, SpikingNetwork]:
    """Return a network and the same one as it once was, each made after the same seed."""
    torch.manual_seed(1)
    mine = NETWORKS[name](frame_shape=(2, *SIZE), classes=CLASSES, options=NetworkOptions(NEURON, norm, dropout, init))
    torch.manual_seed(1)
    return mine, SpikingNetwork(name, SIZE, CLASSES, NEURON, EarlierOptions(norm, dropout, init))


def draw_frames(seed: int, batch: int = 3) -> Tensor:
    return (torch.rand(9, batch, 2, *SIZE, generator=torch.Generator().manual_seed(seed)) < 0.15).float()


def trained(
    network: torch.nn.Module, rates: Callable[[Tensor], Tensor], precision: str
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the rates and gradients of two steps, in which the weights change."""
    torch.manual_seed(2)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    found, gradients = [], []
    for step in range(2):
        with autocast(torch.device("cpu"), precision):
            found.append(rates(draw_frames(step)))
        optimizer.zero_grad()
        (found[-1] * torch.linspace(-1, 2, 3 * CLASSES).view(3, CLASSES)).sum().backward()
        optimizer.step()
        gradients += [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]
    return found, gradients


@every_network
@every_setting
@every_precision
def test_weights_rates_gradients_and_dropout_are_what_they_were(
    name: str, norm: str, dropout: float, init: str, precision: str
) -> None:
    mine, earlier = pair(name, norm, dropout, init)
    one, two = mine.state_dict(), earlier.state_dict()
    assert list(one) == list(two)
    assert [name for name, _ in mine.named_parameters()] == [name for name, _ in earlier.named_parameters()]
    assert all(torch.equal(one[key], two[key]) for key in one)
    rates, gradients = trained(mine, lambda frames: rates_of(mine, frames), precision)
    expected_rates, expected_gradients = trained(earlier, earlier, precision)
    assert all(map(torch.equal, rates, expected_rates))
    assert len(gradients) == len(expected_gradients) == 2 * len(list(mine.parameters()))
    assert all(map(torch.equal, gradients, expected_gradients))
    assert rates[0].max() > 0
    assert all(torch.equal(value, earlier.state_dict()[key]) for key, value in mine.state_dict().items())


@every_network
@every_setting
@every_precision
def test_what_is_measured_of_them_is_what_it_was(
    name: str, norm: str, dropout: float, init: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In stretches of four of nine steps; earlier versions deducted no borders and counted spikes before pooling."""
    mine, earlier = pair(name, norm, dropout, init)
    with torch.no_grad():
        for parameter in [*mine.parameters(), *earlier.parameters()]:
            parameter.mul_(4 if parameter.dim() > 1 else 1)
    monkeypatch.setattr(running, "MAX_STRETCH_VALUES", draw_frames(0)[:4].numel())
    batches = [draw_frames(0), draw_frames(1, batch=2)]
    found = evaluate(
        mine, [Batch(torch.arange(frames.shape[1]), iter([Clip.of(frames)])) for frames in batches], precision=precision
    )
    counts: dict[str, int] = {}
    for frames in batches:
        with torch.no_grad(), autocast(torch.device("cpu"), precision):
            for layer, count in earlier.eval().simulate(frames, count_spikes=True).activity.items():
                counts[layer] = counts.get(layer, 0) + int(count)
    fan_out = earlier.fan_out()
    assert list(found.spikes) == list(counts)
    assert found.spikes == {layer: count / 5 for layer, count in counts.items()}
    assert found.synaptic_ops == sum(count * fan_out[layer] for layer, count in counts.items()) / 5
    assert found.firing_rates == {layer: count / (5 * 9 * earlier.neurons[layer]) for layer, count in counts.items()}
    assert min(found.spikes.values()) > 0
