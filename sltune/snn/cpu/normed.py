"""Neurons behind batch normalisation on the CPU: torch's gradients around the loops of kernels_normed.py.

Kept for the backward pass are the images before normalisation; the normalised currents and the potentials are computed
once more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sltune.snn.cpu import kernels_normed
from sltune.snn.cpu.arrays import Array, array, decay_gradient, numbers, outcome, rows, start, window
from sltune.snn.cpu.kernels import BLOCK
from sltune.snn.cpu.threads import share
from sltune.snn.neurons.backend import Norm
from sltune.snn.neurons.images import channels_last
from sltune.snn.neurons.lif import LIFParameters, LIFState

Given = tuple[Norm, LIFParameters, LIFState | None]


class NormedNeurons(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, decay: Tensor | None, given: Given
    ) -> tuple[Tensor, ...]:
        norm, neurons, state = given
        mean, var = _moments(images) if norm.mean is None or norm.var is None else (norm.mean, norm.var)
        scale, shift = _scale_and_shift(mean, var, weight, bias, norm.eps)
        ctx.save_for_backward(images, weight, bias, decay, mean, var)
        ctx.given = given
        spikes = torch.empty_like(images)
        potential, fired, begun = start(images[0], state)
        size = _size(images)
        counts = np.zeros(_blocks(images), np.int64)
        arrays = (
            _flat(images),
            _tiled(scale, size),
            _tiled(shift, size),
            _flat(spikes),
            _line(potential),
            _line(fired),
        )
        decays = _decays(decay, images)
        share(kernels_normed.normed_forward, len(counts), *arrays, begun, numbers(neurons, images), decays, counts)
        results = outcome(ctx, spikes, potential, fired, counts)
        ctx.mark_non_differentiable(*results[1:], mean, var)
        return (*results, mean, var)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        images, weight, bias, decay, mean, var = ctx.saved_tensors
        norm, neurons, state = ctx.given
        scale, shift = _scale_and_shift(mean, var, weight, bias, norm.eps)
        grad, size, blocks, channels = torch.empty_like(images), _size(images), _blocks(images), images.shape[2]
        potential, fired, begun = start(images[0], state)
        sums, products = (np.zeros((blocks, channels), array(images).dtype) for _ in range(2))
        grad_decays = None if decay is None else np.zeros_like(sums)
        share(
            kernels_normed.normed_backward, blocks, _flat(images), *(_tiled(one, size) for one in (scale, shift, mean)),
            channels, _flat(channels_last(grad_spikes)), _flat(grad), _line(potential), _line(fired), begun,
            numbers(neurons, images), window(neurons), _decays(decay, images), grad_decays, sums, products,
        )  # fmt: skip
        of_bias, by_distance = (torch.from_numpy(part.sum(0, dtype=np.float64)) for part in (sums, products))
        deviation = (var.double() + norm.eps).sqrt()
        of_weight = by_distance / deviation
        if norm.mean is None:
            _through_statistics(images, grad, scale, mean, of_bias, of_weight / deviation)
        else:
            grad *= scale[:, None, None]
        of_decay = decay_gradient(grad_decays, blocks, decay)
        return grad, of_weight.to(weight.dtype), of_bias.to(bias.dtype), of_decay, None


def _through_statistics(
    images: Tensor, grad: Tensor, scale: Tensor, mean: Tensor, sums: Tensor, slopes: Tensor
) -> None:
    """Turn the gradient by normalised currents into that by images, of whose mean and variance it takes account."""
    count = images.numel() // images.shape[2]
    slope = -scale.double() * slopes / count
    shift = -scale.double() * sums / count - slope * mean.double()
    values = (_tiled(one.to(images.dtype), _size(images)) for one in (scale, slope, shift))
    share(kernels_normed.gradient_by_images, _blocks(images), _flat(images), *values, _flat(grad))


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel, divided by the number of values, in the type of the images."""
    channels, size, blocks = images.shape[2], _size(images), _blocks(images)
    flat = _flat(images)
    means, squares = (np.empty((blocks, channels), flat.dtype) for _ in range(2))
    share(kernels_normed.moments, blocks, size, channels, flat, means, squares)
    # The last block may be smaller.
    ends = np.minimum(np.arange(1, blocks + 1) * size, flat.shape[1])
    counts = len(flat) * (np.diff(ends, prepend=0) // channels)[:, None].astype(np.float64)
    mean = (counts * means).sum(0) / counts.sum()
    var = (squares.sum(0, dtype=np.float64) + (counts * (means - mean) ** 2).sum(0)) / counts.sum()
    return torch.from_numpy(mean).to(images.dtype), torch.from_numpy(var).to(images.dtype)


def _scale_and_shift(mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    scale = weight.detach() / (var + eps).sqrt()
    return scale, bias.detach() - scale * mean


def _size(images: Tensor) -> int:
    """Return how many neurons make a block: whole pixels, about as many as BLOCK."""
    channels = images.shape[2]
    return max(1, BLOCK // channels) * channels


def _blocks(images: Tensor) -> int:
    return -(-images[0].numel() // _size(images))


def _flat(images: Tensor) -> Array:
    """Return images that have their channels last as they lie in memory, (T, neurons)."""
    return rows(images).reshape(len(images), -1)


def _line(images: Tensor) -> Array:
    return rows(images).reshape(-1)


def _tiled(values: Tensor, size: int) -> Array:
    """Return the values of each channel for every neuron of a block."""
    return np.tile(array(values.contiguous()), size // len(values))


def _decays(decay: Tensor | None, images: Tensor) -> Array | None:
    if decay is None:
        return None
    return _tiled(decay.detach().expand(images.shape[2], 1, 1).reshape(-1), _size(images))
