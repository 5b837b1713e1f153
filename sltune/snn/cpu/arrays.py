"""Between torch's tensors and the compiled kernels of the CPU: arrays as they lie in memory, and the neurons' state."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sltune.snn.lif import LIF, Fired, LIFState
from sltune.snn.surrogate import WINDOWS

DTYPES = (torch.float32, torch.float64)
Array = NDArray[Any]


def start(like: Tensor, state: LIFState | None) -> tuple[Tensor, Tensor, bool]:
    """Return potential and spikes in the layout of like, to which kernels write, and whether they are a state."""
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


def numbers(neurons: LIF, like: Tensor) -> Array:
    """Return decay, threshold and width in the type in which everything is computed."""
    return np.array([neurons.decay, neurons.v_threshold, neurons.surrogate_width], array(like).dtype)


def window(neurons: LIF) -> int:
    """Return the number by which kernels know the surrogate."""
    return list(WINDOWS).index(neurons.surrogate)


def array(tensor: Tensor) -> Array:
    values: Array = tensor.detach().numpy()
    return values


def lines(values: Tensor) -> Array:
    """Return contiguous values (T, ...) as (T, neurons)."""
    return array(values.view(len(values), values[:1].numel()))


def channels_last(images: Tensor) -> Tensor:
    """Return images (T, B, C, H, W) with their channels last in memory, the same ones where they are so."""
    return images.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)


def new_images(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return new images (..., C, H, W), with their channels last in memory and of the type of another tensor."""
    *lead, channels, height, width = shape
    return like.new_empty((*lead, height, width, channels)).movedim(-1, -3)


def rows(images: Tensor) -> Array:
    """Return images (..., C, H, W) with their channels last as they lie in memory, (..., H, W · C)."""
    *lead, channels, height, width = images.shape
    # A view, never a copy: kernels write to it.
    return array(images.movedim(-3, -1).view(*lead, height, width * channels))
