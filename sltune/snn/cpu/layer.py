"""Neurons and full connections on the CPU: torch's gradients around the loops of the kernels.

For the backward pass only a layer's input is kept; potentials and normalised currents are computed once more. As many
threads as torch uses share the work, and the result does not depend on their number. The state is carried without a
gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from sltune.snn.cpu.arrays import (
    Array,
    array,
    decay_gradient,
    decays_of_row,
    lines,
    numbers,
    outcome,
    rows,
    start,
    window,
)
from sltune.snn.cpu.kernels import neurons as loops
from sltune.snn.cpu.kernels import normed
from sltune.snn.cpu.kernels.dense import SIDES, VECTORS, multiply
from sltune.snn.cpu.kernels.vectors import LANES
from sltune.snn.cpu.threads import share
from sltune.snn.neurons.backend import Norm
from sltune.snn.neurons.images import channels_last, new_images
from sltune.snn.neurons.lif import LIFParameters, LIFState


class Neurons(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, neurons: LIFParameters, state: LIFState | None, decay: Tensor | None
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(current, decay)
        ctx.neurons, ctx.state = neurons, state
        potential, fired, begun = start(current[0], state)
        spikes = torch.empty_like(current)
        counts = np.zeros(_blocks(current), np.int64)
        arrays = (lines(current), lines(spikes), array(potential).reshape(-1), array(fired).reshape(-1), begun)
        decays = _decays(decay, current)
        share(loops.neurons_forward, len(counts), *arrays, numbers(neurons, current), decays, counts)
        return outcome(ctx, spikes, potential, fired, counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor, *_: Any) -> tuple[Tensor, None, None, Tensor | None]:
        current, decay = ctx.saved_tensors
        grad = torch.empty_like(current)
        potential, fired, begun = start(current[0], ctx.state)
        state = (array(potential).reshape(-1), array(fired).reshape(-1), begun)
        arrays = (lines(current), lines(grad_spikes.contiguous()), lines(grad), *state)
        lif = (numbers(ctx.neurons, current), window(ctx.neurons), _decays(decay, current))
        grad_decays = None if decay is None else np.zeros(arrays[0].shape[1], arrays[0].dtype)
        share(loops.neurons_backward, _blocks(current), *arrays, *lif, grad_decays)
        return grad, None, None, decay_gradient(grad_decays, current.shape[1], decay)


class PooledNeurons(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, neurons: LIFParameters, state: LIFState | None, decay: Tensor | None
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(current, decay)
        ctx.neurons, ctx.state = neurons, state
        steps, batch, channels, height, width = current.shape
        potential, fired, begun = start(current[0], state)
        pooled = new_images((steps, batch, channels, height // 2, width // 2), current.dtype)
        counts = np.zeros(batch * ((height + 1) // 2), np.int64)
        arrays = (rows(current), channels, rows(pooled), rows(potential), rows(fired), begun)
        decays = decays_of_row(decay, channels, width)
        share(loops.pooled_forward, len(counts), *arrays, numbers(neurons, current), decays, counts)
        return outcome(ctx, pooled, potential, fired, counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_pooled: Tensor, *_: Any) -> tuple[Tensor, None, None, Tensor | None]:
        current, decay = ctx.saved_tensors
        grad = torch.empty_like(current)
        _, batch, channels, height, width = current.shape
        blocks = batch * ((height + 1) // 2)
        potential, fired, begun = start(current[0], ctx.state)
        state = (rows(potential), rows(fired), begun)
        arrays = (rows(current), channels, rows(channels_last(grad_pooled)), rows(grad), *state)
        lif = (numbers(ctx.neurons, current), window(ctx.neurons), decays_of_row(decay, channels, width))
        grad_decays = None if decay is None else np.zeros((blocks, channels), arrays[0].dtype)
        share(loops.pooled_backward, blocks, *arrays, *lif, grad_decays)
        return grad, None, None, decay_gradient(grad_decays, blocks, decay)


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
        counts = np.zeros(_blocks_of_pixels(images), np.int64)
        arrays = (
            _flat(images),
            _tiled(scale, size),
            _tiled(shift, size),
            _flat(spikes),
            _line(potential),
            _line(fired),
        )
        decays = _decays_of_block(decay, images)
        share(normed.normed_forward, len(counts), *arrays, begun, numbers(neurons, images), decays, counts)
        results = outcome(ctx, spikes, potential, fired, counts)
        ctx.mark_non_differentiable(*results[1:], mean, var)
        return (*results, mean, var)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        images, weight, bias, decay, mean, var = ctx.saved_tensors
        norm, neurons, state = ctx.given
        scale, shift = _scale_and_shift(mean, var, weight, bias, norm.eps)
        grad, size, blocks, channels = (
            torch.empty_like(images),
            _size(images),
            _blocks_of_pixels(images),
            images.shape[2],
        )
        potential, fired, begun = start(images[0], state)
        sums, products = (np.zeros((blocks, channels), array(images).dtype) for _ in range(2))
        grad_decays = None if decay is None else np.zeros_like(sums)
        share(
            normed.normed_backward, blocks, _flat(images), *(_tiled(one, size) for one in (scale, shift, mean)),
            channels, _flat(channels_last(grad_spikes)), _flat(grad), _line(potential), _line(fired), begun,
            numbers(neurons, images), window(neurons), _decays_of_block(decay, images), grad_decays, sums, products,
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
    share(normed.gradient_by_images, _blocks_of_pixels(images), _flat(images), *values, _flat(grad))


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel, divided by the number of values, in the type of the images."""
    channels, size, blocks = images.shape[2], _size(images), _blocks_of_pixels(images)
    flat = _flat(images)
    means, squares = (np.empty((blocks, channels), flat.dtype) for _ in range(2))
    share(normed.moments, blocks, size, channels, flat, means, squares)
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
    """Return how many neurons make a block: whole pixels, about as many as normed.BLOCK."""
    channels = images.shape[2]
    return max(1, normed.BLOCK // channels) * channels


def _blocks_of_pixels(images: Tensor) -> int:
    return -(-images[0].numel() // _size(images))


def _flat(images: Tensor) -> Array:
    """Return images that have their channels last as they lie in memory, (T, neurons)."""
    return rows(images).reshape(len(images), -1)


def _line(images: Tensor) -> Array:
    return rows(images).reshape(-1)


def _tiled(values: Tensor, size: int) -> Array:
    """Return the values of each channel for every neuron of a block."""
    return np.tile(array(values.contiguous()), size // len(values))


def _decays_of_block(decay: Tensor | None, images: Tensor) -> Array | None:
    if decay is None:
        return None
    return _tiled(decay.detach().expand(images.shape[2], 1, 1).reshape(-1), _size(images))


class Connections(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spikes: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(spikes, weight)
        return functional.linear(spikes, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        spikes, weight = ctx.saved_tensors
        grad_spikes = product(grad, weight) if ctx.needs_input_grad[0] else None
        return grad_spikes, product(grad.t(), spikes), grad.sum(0)


def product(left: Tensor, right: Tensor) -> Tensor:
    """Return left · right, of shapes (rows, inner) and (inner, columns); fast for few rows and many columns."""
    result = torch.empty(len(left), right.shape[1], dtype=right.dtype)
    strips = -(-right.shape[1] // (len(VECTORS) * LANES))
    share(multiply, strips, array(left.contiguous()), array(right.contiguous()), array(result), SIDES, VECTORS)
    return result


def _decays(decay: Tensor | None, current: Tensor) -> Array | None:
    """Return the decay of each neuron, (B · C · ...,), for contiguous currents."""
    return None if decay is None else lines(decay.expand_as(current[:1]).contiguous())[0]


def _blocks(current: Tensor) -> int:
    return -(-current[0].numel() // loops.BLOCK)
