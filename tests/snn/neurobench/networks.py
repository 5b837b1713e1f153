"""Small networks with weights and frames by formulas, so that they are the same on any machine."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sltune.snn.network import NetworkOptions
from sltune.snn.neurons.lif import LIFParameters
from tests.networks import DEEP, NETWORKS

SAMPLES, STEPS, SHAPE = 3, 7, (2, 12, 14)


def spread(count: int, stride: float = 0.6180339887) -> Tensor:
    """Return numbers that are spread evenly over 0 to 1, in an order that looks random."""
    return (torch.arange(1, count + 1, dtype=torch.float64) * stride) % 1


def frames() -> Tensor:
    """Return frames (T, B, P, H, W) of counts: mostly 0, some 1, and a few 2 in some time steps."""
    values = spread(STEPS * SAMPLES * 2 * 12 * 14).view(STEPS, SAMPLES, *SHAPE)
    counts = (values > 0.7).double() + (values > 0.98)
    counts[::2].clamp_(max=1)
    return counts


class Fires(nn.Module):
    """Neurons without memory: what is above 0.5 fires."""

    def forward(self, current: Tensor) -> Tensor:
        return (current > 0.5).to(current.dtype)


class Stepped(nn.Module):
    """A network of torch's own layers, called once a time step, with groups, strides, padding and pruned weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=2), Fires(),
            nn.Conv2d(6, 4, 3, padding=2, dilation=2, bias=False), Fires(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(4 * 3 * 6, 5),
        )  # fmt: skip

    def forward(self, frames: Tensor) -> Tensor:
        return torch.stack([self.layers(step) for step in frames])


def networks() -> dict[str, nn.Module]:
    """Return the networks that are built in, and one of torch's layers, in float64."""
    neuron = LIFParameters(v_threshold=0.3, decay=0.5)
    found: dict[str, nn.Module] = {"stepped": Stepped()}
    for norm in ("none", "tdbn"):
        for name, make in NETWORKS.items():
            if norm == "none" or "mlp" not in name:
                found[f"{name}, {norm}"] = make(SHAPE, 4, options=NetworkOptions(neuron, norm))
    for name, deep in DEEP.items():
        for pool in ("max", "average"):
            found[f"{name}, {pool}"] = deep(SHAPE, 4, options=NetworkOptions(neuron), width=4, blocks=2, pool=pool)
    for network in found.values():
        network.double().eval()
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if parameter.dim() == 1 and name.endswith("bias"):
                    parameter.fill_(0.02)
                elif parameter.dim() > 1:
                    size = 3 / parameter[0].numel() ** 0.5
                    parameter.copy_(size * (spread(parameter.numel(), 0.7548776662).view(parameter.shape) - 0.48))
                    parameter[parameter.abs() < size / 20] = 0
    return found
