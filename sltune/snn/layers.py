"""Layers to build networks of: all time steps go in at once, shape (T, B, ...), and come out at once.

Neurons and the convolutions before them run in compiled kernels where there are some for the device.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sltune.snn.backends import backend_of
from sltune.snn.neurons.backend import Norm
from sltune.snn.neurons.lif import Fired, LIFParameters
from sltune.snn.neurons.surrogate import Window
from sltune.snn.stretches import Network, fire_from_state


class SpikeCount(NamedTuple):
    """spikes: a tensor of one whole number. possible: as many as if each neuron had fired at every time step."""

    spikes: Tensor
    possible: int


class LIF(nn.Module):
    """Leaky integrate-and-fire neurons: input currents of shape (T, B, ...) in, spikes of the same shape out.

    u(t) = decay · u(t−1) · (1 − o(t−1)) + I(t), o(t) = [u(t) > v_threshold]. Neurons start at rest at every call.

    count: how often the neurons fired in the last call; None before.

    Args:
        surrogate: what stands in for the derivative of a spike: "rectangular", "polynomial", "sigmoid" or "gaussian",
            or a function of the distance to the threshold and the width, which no compiled kernel knows.
        learn_decay: False for one that is fixed; "layer" to learn one, or "channel" to learn one for each channel,
            starting from decay. It stays between 0 and 1, as the sigmoid of the parameter ``decay_logit``.
        channels: their number, C for currents of shape (T, B, C, ...); for "channel" alone.

    Raises:
        ValueError: the surrogate is unknown, or the decay cannot be learned.
    """

    def __init__(
        self,
        v_threshold: float = 0.3,
        decay: float = 0.3,
        surrogate: str | Window = "rectangular",
        surrogate_width: float = 0.5,
        learn_decay: Literal[False, "layer", "channel"] = False,
        channels: int | None = None,
    ) -> None:
        super().__init__()
        self.neuron = LIFParameters(v_threshold, decay, surrogate, surrogate_width)
        self.count: SpikeCount | None = None
        self.decay_logit = nn.Parameter(_logits(decay, learn_decay, channels)) if learn_decay else None

    @property
    def learned_decay(self) -> Tensor | None:
        """The decay, of shape () or (channels,), where it is learned."""
        return None if self.decay_logit is None else torch.sigmoid(self.decay_logit)

    def forward(self, current: Tensor, norm: ThresholdBatchNorm | None = None) -> Tensor:
        """Run neurons; with a normalisation, for what it makes of ``current``, which is never written."""
        current = _precise(current)
        backend, decay = backend_of(current, self.neuron), self.learned_decay
        if norm is not None:
            own = norm.now()
            normed = partial(backend.normed_layer, current, own, self.neuron, decay=decay)
            return self._counted(fire_from_state(lambda state: norm.took(own, *normed(state=state), current)), current)
        return self._counted(fire_from_state(lambda state: backend.layer(current, self.neuron, state, decay)), current)

    def _counted(self, fired: Fired, current: Tensor) -> Tensor:
        self.count = SpikeCount(fired.spike_count, len(current) * fired.state.potential.numel())
        return fired.spikes


class LIFPool(LIF):
    """LIF neurons, of which the spikes of 2×2 are averaged: (T, B, C, H, W) in, (T, B, C, H // 2, W // 2) out.

    The last row or column of an odd number is not pooled, but its neurons fire and are counted.
    """

    # Pooled neurons run in one kernel with a convolution, not with a normalisation.
    def forward(self, current: Tensor, convolution: Conv | None = None) -> Tensor:  # type: ignore[override]
        """Run neurons; with a convolution, for what it makes of ``current``, which then are its images."""
        if current.dim() != 5 or min(current.shape[3:]) < 2:
            # The kernels check nothing: with other shapes they would write to memory that is not theirs.
            raise _wrong_shape(self, current, "(T, B, C, H, W), with H and W of at least 2")
        if convolution is not None:
            stage, weights = backend_of(current).stage, (convolution.weight, convolution.bias)
            decay = self.learned_decay
            fired = fire_from_state(lambda state: stage(current, *weights, self.neuron, state, decay))
            return self._counted(fired, current)
        current = _precise(current)
        pooled_layer, decay = backend_of(current, self.neuron).pooled_layer, self.learned_decay
        return self._counted(fire_from_state(lambda state: pooled_layer(current, self.neuron, state, decay)), current)


class Conv(nn.Conv2d):
    """A two-dimensional convolution of every time step: (T, B, C, H, W) in and out."""

    bias: nn.Parameter

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, padding: int = 0) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=padding)

    @property
    def fan_out(self) -> int:
        """The number of connections that a spike drives; borders are not deducted."""
        return self.out_channels * math.prod(self.kernel_size)

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() != 5:
            raise _wrong_shape(self, input, "(T, B, C, H, W)")
        return backend_of(input).convolve(input, self.weight, self.bias, int(self.padding[0]))

    def suits_one_kernel(self, images: Tensor, neurons: nn.Module, is_first: bool) -> bool:
        """Say whether ``neurons(images, self)`` is possible and takes less time than ``neurons(self(images))``."""
        if not isinstance(neurons, LIFPool):
            return False
        if self.kernel_size != (3, 3) or self.padding != (0, 0) or images.dim() != 5 or min(images.shape[3:]) < 4:
            return False
        # In bfloat16 it takes less for the sparsest images only, which are the frames.
        is_fast = is_first or not torch.is_autocast_enabled(images.device.type)
        return is_fast and backend_of(images, neurons.neuron).prefers_stage(images)


class Dense(nn.Linear):
    """Full connections at every time step: (T, B, in_features) in, (T, B, out_features) out.

    Args:
        init: "torch" for weights as nn.Linear draws them; "stbp" for uniform ones in rows of L2 norm 1
            (Wu et al. 2018, section 2.3).
    """

    def __init__(self, in_features: int, out_features: int, init: str = "torch") -> None:
        super().__init__(in_features, out_features)
        if init == "stbp":
            with torch.no_grad():
                self.weight.uniform_(-1, 1)
                self.weight.div_(self.weight.norm(dim=1, keepdim=True))

    @property
    def fan_out(self) -> int:
        """The number of connections that a spike drives."""
        return self.out_features

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() != 3:
            raise _wrong_shape(self, input, "(T, B, features), such as nn.Flatten(2) makes of images")
        values = input.flatten(0, 1)
        return _unfolded(backend_of(values).dense(values, self.weight, self.bias), input)


class ThresholdBatchNorm(nn.BatchNorm2d):
    """tdBN of (T, B, C, H, W): normalise over all but the channels, × v_threshold, then affine.

    Zheng et al. 2020 (arXiv 2011.05280), with α = 1 for layers in series.
    """

    def __init__(self, channels: int, v_threshold: float = 0.3) -> None:
        super().__init__(channels)
        self.v_threshold = v_threshold

    def now(self) -> Norm:
        """Return what it does to the next values: with their own statistics in training, with those kept otherwise."""
        kept = (None, None) if self.training else (self.running_mean, self.running_var)
        return Norm(self.v_threshold * self.weight, self.bias, *kept, self.eps)

    def took(self, norm: Norm, fired: Fired, mean: Tensor, var: Tensor, images: Tensor) -> Fired:
        """Keep the statistics of images of shape (T, B, C, H, W) that neurons were given; return what they did."""
        if norm.mean is None and self.running_mean is not None and self.running_var is not None:
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
            count = images.numel() // images.shape[2]
            momentum = self._momentum()
            self.running_mean.lerp_(mean.to(self.running_mean), momentum)
            self.running_var.lerp_(var.to(self.running_var) * (count / max(1, count - 1)), momentum)
        return fired

    def forward(self, input: Tensor) -> Tensor:
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        normalised = functional.batch_norm(
            input.flatten(0, 1),
            self.running_mean,
            self.running_var,
            self.v_threshold * self.weight,
            self.bias,
            self.training,
            self._momentum(),
            self.eps,
        )
        return _unfolded(normalised, input)

    def _momentum(self) -> float:
        """Return the share of this batch in the statistics; without a momentum, every batch counts the same."""
        if self.momentum is not None:
            return self.momentum
        seen = 0 if self.num_batches_tracked is None else int(self.num_batches_tracked)
        return 1 / seen if seen else 0.0


class Dropout(nn.Dropout):
    """Dropout of (T, B, ...) with one mask for all time steps: a fresh one each step would average out over time."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return input
        return input * functional.dropout(input.new_ones(input.shape[1:]), self.p)


class MaxPool(nn.MaxPool2d):
    """The maximum of each 2×2 values: (T, B, C, H, W) in, (T, B, C, H // 2, W // 2) out.

    The last row or column of an odd number is left out.
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() != 5 or min(input.shape[3:]) < 2:
            # The kernels check nothing: with other shapes they would write to memory that is not theirs.
            raise _wrong_shape(self, input, "(T, B, C, H, W), with H and W of at least 2")
        images = input.flatten(0, 1)
        return _unfolded(backend_of(images).max_pool(images), input)


class PerStep(nn.Module):
    """Any layer without memory, such as nn.MaxPool2d: called once, with time as part of the batch, (T·B, ...)."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, input: Tensor) -> Tensor:
        return _unfolded(self.layer(input.flatten(0, 1)), input)


class Sequential(Network, nn.Sequential):
    """torch's Sequential of layers that look at each time step by itself, or at those before it.

    It can be run in stretches of time. A ``Conv`` and a ``LIFPool`` after it run in one kernel where that is faster.
    """

    def forward(self, input: Tensor) -> Tensor:
        layers = list(self)
        while layers:
            is_first = len(layers) == len(self)
            layer = layers.pop(0)
            if layers and isinstance(layer, Conv) and layer.suits_one_kernel(input, layers[0], is_first):
                input = layers.pop(0)(input, layer)
            else:
                input = layer(input)
        return input


def _unfolded(values: Tensor, like: Tensor) -> Tensor:
    """Return values of shape (T·B, ...) as (T, B, ...), with T and B of another tensor."""
    return values.reshape(*like.shape[:2], *values.shape[1:])


def _wrong_shape(layer: nn.Module, values: Tensor, wanted: str) -> ValueError:
    return ValueError(f"{type(layer).__name__} takes {wanted}, but got {tuple(values.shape)}")


def _precise(current: Tensor) -> Tensor:
    """Return currents of float32 for bfloat16, in which potentials drift and spikes are counted only up to 256."""
    return current.float() if current.dtype == torch.bfloat16 else current


def _logits(decay: float, learn_decay: str, channels: int | None) -> Tensor:
    """Return the parameter of which the sigmoid is the decay."""
    if learn_decay not in ("layer", "channel"):
        raise ValueError(f'learn_decay must be False, "layer" or "channel", but got {learn_decay!r}')
    if (channels is None) == (learn_decay == "channel"):
        raise ValueError(f'channels must be given for learn_decay = "channel" alone, but got {channels}')
    if not 0 < decay < 1:
        raise ValueError(f"a decay that is learned must start between 0 and 1, but got {decay}")
    return torch.full((channels,) if channels else (), math.log(decay / (1 - decay)))
