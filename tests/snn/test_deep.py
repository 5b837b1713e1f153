"""Deep networks against plain torch, and their options."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sltune.errors import SltuneError
from sltune.runs.record import TrialKey
from sltune.settings.space import parse_space
from sltune.snn.deep import sew, vgg
from sltune.snn.network import NetworkOptions
from sltune.snn.neurons.lif import LIFParameters
from sltune.tuning.trial.job import Job

FRAME = (2, 16, 24)
NEURON = LIFParameters(0.4, 0.6, "rectangular", 1.0)


class Spike(torch.autograd.Function):
    """A step forward, a rectangular window of width 1 backward."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor) -> Tensor:
        ctx.save_for_backward(distance)
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (distance,) = ctx.saved_tensors
        return gradient * (distance.abs() < 0.5)


def spikes_over_time(current: Tensor, decay: float | Tensor) -> Tensor:
    """LIF neurons with a rectangular window of width 1, step by step."""
    potential, spike, spikes = torch.zeros_like(current[0]), torch.zeros_like(current[0]), []
    for now in current:
        potential = decay * potential * (1 - spike) + now
        spike = Spike.apply(potential - NEURON.v_threshold)
        spikes.append(spike)
    return torch.stack(spikes)


def plain(network: nn.Module, frames: Tensor, residual: bool, pool: str) -> Tensor:
    """What a deep network returns in training, from its weights, by torch's own functions."""
    weights = dict(network.named_parameters())
    pooling = functional.max_pool2d if pool == "max" else functional.avg_pool2d

    def spiking(name: str, images: Tensor) -> Tensor:
        own = {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}
        current = functional.conv2d(images.flatten(0, 1), own["conv.weight"], own["conv.bias"], padding=1)
        scale = NEURON.v_threshold * own["norm.weight"]
        current = functional.batch_norm(current, None, None, scale, own["norm.bias"], training=True)
        decay: Any = torch.sigmoid(own["lif.decay_logit"]) if "lif.decay_logit" in own else NEURON.decay
        decay = decay[:, None, None] if isinstance(decay, Tensor) and decay.dim() else decay
        return spikes_over_time(current.unflatten(0, images.shape[:2]), decay)

    def pooled(images: Tensor) -> Tensor:
        return pooling(images.flatten(0, 1), 2).unflatten(0, images.shape[:2])

    spikes = pooled(spiking("stem", frames))
    for number in range(sum(name.endswith("first.conv.weight") for name in weights)):
        outputs = spiking(f"blocks.{number}.second", spiking(f"blocks.{number}.first", spikes))
        spikes = pooled(spikes + outputs if residual else outputs)
    return functional.linear(spikes.flatten(2), weights["fc.weight"], weights["fc.bias"])


@pytest.mark.parametrize(("make", "residual"), [(sew, True), (vgg, False)])
@pytest.mark.parametrize("pool", ["max", "average"])
@pytest.mark.parametrize("learn_decay", ["", "layer", "channel"])
def test_outputs_and_gradients_are_those_of_plain_torch(make: Any, residual: bool, pool: str, learn_decay: str) -> None:
    torch.manual_seed(0)
    options = NetworkOptions(NEURON)
    network = make(FRAME, 3, options, width=4, blocks=2, pool=pool, learn_decay=learn_decay)
    frames = (torch.rand(5, 3, *FRAME) < 0.2).float()
    outputs, expected = network(frames), plain(network, frames, residual, pool)
    assert float(expected.detach().abs().max()) > 0
    torch.testing.assert_close(outputs, expected, rtol=1e-4, atol=1e-5)
    weighting = torch.linspace(0.1, 1, outputs.numel()).view_as(outputs)
    found = torch.autograd.grad((outputs * weighting).sum(), list(network.parameters()))
    wanted = torch.autograd.grad((expected * weighting).sum(), list(network.parameters()))
    for name, one, other in zip(dict(network.named_parameters()), found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-4, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(
    ("side", "blocks", "features"), [(128, 5, 4), (64, 4, 4), (34, 3, 4), (16, 2, 4), (8, 1, 4), (5, 1, 1), (4, 1, 1)]
)
def test_images_are_halved_until_two_pixels_are_left(side: int, blocks: int, features: int) -> None:
    network = sew((2, side, side), 10, width=8)
    assert (len(network.blocks), network.fc.in_features) == (blocks, 8 * features)
    assert network(torch.zeros(1, 1, 2, side, side)).shape == (1, 1, 10)


def test_a_network_of_the_default_width_has_a_hundred_thousand_parameters() -> None:
    """Ten convolutions of 32 maps by 32, the stem of 2 by 32, normalisation, and 128 inputs for 19 classes."""
    count = sum(parameter.numel() for parameter in sew((2, 128, 128), 19).parameters())
    assert count == 10 * (32 * 32 * 9 + 32) + (32 * 2 * 9 + 32) + 11 * 2 * 32 + 19 * (128 + 1)


def test_a_long_sample_is_run_in_stretches_as_if_at_once() -> None:
    torch.manual_seed(0)
    network = sew(FRAME, 3, width=4).eval()
    frames = (torch.rand(9, 2, *FRAME) < 0.2).float()
    first, state = network.run(frames[:4])
    second, _ = network.run(frames[4:], state)
    torch.testing.assert_close(torch.cat([first, second]), network(frames))


def network_of(text: str, **options: int) -> nn.Module:
    sampled = {f"network.options.{name}": value for name, value in options.items()}
    configuration = parse_space(text, "space").configuration(sampled)
    return Job(TrialKey("c0000", 0, 0), configuration, (16, 16), 3).network()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("width = 0", "network.options.width must be a whole number from 1 to 4096, but got 0"),
        ("width = true", "network.options.width must be a whole number from 1 to 4096, but got True"),
        ('pool = "mean"', "network.options.pool must be one of 'max', 'average', but got 'mean'"),
        ("blocks = 4", "frames of 16x16 pixels cannot be halved 5 times; use fewer blocks"),
        ("depth = 3", 'network.options.depth: "sew" takes no option but network.options.width, network.options.blocks'),
    ],
)
def test_what_it_does_not_take_is_refused(text: str, reason: str) -> None:
    with pytest.raises(SltuneError, match=re.escape(reason)):
        network_of(f'[network]\nname = "sew"\n[network.options]\n{text}')


@pytest.mark.parametrize("setting", ['norm = "tdbn"', 'init = "stbp"'])
def test_settings_without_an_effect_on_it_are_refused(setting: str) -> None:
    with pytest.raises(SltuneError, match=r"leave (norm|init)"):
        parse_space(f'[network]\nname = "sew"\n{setting}', "space")


def test_a_space_file_chooses_and_searches_its_options() -> None:
    options = 'width = { choices = [4, 8] }\nlearn_decay = "channel"'
    network = network_of(f'[network]\nname = "sew"\n[network.options]\n{options}\n[search]\ntrials = 2', width=8)
    assert network.get_parameter("blocks.0.first.lif.decay_logit").shape == (8,)
