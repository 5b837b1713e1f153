"""The networks as they were before they were made of sltune's layers, for comparison: one class for all four."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltune.snn.backends import backend_of
from sltune.snn.neurons.lif import Fired, LIFParameters, LIFState

POLARITIES = 2


@dataclass(frozen=True)
class Layer:
    """One layer of spiking neurons. units: channels after a 3×3 convolution, or units after full connections."""

    name: str
    units: int
    convolution: bool = False
    pool: bool = False


ARCHITECTURES: Mapping[str, tuple[Layer, ...]] = {
    "slanimals": (
        Layer("conv1", 20, convolution=True, pool=True),
        Layer("conv2", 50, convolution=True, pool=True),
        Layer("fc1", 200),
    ),
    "nmnist-cnn": (
        Layer("conv1", 20, convolution=True, pool=True),
        Layer("conv2", 50, convolution=True, pool=True),
        Layer("fc1", 400),
    ),
    "nmnist-mlp": (Layer("fc1", 400), Layer("fc2", 400)),
    "nmnist-mlp2": (Layer("fc1", 512),),
}
"""Hidden layers; the last one, to the classes, follows."""


@dataclass(frozen=True)
class NetworkOptions:
    """norm: "none" or "tdbn". init: "torch" or "stbp". dropout acts on the input of the first full connections."""

    norm: str = "none"
    dropout: float = 0.0
    init: str = "torch"


@dataclass(frozen=True)
class Simulation:
    """What a network did over some time steps.

    output: spikes of the last layer, shape (T, B, classes). state: that of each layer after the last step.
    activity: the number of spikes over all steps and samples, per layer and for "input"; empty unless asked for.
    """

    output: Tensor
    state: list[LIFState]
    activity: dict[str, Tensor] = field(default_factory=dict)


class ThresholdBatchNorm(nn.BatchNorm2d):
    """tdBN: normalise over time, batch, height and width per channel, × v_threshold, then affine.

    Zheng et al. 2020 (arXiv 2011.05280), with α = 1 for layers in series. Time must be folded into the batch.
    """

    def __init__(self, channels: int, v_threshold: float) -> None:
        super().__init__(channels)
        self.v_threshold = v_threshold

    def forward(self, input: Tensor) -> Tensor:
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return functional.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.v_threshold * self.weight,
            self.bias,
            self.training,
            self.momentum or 0.0,
            self.eps,
        )


class SpikingNetwork(nn.Module):
    """A feed-forward network of LIF layers.

    Takes frames of shape (T, B, P, H, W), where P is the polarity, and returns firing rates of shape (B, classes).
    Parameters are named conv1.weight, fc1.bias and so on, as layers in the order of ARCHITECTURES.

    neurons: the number of neurons in each layer, and of values in a frame, as "input".

    Args:
        input_size: (height, width) of the frames.

    Raises:
        ValueError: the architecture is unknown or the frames are too small for its convolutions.
    """

    def __init__(
        self,
        architecture: str,
        input_size: tuple[int, int],
        classes: int,
        lif: LIFParameters,
        options: NetworkOptions = NetworkOptions(),
    ) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise ValueError(f"architecture must be one of {', '.join(ARCHITECTURES)}, but got {architecture!r}")
        hidden = ARCHITECTURES[architecture]
        self.layers = (*hidden, Layer(f"fc{len([layer for layer in hidden if not layer.convolution]) + 1}", classes))
        self.lif = lif
        self.dropout = options.dropout
        shape: tuple[int, ...] = (POLARITIES, *input_size)
        self.neurons = {"input": math.prod(shape)}
        for layer in self.layers:
            shape = self._add(layer, shape, options)

    def forward(self, frames: Tensor) -> Tensor:
        return self.simulate(frames).output.mean(0)

    def simulate(
        self,
        frames: Tensor,
        state: Sequence[LIFState] | None = None,
        count_spikes: bool = False,
    ) -> Simulation:
        """Run over frames of shape (T, B, P, H, W), starting from the state that an earlier stretch of time left."""
        spikes = frames
        states: list[LIFState] = []
        activity = {"input": torch.count_nonzero(frames)} if count_spikes else {}
        for index, layer in enumerate(self.layers):
            fired = self._fire(layer, spikes, state[index] if state else None)
            spikes = fired.spikes
            states.append(fired.state)
            if count_spikes:
                activity[layer.name] = fired.spike_count
        return Simulation(spikes, states, activity)

    def fan_out(self) -> dict[str, int]:
        """Return how many synapses a spike of each layer, and of the input, drives; borders are not deducted."""
        sources = ["input", *(layer.name for layer in self.layers)]
        targets = {
            source: layer.units * (9 if layer.convolution else 1)
            for source, layer in zip(sources, self.layers, strict=False)
        }
        return {**targets, self.layers[-1].name: 0}

    def _fire(self, layer: Layer, spikes: Tensor, state: LIFState | None) -> Fired:
        """Run a layer: synapses, neurons and pooling, in one stage where the backend has one and it is faster."""
        backend = backend_of(spikes)
        is_stage = layer.pool and f"{layer.name}_norm" not in self._modules
        # In bfloat16 a stage is faster only for the sparsest convolution, which is that of the frames.
        is_fast = layer is self.layers[0] or not torch.is_autocast_enabled(spikes.device.type)
        if is_stage and is_fast and backend.prefers_stage(spikes):
            return backend.stage(spikes, *self._weights(layer), self.lif, state)
        current = self._current(layer, spikes)
        # The current may be of another type than the spikes before it, and so for another backend.
        backend = backend_of(current)
        return (backend.pooled_layer if layer.pool else backend.layer)(current, self.lif, state)

    def _current(self, layer: Layer, spikes: Tensor) -> Tensor:
        """Return the input current of a layer; time goes into the batch, since synapses have no memory."""
        if layer.convolution:
            convolve, norm = self.get_submodule(layer.name), self._modules.get(f"{layer.name}_norm")
            if spikes.device.type == "cpu":
                # This makes convolutions three times as fast, and the neurons' kernels need no other layout.
                spikes = _fold_time(spikes, lambda image: image.contiguous(memory_format=torch.channels_last))
            current = _fold_time(spikes, lambda image: norm(convolve(image)) if norm else convolve(image))
        else:
            if spikes.dim() > 3:
                spikes = self._drop_out(spikes.flatten(2))
            current = _fold_time(spikes, lambda values: backend_of(values).dense(values, *self._weights(layer)))
        # Autocast may leave bfloat16, in which potentials drift and spikes are counted only up to 256.
        return current.float() if current.dtype == torch.bfloat16 else current

    def _weights(self, layer: Layer) -> tuple[nn.Parameter, nn.Parameter]:
        return self.get_parameter(f"{layer.name}.weight"), self.get_parameter(f"{layer.name}.bias")

    def _drop_out(self, spikes: Tensor) -> Tensor:
        if not self.training or self.dropout == 0:
            return spikes
        # One mask for all time steps: a fresh one each step would average out over the sample.
        return spikes * functional.dropout(torch.ones_like(spikes[0]), self.dropout)

    def _add(self, layer: Layer, shape: tuple[int, ...], options: NetworkOptions) -> tuple[int, ...]:
        """Make a layer's synapses and return the shape of its output."""
        if not layer.convolution:
            synapses = nn.Linear(math.prod(shape), layer.units)
            if options.init == "stbp":
                _initialise_stbp(synapses.weight)
            self.add_module(layer.name, synapses)
            self.neurons[layer.name] = layer.units
            return (layer.units,)
        channels, height, width = shape
        if min(height, width) < 4:
            raise ValueError(f"frames are too small for {layer.name}: {height}x{width} pixels reach it, 4x4 are needed")
        self.add_module(layer.name, nn.Conv2d(channels, layer.units, 3))
        if options.norm == "tdbn":
            self.add_module(f"{layer.name}_norm", ThresholdBatchNorm(layer.units, self.lif.v_threshold))
        self.neurons[layer.name] = layer.units * (height - 2) * (width - 2)
        return (layer.units, (height - 2) // 2, (width - 2) // 2)


def _fold_time(values: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function of (N, ...) to values of shape (T, B, ...)."""
    result = function(values.flatten(0, 1))
    return result.reshape(*values.shape[:2], *result.shape[1:])


def _initialise_stbp(weight: Tensor) -> None:
    """Draw uniformly from [−1, 1] and divide each row by its L2 norm (Wu et al. 2018, section 2.3)."""
    with torch.no_grad():
        weight.uniform_(-1, 1)
        weight.div_(weight.norm(dim=1, keepdim=True))
