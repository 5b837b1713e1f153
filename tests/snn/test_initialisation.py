"""Initial weights by data: every layer fires at the target rate on the batch that they were set by."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sltune.snn.activity import INPUT, Meter
from sltune.snn.backends import CHOICE
from sltune.snn.initialisation import TARGET_RATE, scale_to_rate
from sltune.snn.layers import Sequential
from sltune.snn.network import NetworkOptions
from sltune.snn.neurons.lif import LIFParameters
from tests.networks import NETWORKS


def frames() -> Tensor:
    return (torch.rand(12, 4, 2, 14, 14, generator=torch.Generator().manual_seed(0)) < 0.05).float()


def network(name: str, norm: str = "none", threshold: float = 0.9, dropout: float = 0.0) -> Sequential:
    torch.manual_seed(0)
    options = NetworkOptions(LIFParameters(threshold), norm, dropout, "data")
    made = NETWORKS[name]((2, 14, 14), 3, options=options)
    assert isinstance(made, Sequential)
    return made


def rates(made: nn.Module) -> dict[str, float]:
    with torch.no_grad(), Meter(made.eval()) as meter:
        made(frames())
    return {layer: rate for layer, rate in meter.firing_rates().items() if layer != INPUT}


@pytest.mark.parametrize(
    ("name", "norm"), [("slanimals", "none"), ("slanimals", "tdbn"), ("nmnist-cnn", "none"), ("nmnist-mlp", "none")]
)
def test_every_layer_fires_at_the_target_rate(name: str, norm: str) -> None:
    made = network(name, norm, dropout=0.5)
    assert 0.0 in rates(made).values()
    scale_to_rate(made, frames())
    found = rates(made)
    # Gains are rounded up by an eighth of an octave at most; few neurons, as of the classes, fire in large steps.
    assert all(0.9 * TARGET_RATE <= rate <= 2 * TARGET_RATE for rate in found.values()), found


def test_gains_are_the_same_on_every_backend_and_leave_the_directions_of_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, scaled = network("slanimals"), network("slanimals")
    scale_to_rate(scaled, frames())
    monkeypatch.setenv(CHOICE, "reference")
    other = network("slanimals")
    scale_to_rate(other, frames())
    for name, weight in scaled.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name])
        gains = weight / plain.state_dict()[name]
        assert torch.allclose(gains, gains.flatten()[0])
        assert float(8 * torch.log2(gains.flatten()[0])) == pytest.approx(round(float(8 * gains.flatten()[0].log2())))


def test_a_layer_that_gets_nothing_stays_as_it_is() -> None:
    made = network("nmnist-mlp2")
    with torch.no_grad():
        for layer in (made.fc1, made.fc2):
            assert isinstance(layer, nn.Linear)
            layer.bias.fill_(-1.0)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    scale_to_rate(made, torch.zeros(3, 2, 2, 14, 14))
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
