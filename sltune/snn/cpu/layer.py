"""Neurons and full connections on the CPU: torch's gradients around the loops of kernels.py and kernels_dense.py.

For the backward pass only a layer's input is kept, and the potentials are computed once more. As many threads as torch
uses share the work, and the result does not depend on their number. The state is carried without a gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from sltune.snn.cpu import kernels
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
from sltune.snn.cpu.kernels_dense import SIDES, VECTORS, multiply
from sltune.snn.cpu.threads import share
from sltune.snn.cpu.vectors import LANES
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
        share(kernels.neurons_forward, len(counts), *arrays, numbers(neurons, current), decays, counts)
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
        share(kernels.neurons_backward, _blocks(current), *arrays, *lif, grad_decays)
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
        share(kernels.pooled_forward, len(counts), *arrays, numbers(neurons, current), decays, counts)
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
        share(kernels.pooled_backward, blocks, *arrays, *lif, grad_decays)
        return grad, None, None, decay_gradient(grad_decays, blocks, decay)


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
    return -(-current[0].numel() // kernels.BLOCK)
