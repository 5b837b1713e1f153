"""What benchmarks/stbp.py trains: the full-size SL-Animals network of each library, written for speed, and frames.

Each network takes frames of shape (T, B, P, H, W) and returns firing rates of shape (B, classes). Its parameters
come in the order of sltune's.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

CLASSES, SIDE = 19, 128
V_THRESHOLD, DECAY, WIDTH = 0.3, 0.3, 0.5


@dataclass(frozen=True)
class Peer:
    """One way to train the network.

    module: what must be importable. note: how its neurons differ from sltune's, and what was done for speed.
    environment: variables to set before the library is imported. compiles: its first step takes long, others don't.
    """

    name: str
    module: str
    build: Callable[[], nn.Module]
    note: str
    environment: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[str, ...] = ("cpu", "cuda")
    compiles: bool = False

    @property
    def is_importable(self) -> bool:
        return importlib.util.find_spec(self.module) is not None


def draw_frames(batch: int, steps: int) -> Tensor:
    """Return binary frames of five moving rims (ON before, OFF behind) a sample, and noise.

    They need neither pydantic nor Tonic, which GPU images lack, and are as dense and as clustered as the simulator's:
    `python benchmarks/stbp.py --density` prints both.
    """
    rng = np.random.default_rng(0)
    frames = rng.random((steps, batch, 2, SIDE, SIDE), dtype=np.float32) < 0.0025
    for sample in range(batch):
        for radius in (10, 16, 22, 28, 34):
            frames[:, sample] |= _moving_rim(rng, radius, steps)
    return torch.from_numpy(frames).float()


def _moving_rim(rng: np.random.Generator, radius: int, steps: int) -> NDArray[np.bool_]:
    """Return frames of shape (T, P, H, W) of a circle that sways around a place."""
    time = np.arange(steps)[:, None, None]
    centre, phase = rng.uniform(32, 96, 2), rng.uniform(0, 2 * np.pi, 2)
    pace = rng.uniform(0.1, 0.4, 2)
    place = np.arange(SIDE)
    row = place[:, None] - centre[0] - 15 * np.sin(pace[0] * time + phase[0])
    column = place - centre[1] - 15 * np.sin(pace[1] * time + phase[1])
    is_before = (
        row * pace[0] * np.cos(pace[0] * time + phase[0]) + column * pace[1] * np.cos(pace[1] * time + phase[1]) > 0
    )
    is_rim = (np.abs(np.hypot(row, column) - radius) < 1) & (rng.random((steps, SIDE, SIDE)) < 0.7)
    return np.stack([is_rim & is_before, is_rim & ~is_before], axis=1)


class Folded(nn.Sequential):
    """Layers without memory, applied to all time steps at once as one large batch."""

    def forward(self, values: Tensor) -> Tensor:
        result = super().forward(values.flatten(0, 1))
        return result.unflatten(0, values.shape[:2])


class Rates(nn.Module):
    """The network: the four stages of synapses, each followed by neurons, and the mean over time.

    Args:
        fold: makes of layers without memory one that takes values of shape (T, B, ...).
        neurons: makes a layer of neurons that maps currents of shape (T, B, ...) to spikes.
    """

    def __init__(self, fold: Callable[..., nn.Module], neurons: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            fold(nn.Conv2d(2, 20, 3)),
            neurons(),
            fold(nn.AvgPool2d(2), nn.Conv2d(20, 50, 3)),
            neurons(),
            fold(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(45_000, 200)),
            neurons(),
            fold(nn.Linear(200, CLASSES)),
            neurons(),
        )

    def forward(self, frames: Tensor) -> Tensor:
        rates: Tensor = self.stages(frames).mean(0)
        return rates


Build = Callable[[Callable[..., nn.Module], Callable[[], nn.Module]], nn.Module]
"""Makes a network of ``fold`` and ``neurons``, as ``Rates`` takes them."""


class RectangularSpike(torch.autograd.Function):
    """1 above the threshold, with the rectangular window as derivative."""

    @staticmethod
    def forward(ctx: Any, potential: Tensor) -> Tensor:
        ctx.save_for_backward(potential)
        return (potential > V_THRESHOLD).float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (potential,) = ctx.saved_tensors
        return grads[0] * ((potential - V_THRESHOLD).abs() < WIDTH / 2).float() / WIDTH


class StepByStep(nn.Module):
    """The predecessor's manner: time is the last axis, and each step is written into a tensor made beforehand.

    Autograd passes the gradient of the whole tensor through each of the T writes, so that backward takes T².
    """

    def __init__(self) -> None:
        super().__init__()
        front = [nn.Conv2d(2, 20, 3), nn.AvgPool2d(2), nn.Conv2d(20, 50, 3), nn.AvgPool2d(2), nn.Flatten()]
        self.stages = nn.ModuleList([*front, nn.Linear(45_000, 200), nn.Linear(200, CLASSES)])

    def forward(self, frames: Tensor) -> Tensor:
        values = frames.movedim(0, -1).contiguous()
        for stage in self.stages:
            values = self._at_each_step(stage, values)
            if isinstance(stage, nn.Conv2d | nn.Linear):
                values = self._fire(values)
        return values.sum(-1) / values.shape[-1]

    def _at_each_step(self, stage: nn.Module, values: Tensor) -> Tensor:
        steps = values.shape[-1]
        result = values.new_zeros(*stage(values[..., 0]).shape, steps)
        for step in range(steps):
            result[..., step] = stage(values[..., step])
        return result

    def _fire(self, current: Tensor) -> Tensor:
        spikes = torch.zeros_like(current)
        potential = torch.zeros_like(current[..., 0])
        for step in range(current.shape[-1]):
            potential = DECAY * potential * (1 - spikes[..., max(step - 1, 0)]) + current[..., step]
            spikes[..., step] = RectangularSpike.apply(potential)  # type: ignore[no-untyped-call]
        return spikes


def spikingjelly(window: str, compiled: bool = False, network: Build = Rates) -> nn.Module:
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    def neurons() -> nn.Module:
        lif = neuron.LIFNode(
            tau=1 / (1 - DECAY),
            decay_input=False,
            v_threshold=V_THRESHOLD,
            v_reset=0.0,
            surrogate_function=getattr(surrogate, window)(alpha=1 / WIDTH),
            step_mode="m",
        )
        return torch.compile(lif) if compiled else lif  # type: ignore[return-value]

    made = network(layer.SeqToANNContainer, neurons)
    made.register_forward_pre_hook(lambda module, _: functional.reset_net(module))
    return made


class Unrolled(nn.Module):
    """snnTorch's Leaky over all time steps."""

    def __init__(self, leaky: nn.Module) -> None:
        super().__init__()
        self.leaky = leaky

    def forward(self, current: Tensor) -> Tensor:
        potential, spikes = torch.zeros_like(current[0]), []
        for step in current:
            fired, potential = self.leaky(step, potential)
            spikes.append(fired)
        return torch.stack(spikes)


def snntorch(network: Build = Rates) -> nn.Module:
    from snntorch import Leaky, surrogate

    def window(potential: Tensor, grad: Tensor, _: Tensor) -> Tensor:
        return grad * (potential.abs() < WIDTH / 2).float() / WIDTH

    spike_grad = surrogate.custom_surrogate(window)

    def neurons() -> nn.Module:
        return Unrolled(Leaky(DECAY, threshold=V_THRESHOLD, spike_grad=spike_grad, reset_mechanism="zero"))

    return network(Folded, neurons)


class WithoutState(nn.Module):
    """Norse's layers return the state beside the spikes."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, current: Tensor) -> Tensor:
        spikes: Tensor = self.layer(current)[0]
        return spikes


def norse() -> nn.Module:
    from norse.torch.functional.lif_box import LIFBoxFeedForwardState, LIFBoxParameters, lif_box_feed_forward_step
    from norse.torch.module.snn import SNN

    # v' = v + k (I − v) is (1 − k) times our potential when k = 1 − decay, and so must the threshold be.
    gain = 1 - DECAY
    parameters = LIFBoxParameters(
        tau_mem_inv=torch.tensor(gain), v_th=torch.tensor(gain * V_THRESHOLD), method="triangle", alpha=1 / WIDTH
    )

    def neurons() -> nn.Module:
        rest = lambda current: LIFBoxFeedForwardState(v=torch.zeros_like(current[0]))  # noqa: E731
        return WithoutState(SNN(lif_box_feed_forward_step, rest, parameters, dt=1.0))

    return Rates(Folded, neurons)


def sltune_network() -> nn.Module:
    from sltune.snn.network import NetworkOptions, slanimals
    from sltune.snn.neurons.lif import LIFParameters

    neuron = LIFParameters(V_THRESHOLD, DECAY, "rectangular", WIDTH)
    return slanimals((2, SIDE, SIDE), CLASSES, options=NetworkOptions(neuron))


def channels_last(build: Callable[[], nn.Module]) -> nn.Module:
    return build().to(memory_format=torch.channels_last)


def sltune_peer(backend: str) -> Peer:
    """Return sltune itself, with a backend of its neurons; its own choice if empty.

    "numba:threads" is the backend with a part of snn/cpu switched off.
    """
    name, _, off = backend.partition(":")
    environment = {"SLTUNE_LIF_BACKEND": name or "auto", "SLTUNE_CPU_OFF": off}
    return Peer(f"sltune ({backend})" if backend else "sltune", "sltune", sltune_network, "this tree", environment)


OTHERS = (
    Peer("predecessor's manner", "torch", StepByStep, "each step written into a tensor made beforehand; time last"),
    Peer(
        "SpikingJelly, Rect",
        "spikingjelly",
        partial(spikingjelly, "Rect"),
        "multi-step LIFNode, hard reset, the same decay and window, fires at u = threshold too; time folded into the "
        "batch by SeqToANNContainer for all but the neurons, which run under autograd",
    ),
    Peer(
        "SpikingJelly, Rect, channels-last",
        "spikingjelly",
        partial(channels_last, partial(spikingjelly, "Rect")),
        "the same, convolutions in channels-last",
    ),
    Peer(
        "SpikingJelly, Rect, compiled",
        "spikingjelly",
        partial(spikingjelly, "Rect", compiled=True),
        "the same, each layer of neurons through torch.compile (inductor); compiling counts towards the limit of time",
        compiles=True,
    ),
    Peer(
        "SpikingJelly, operator",
        "spikingjelly",
        partial(spikingjelly, "PiecewiseQuadratic"),
        "its own operator with a written backward pass, on a GPU in CUDA or Triton as it chooses; it knows no "
        "rectangular window, so PiecewiseQuadratic of the same height and area",
    ),
    Peer(
        "SpikingJelly, operator in Triton",
        "spikingjelly",
        partial(spikingjelly, "PiecewiseQuadratic"),
        "the same, with Triton prescribed",
        {"SJ_LIF_CUDA_IMPLEMENTATION": "triton"},
        ("cuda",),
    ),
    Peer(
        "snnTorch",
        "snntorch",
        snntorch,
        "Leaky, reset to zero, the same decay and window, no gradient through the reset; time folded into the batch "
        "for all but the neurons",
    ),
    Peer("snnTorch, channels-last", "snntorch", partial(channels_last, snntorch), "the same, channels-last"),
    Peer(
        "Norse",
        "norse",
        norse,
        "lif_box_feed_forward_step in its SNN layer (it scales its input by 0.7, so the threshold is scaled too), "
        "triangle window since it has no rectangular one; time folded into the batch for all but the neurons",
    ),
)
