"""Layers as modules: neurons by hand, learned decay, and samples in stretches of time."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from sltune import snn
from sltune.errors import UsageError
from sltune.snn.stretches import run_stretch
from tests.snn.drawing import draw

FRAMES = (torch.rand(12, 3, 2, 10, 11, generator=torch.Generator().manual_seed(0)) < 0.3).double()


class Residual(snn.Network):
    """Two paths, and one module of neurons that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = snn.Conv(2, 4, padding=1), snn.Conv(4, 4, padding=1)
        self.neurons = snn.LIF(decay=0.9)
        self.end = nn.Sequential(snn.Conv(4, 3), snn.LIFPool(0.2, 0.8), nn.Flatten(2), snn.Dense(48, 5), snn.LIF())

    def forward(self, frames: Tensor) -> Tensor:
        spikes = self.neurons(self.conv1(frames))
        outputs: Tensor = self.end(spikes + self.neurons(self.conv2(spikes)))
        return outputs


def lively(network: nn.Module) -> nn.Module:
    """Return a network in float64 of which the weights are three times as large, so that all its neurons fire."""
    for parameter in network.parameters():
        parameter.data.mul_(3)
    return network.double()


def test_neurons_integrate_leak_and_reset() -> None:
    # 0.25; 0.125 + 0.25; 0.1875 + 0.5 fires; from 0 again: 0.25; 0.125 + 0.625 fires.
    current = torch.tensor([0.25, 0.25, 0.5, 0.25, 0.625]).view(5, 1, 1)
    lif = snn.LIF(v_threshold=0.5, decay=0.5)
    assert lif(current).flatten().tolist() == [0, 0, 1, 0, 1]
    assert lif.count is not None
    assert (int(lif.count.spikes), lif.count.possible) == (2, 5)
    assert lif(current).flatten().tolist() == [0, 0, 1, 0, 1], "nothing is left of the first call"


def test_pooling_neurons_average_2_by_2_and_count_those_that_are_left_out() -> None:
    current = torch.zeros(1, 1, 1, 3, 3)
    current[0, 0, 0, 0, 0] = current[0, 0, 0, 2, 2] = 1
    lif = snn.LIFPool()
    assert lif(current).tolist() == [[[[[0.25]]]]]
    assert lif.count is not None
    assert (int(lif.count.spikes), lif.count.possible) == (2, 9)


@pytest.mark.parametrize("learn_decay", ["layer", "channel"])
@pytest.mark.parametrize("pool", [False, True])
def test_a_learned_decay_has_the_gradient_of_the_equation(learn_decay: str, pool: bool) -> None:
    """Against a loop that torch differentiates; the decay is the sigmoid of the parameter."""
    channels = 3 if learn_decay == "channel" else None
    lif = (snn.LIFPool if pool else snn.LIF)(0.5, 0.7, learn_decay=learn_decay, channels=channels).double()  # type: ignore[arg-type]
    assert lif.learned_decay is not None
    assert lif.learned_decay.shape == (() if channels is None else (3,))
    torch.testing.assert_close(lif.learned_decay, torch.full_like(lif.learned_decay, 0.7), rtol=1e-6, atol=0)
    current = draw([9, 2, 3, 4, 4], torch.float64, 0)
    weights = draw([9, 2, 3, 4, 4], torch.float64, 1)[..., : 2 if pool else 4, : 2 if pool else 4]
    logit = lif.decay_logit
    assert logit is not None
    (gradient,) = torch.autograd.grad((lif(current) * weights).sum(), logit)
    other = logit.detach().clone().requires_grad_()
    potential = spikes = torch.zeros_like(current[0])
    total = torch.zeros(()).double()
    for step, weight in zip(current, weights, strict=True):
        potential = other.sigmoid().view(-1, 1, 1) * potential * (1 - spikes) + step
        # The window of width 0.5, as the slope of a straight line through the spike.
        slope = ((potential - 0.5).abs() < 0.25).double() / 0.5
        spikes = (potential > 0.5).double() + slope.detach() * (potential - potential.detach())
        shown = nn.functional.avg_pool2d(spikes, 2) if pool else spikes
        total = total + (shown * weight).sum()
    (expected,) = torch.autograd.grad(total, other)
    assert expected.abs().min() > 1e-3
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)


def test_only_a_learned_decay_is_a_parameter() -> None:
    assert dict(snn.LIF().named_parameters()) == {}
    assert list(snn.LIF(learn_decay="layer").state_dict()) == ["decay_logit"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learn_decay": "neuron"}, 'learn_decay must be False, "layer" or "channel", but got \'neuron\''),
        ({"learn_decay": "channel"}, 'channels must be given for learn_decay = "channel" alone, but got None'),
        ({"learn_decay": "layer", "channels": 3}, "channels must be given for .* but got 3"),
        ({"learn_decay": "layer", "decay": 1.0}, "must start between 0 and 1, but got 1.0"),
        ({"surrogate": "step"}, "surrogate must be one of rectangular, polynomial, sigmoid, gaussian, but got 'step'"),
    ],
)
def test_settings_that_make_no_neurons_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        snn.LIF(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("stretch", [1, 5, 12])
def test_stretches_of_time_equal_one_piece(stretch: int) -> None:
    torch.manual_seed(0)
    network = lively(Residual())
    assert isinstance(network, Residual)
    with torch.no_grad():
        whole = network(FRAMES)
        parts, state = [], None
        for frames in FRAMES.split(stretch):
            outputs, state = network.run(frames, state)
            parts.append(outputs)
        assert torch.equal(torch.cat(parts), whole)
        assert not torch.equal(torch.cat([network(frames) for frames in FRAMES.split(5)]), whole)
    assert whole.mean() > 0.01


def test_a_network_that_calls_its_neurons_once_a_step_cannot_be_run_in_stretches() -> None:
    class Loop(snn.LIF):
        def forward(self, frames: Tensor) -> Tensor:
            return torch.cat([super(Loop, self).forward(step) for step in frames.split(1)])

    _, state = run_stretch(Loop(), FRAMES[:4].flatten(2), None)
    with pytest.raises(UsageError, match="neurons 3 times in one stretch of time and 4 times in the one before"):
        run_stretch(Loop(), FRAMES[4:7].flatten(2), state)


@pytest.mark.parametrize("size", [(10, 11), (5, 4)])
def test_sequential_computes_the_same_whether_layers_share_a_kernel_or_not(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layers = OrderedDict(conv=snn.Conv(2, 5), lif=snn.LIFPool(0.1), flatten=nn.Flatten(2))
    mine, plain = snn.Sequential(layers).double(), nn.Sequential(layers).double()
    frames = FRAMES[..., : size[0], : size[1]]
    weight = layers["conv"].weight
    results = []
    for network in (mine, plain):
        spikes = network(frames)
        results.append((spikes, torch.autograd.grad(spikes.square().sum(), weight)[0]))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])
    assert results[0][0].mean() > 0.01


@pytest.mark.parametrize("conv", [snn.Conv(2, 5, 5), snn.Conv(2, 5, padding=1), snn.Conv(2, 5, 1)])
def test_convolutions_without_a_kernel_of_their_own_are_torchs(conv: snn.Conv) -> None:
    conv = conv.double()
    plain = nn.functional.conv2d(FRAMES.flatten(0, 1), conv.weight, conv.bias, padding=conv.padding)
    expected = snn.LIFPool(0.1)(plain.view(12, 3, *plain.shape[1:]))
    assert torch.equal(snn.Sequential(conv, snn.LIFPool(0.1))(FRAMES), expected)


def test_layers_of_torch_see_time_as_part_of_the_batch() -> None:
    norm = nn.BatchNorm2d(2).double()
    normalised = snn.PerStep(norm)(FRAMES)
    assert normalised.shape == FRAMES.shape
    torch.testing.assert_close(normalised.mean((0, 1, 3, 4)), torch.zeros(2).double(), rtol=0, atol=1e-9)
    pooled = snn.PerStep(nn.MaxPool2d(2))(FRAMES)
    assert torch.equal(pooled[7], nn.functional.max_pool2d(FRAMES[7], 2))


def test_dropout_drops_the_same_values_at_all_time_steps() -> None:
    torch.manual_seed(0)
    dropout = snn.Dropout(0.25)
    dropped = dropout(torch.ones(6, 2, 500))
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))
    assert dropped.unique().tolist() == [0, pytest.approx(4 / 3)]
    assert float((dropped == 0).float().mean()) == pytest.approx(0.25, abs=0.05)
    assert dropout.eval()(FRAMES) is FRAMES


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (
            snn.LIFPool(),
            (5, 2, 3, 1, 4),
            r"LIFPool takes \(T, B, C, H, W\), with H and W of at least 2, but got \(5, 2, 3, 1, 4\)",
        ),
        (snn.LIFPool(), (5, 2, 3), "LIFPool takes .* but got"),
        (snn.Conv(2, 3), (5, 2, 8, 8), r"Conv takes \(T, B, C, H, W\), but got \(5, 2, 8, 8\)"),
        (snn.Sequential(snn.Conv(2, 3), snn.LIFPool()), (5, 2, 8, 8), r"Conv takes"),
        (snn.Dense(4, 2), (5, 2, 1, 2, 2), r"Dense takes \(T, B, features\), such as nn.Flatten\(2\) makes of images"),
        (snn.LIF(learn_decay="channel", channels=3), (5, 2, 4), r"decay must have shape .*, but got \(3,\)"),
    ],
)
def test_inputs_of_another_shape_are_refused(layer: nn.Module, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer(torch.zeros(shape))
