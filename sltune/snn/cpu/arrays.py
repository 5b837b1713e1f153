"""Torch's tensors as the arrays that compiled kernels take, and the neurons' state."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sltune.snn.neurons.images import channels_last
from sltune.snn.neurons.lif import Fired, LIFParameters, LIFState
from sltune.snn.neurons.surrogate import WINDOWS

Array = NDArray[Any]


def start(like: Tensor, state: LIFState | None) -> tuple[Tensor, Tensor, bool]:
    """Return potential and spikes in the layout of like, for kernels to write to, and whether they hold a state."""
    potential, fired = torch.empty_like(like), torch.empty_like(like)
    if state is not None:
        potential.copy_(state.potential)
        fired.copy_(state.spikes)
    return potential, fired, state is not None


def outcome(ctx: Any, spikes: Tensor, potential: Tensor, fired: Tensor, counts: Array) -> tuple[Tensor, ...]:
    """Return what a forward pass returns, as ``fired_of`` reads it."""
    count = torch.tensor(int(counts.sum()))
    ctx.mark_non_differentiable(potential, fired, count)
    return spikes, potential, fired, count


def fired_of(results: tuple[Tensor, ...]) -> Fired:
    spikes, potential, fired, count = results
    return Fired(spikes, LIFState(potential, fired), count)


def numbers(neurons: LIFParameters, like: Tensor) -> Array:
    """Return decay, threshold and width in the type of like, in which the kernels compute."""
    return np.array([neurons.decay, neurons.v_threshold, neurons.surrogate_width], array(like).dtype)


def decays_of_row(decay: Tensor | None, channels: int, width: int) -> Array | None:
    """Return the decay of each neuron in a row, (W · C,), for images that have their channels last."""
    return None if decay is None else rows(channels_last(decay.expand(channels, 1, width)))[0]


def decay_gradient(parts: Array | None, count: int, decay: Tensor | None) -> Tensor | None:
    """Return the gradient by a decay from those of some parts of the neurons; None for no decay.

    parts: (count, C, values of a channel), in any shape. Numpy sums on one thread, and so always in the same order.
    """
    if parts is None or decay is None:
        return None
    channels = decay.numel()
    sums = parts.reshape(count, channels, parts.size // max(1, count * channels)).sum((0, 2), dtype=np.float64)
    return torch.from_numpy(sums).to(decay.dtype).view(decay.shape)


def window(neurons: LIFParameters) -> int:
    """Return the number by which kernels know the surrogate."""
    return list(WINDOWS).index(str(neurons.surrogate))


def array(tensor: Tensor) -> Array:
    values: Array = tensor.detach().numpy()
    return values


def lines(values: Tensor) -> Array:
    """Return contiguous values (T, ...) as (T, neurons)."""
    return array(values.view(len(values), values[:1].numel()))


def rows(images: Tensor) -> Array:
    """Return images (..., C, H, W) that have their channels last as they lie in memory, (..., H, W · C)."""
    *lead, channels, height, width = images.shape
    # A view, never a copy: kernels write to it.
    return array(images.movedim(-3, -1).view(*lead, height, width * channels))
