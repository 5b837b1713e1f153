"""Spikes and synaptic operations of networks of any kind, against counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from sltune import snn
from sltune.snn.activity import Meter
from sltune.snn.operations import connections_of

# Without potential left over: what is above 0.5 fires.
FRAMES = (torch.rand(5, 2, 2, 6, 7, generator=torch.Generator().manual_seed(0)) < 0.4).float()


class Fires(nn.Module):
    """Neurons without memory, as other libraries call them: once a time step, with a potential beside the spikes."""

    def forward(self, current: Tensor) -> tuple[Tensor, Tensor]:
        return (current > 0.5).to(current.dtype), current


class Surrogate(nn.Module):
    def forward(self, potential: Tensor) -> Tensor:
        return (potential > 0.5).to(potential.dtype)


class Node(nn.Module):
    """Neurons with the function that fires as a module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.surrogate = Surrogate()

    def forward(self, current: Tensor) -> Tensor:
        spikes: Tensor = self.surrogate(current)
        return spikes


class Stepped(nn.Module):
    """A network that is called once a time step; keeps the spikes of its neurons for comparison."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2)
        self.first = Fires()
        self.end = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(1), nn.Dropout(0.5), nn.Linear(8, 3), Node())
        self.kept: list[Tensor] = []

    def forward(self, frames: Tensor) -> Tensor:
        outputs = []
        for step in frames:
            spikes, _ = self.first(self.conv(step))
            self.kept.append(spikes)
            outputs.append(self.end(spikes))
        return torch.stack(outputs)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv1d(2, 4, 3),
        nn.Conv2d(2, 4, 3),
        nn.Conv2d(2, 6, (3, 2), stride=2, padding=(1, 0), groups=2),
        nn.Conv2d(4, 4, 3, padding="same", dilation=2, groups=4),
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"),
        nn.Conv3d(2, 3, 2, stride=(1, 2, 1)),
        nn.ConvTranspose1d(2, 4, 3, stride=2),
        nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1, output_padding=1, groups=2),
        nn.ConvTranspose3d(2, 3, 2),
    ],
    ids=str,
)
def test_connections_are_the_outputs_that_an_input_reaches(layer: _ConvNd) -> None:
    shape = torch.Size((layer.in_channels, *(5, 6, 4)[: len(layer.kernel_size)]))
    with torch.no_grad():
        layer.weight.fill_(1)
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        # One input at a time is 1; each of its connections adds 1 to some output.
        single = torch.eye(shape.numel()).view(-1, *shape)
        expected = layer(single).flatten(1).sum(1).view(shape)
    assert torch.equal(connections_of(layer, shape), expected.long())
    assert expected.max() > 1


def test_a_network_of_other_layers_is_counted_by_what_it_does() -> None:
    torch.manual_seed(0)
    network = Stepped().eval()
    with torch.no_grad():
        network.conv.weight.mul_(4)
        with Meter(network) as meter:
            meter.add_frames(FRAMES)
            outputs = network(FRAMES)
        first = torch.stack(network.kept)
        pooled = nn.functional.max_pool2d(first.flatten(0, 1), 2)
    expected = {"input": int(FRAMES.sum()), "first": int(first.sum()), "end.4": int(outputs.sum())}
    assert meter.spikes() == expected
    assert min(expected.values()) > 0
    assert meter.firing_rates() == {
        "input": expected["input"] / FRAMES.numel(),
        "first": expected["first"] / first.numel(),
        "end.4": expected["end.4"] / outputs.numel(),
    }
    assert meter.neurons() == {"input": 2 * 6 * 7, "first": 4 * 3 * 4, "end.4": 3}
    # With stride 2 and padding 1, every second row and column is read twice in the direction of each; the last row of
    # six is read once, as there is no window beyond it.
    rows, columns = torch.tensor([1, 2, 1, 2, 1, 1]), torch.tensor([1, 2, 1, 2, 1, 2, 1])
    # A channel of two groups leads to two of four maps.
    connections = 2 * rows[:, None] * columns
    assert meter.operations() == int((FRAMES * connections).sum()) + 3 * int((pooled != 0).sum())


def test_a_network_is_measured_only_between_with_and_its_end() -> None:
    network = Stepped().eval()
    with Meter(network) as meter:
        network(FRAMES)
    before = meter.operations()
    network(FRAMES)
    assert meter.operations() == before > 0
    with pytest.raises(RuntimeError, match="cannot be multiplied"), Meter(network):
        network(FRAMES[..., :3])
    assert not any(module._forward_hooks for module in network.modules())


def test_layers_that_pass_spikes_on_and_values_between_0_and_1_are_no_neurons() -> None:
    class Half(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return values / 2

    network = nn.Sequential(nn.Flatten(2), nn.MaxPool1d(2), nn.Identity(), Surrogate(), Half())
    with Meter(network) as meter:
        network(FRAMES)
    assert list(meter.spikes()) == ["3"]


def test_wrapped_pooling_and_what_returns_its_input_are_no_neurons() -> None:
    class Off(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return values

    network = nn.Sequential(Surrogate(), snn.PerStep(nn.MaxPool2d(2)), Off())
    with Meter(network) as meter:
        network(FRAMES)
    assert meter.spikes() == {"0": int(FRAMES.sum())}


class Recurrent(nn.Module):
    """Neurons that hold the connections from each of them to all."""

    def __init__(self) -> None:
        super().__init__()
        self.back = nn.Linear(84, 84)

    def forward(self, frames: Tensor) -> Tensor:
        spikes, every = torch.zeros(2, 84), []
        for step in frames.flatten(2):
            spikes = (step + self.back(spikes) > 0.5).to(step.dtype)
            every.append(spikes)
        return torch.stack(every)


def test_recurrent_neurons_count_with_their_connections_and_blocks_by_the_neurons_within() -> None:
    torch.manual_seed(0)
    block = nn.Module()
    block.forward = lambda frames: block.node_lif(block.rlif(frames))  # type: ignore[method-assign]
    block.rlif, block.node_lif = Recurrent(), Node()
    network = nn.Sequential(block)
    with Meter(network) as meter:
        spikes = network(FRAMES)
    # What the node gets is 0 or 1, and it fires for 1. The last spikes lead nowhere.
    assert meter.spikes() == {"0.rlif": int(spikes.sum()), "0.node": int(spikes.sum())}
    assert meter.operations() == int(spikes[:-1].sum()) * 84


def test_sltunes_layers_count_what_reaches_them_by_another_way() -> None:
    """Two sums of spikes, as in a residual network: values of 0, 1 and 2, of which those above 0 drive 4 × 9 each."""
    lif, conv = snn.LIF(), snn.Conv(2, 4)
    with Meter(nn.ModuleList([lif, conv])) as meter:
        spikes = lif(FRAMES)
        conv(spikes + spikes.roll(1, 0))
    assert meter.operations() == int(((spikes + spikes.roll(1, 0)) > 0).sum()) * 36
    assert meter.spikes() == {"0": int(spikes.sum())}


def test_spikes_that_were_written_to_after_they_were_counted_are_counted_anew() -> None:
    lif, dense = snn.LIF(), snn.Dense(84, 5)
    with Meter(nn.ModuleList([lif, dense])) as meter:
        spikes = lif(FRAMES.flatten(2))
        spikes += 1
        dense(input=spikes)
    assert meter.operations() == FRAMES.numel() * 5


def test_sltunes_layers_count_spikes_before_pooling_and_no_borders() -> None:
    network = snn.Sequential(snn.LIFPool(), nn.Flatten(2), snn.Dropout(0.5), snn.Dense(18, 5)).eval()
    with Meter(network) as meter:
        network(FRAMES)
    assert meter.spikes() == {"0": int(FRAMES.sum())}
    assert meter.operations() == int(FRAMES.sum()) * 5
