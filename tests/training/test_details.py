"""Firing rates, histograms of weights and the picture of spikes, each by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sltune.snn import running
from sltune.snn.activity import Meter
from sltune.snn.network import NetworkOptions
from sltune.snn.neurons.lif import LIFParameters
from sltune.training import details
from sltune.training.batches import Batch, Clip
from sltune.training.details import BACKGROUND, BORDER, COLOURS, draw, histogram, look_at
from sltune.training.fit import evaluate
from tests.networks import NETWORKS


def network(name: str, size: tuple[int, int], **biases: float | torch.Tensor) -> nn.Module:
    """A network without weights, of which the biases alone decide what fires: above 0.3, in every step."""
    net = NETWORKS[name]((2, *size), 3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        for layer, bias in biases.items():
            net.get_parameter(f"{layer}.bias").copy_(torch.as_tensor(bias))
    return net


def half_lit(steps: int, batch: int, size: tuple[int, int]) -> torch.Tensor:
    """Frames of which one polarity is lit everywhere, by two events."""
    frames = torch.zeros(steps, batch, 2, *size)
    frames[:, :, 0] = 2
    return frames


# An odd layer has neurons that its pooling leaves out; they fire, too.
@pytest.mark.parametrize("size", [(16, 16), (17, 13), (15, 20)])
@pytest.mark.parametrize("name", ["slanimals", "nmnist-mlp"])
def test_a_firing_rate_is_1_where_all_neurons_fire_in_every_step(name: str, size: tuple[int, int]) -> None:
    first, second, third = ("conv1", "conv2", "fc1") if name == "slanimals" else ("fc1", "fc2", "fc3")
    net = network(name, size, **{first: 1.0, third: 1.0})
    # Two views of two samples, one longer than the other, then one of one sample.
    batches = [
        Batch(torch.tensor([0, 1]), map(Clip.of, [half_lit(3, 2, size), half_lit(5, 2, size)])),
        Batch(torch.tensor([0]), map(Clip.of, [half_lit(3, 1, size)])),
    ]
    rates = evaluate(net, batches).firing_rates
    assert {layer: rates[layer] for layer in ("input", first, second, third)} == {
        "input": 0.5, first: 1.0, second: 0.0, third: 1.0
    }  # fmt: skip


def test_a_firing_rate_is_the_share_of_neurons_and_steps_with_a_spike() -> None:
    # Three of four neurons fire; without leak the last one does so in every second step.
    bias = torch.tensor([1.0, 1.0, 0.2, 0.0]).repeat(128)
    net = NETWORKS["nmnist-mlp2"]((2, 4, 4), 3, options=NetworkOptions(LIFParameters(v_threshold=0.3, decay=1.0)))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.get_parameter("fc1.bias").copy_(bias)
    batch = Batch(torch.tensor([0]), map(Clip.of, [half_lit(4, 1, (4, 4))]))
    assert evaluate(net, [batch]).firing_rates == {
        "input": 0.5, "fc1": (1 + 1 + 0.5 + 0) / 4, "fc2": 0.0
    }  # fmt: skip


def test_spikes_are_kept_on_request_and_are_those_that_are_counted() -> None:
    torch.manual_seed(0)
    net = NETWORKS["nmnist-mlp"]((2, 6, 6), 3, options=NetworkOptions(LIFParameters(0.05)))
    frames = (torch.rand(5, 2, 2, 6, 6) < 0.3).float()
    with torch.no_grad(), Meter(net, keeps_outputs=True) as meter:
        meter.add_frames(frames)
        output = net(frames)
    kept = meter.take_outputs()
    assert list(kept) == ["input", "fc1", "fc2", "fc3"]
    assert torch.equal(kept["fc3"], output.flatten())
    assert torch.equal(kept["input"], frames.flatten())
    assert {layer: int(spikes.sum()) for layer, spikes in kept.items()} == meter.spikes()
    assert meter.spikes()["fc1"] > 0
    assert meter.take_outputs() == {}


def test_a_histogram_has_all_values() -> None:
    found = histogram(torch.tensor([[-1.0, 0.0], [0.5, 3.0]]))
    assert (found.least, found.greatest, found.total, found.squares) == (-1.0, 3.0, 2.5, 10.25)
    # 64 bins of 1/16 from −1: 0 begins bin 16, 0.5 bin 24, and the last value is in the last bin.
    assert {int(place): int(found.counts[place]) for place in found.counts.nonzero()[0]} == {0: 1, 16: 1, 24: 1, 63: 1}
    assert found.upper.tolist() == [-1 + (place + 1) / 16 for place in range(64)]


def test_a_picture_of_two_layers_pixel_by_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(details, "MIN_WIDTH", 4)
    picture = draw([np.array([[1, 0], [0, 0.5]], np.float32), np.array([[0, 1]], np.float32)])
    # Rows of 3 pixels, columns stretched twice, a border of 6 pixels.
    assert (picture.shape, picture.dtype) == ((3 + 3 + 6 + 3, 4, 3), np.uint8)
    dark, border = [BACKGROUND] * 3, [BORDER] * 3
    half = [round((BACKGROUND + value) / 2) for value in COLOURS[0]]
    for rows, left, right in [
        (range(3), list(COLOURS[0]), dark),
        (range(3, 6), dark, half),
        (range(6, 12), border, border),
        (range(12, 15), dark, list(COLOURS[1])),
    ]:
        for row in rows:
            assert picture[row].tolist() == [left, left, right, right]


def test_long_samples_share_columns_and_lose_no_spike() -> None:
    band = np.zeros((1, 2500), np.float32)
    band[0, [0, 1001, 2499]] = 1
    picture = draw([band])
    # Three steps a column.
    assert picture.shape == (3, 834, 3)
    lit = (picture[0] != BACKGROUND).any(axis=1)
    assert lit.nonzero()[0].tolist() == [0, 333, 833]


@pytest.mark.parametrize("stretch", [1 << 23, 40])
def test_what_a_network_does_is_drawn_layer_below_layer(monkeypatch: pytest.MonkeyPatch, stretch: int) -> None:
    monkeypatch.setattr(running, "MAX_STRETCH_VALUES", stretch)
    monkeypatch.setattr(details, "MIN_WIDTH", 1)
    # 64 of 512 neurons are shown, each eighth; of these every second one fires.
    bias = (torch.arange(512) % 16 == 0).float()
    found = look_at(network("nmnist-mlp2", (4, 4), fc1=bias), Clip.of(half_lit(3, 1, (4, 4))))
    lit = (found.raster != BACKGROUND).any(axis=2)
    assert found.raster.shape == (3 * 32 + 6 + 3 * 64 + 6 + 3 * 3, 3, 3)
    # The input holds two events a pixel, which is as bright as it gets.
    assert found.raster[0, 0].tolist() == list(COLOURS[0])
    assert lit[: 3 * 16].all()
    assert not lit[3 * 16 : 3 * 32].any()
    first = 3 * 32 + 6
    assert lit[first : first + 3 * 64 : 3, 0].tolist() == [True, False] * 32
    assert not lit[-9:].any()
    assert "3 steps" in found.reading
    assert found.reading.endswith("From the top: input (32 of 32), fc1 (64 of 512), fc2 (3 of 3).")
    assert found.weights["fc1.bias"].total == 32.0
    assert set(found.weights) == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}


class Stepped(nn.Module):
    """A network of another library's kind: called once a time step, with a potential beside the spikes."""

    class Fires(nn.Module):
        def forward(self, current: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return (current > 0.5).float(), current

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.fires = nn.Linear(2 * 16, 2), Stepped.Fires()
        self.hidden.weight.data.fill_(1)
        self.hidden.bias.data = torch.tensor([0.0, -100.0])

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.fires(self.hidden(step.flatten(1)))[0] for step in frames])


def test_neurons_that_are_called_once_a_step_are_drawn_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(details, "MIN_WIDTH", 1)
    frames = half_lit(5, 1, (4, 4))
    frames[2] = 0
    found = look_at(Stepped(), Clip.of(frames))
    assert found.reading.endswith("From the top: input (32 of 32), fires (2 of 2).")
    lit = (found.raster != BACKGROUND).any(axis=2)
    assert lit[-6:].tolist() == [[True, True, False, True, True]] * 3 + [[False] * 5] * 3
