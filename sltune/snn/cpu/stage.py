"""Stages of convolutional layers on the CPU: torch's gradients around the compiled loops of kernels/stage.py.

As in layer.py, neither currents nor potentials are kept for the backward pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from sltune.snn.cpu.arrays import Array, array, decay_gradient, decays_of_row, numbers, outcome, rows, start, window
from sltune.snn.cpu.kernels import stage as stages
from sltune.snn.cpu.kernels.dense import SIDES, TAPS, spread
from sltune.snn.cpu.kernels.switches import is_on
from sltune.snn.cpu.kernels.vectors import HAS_WIDE_VECTORS, LANES
from sltune.snn.cpu.threads import share
from sltune.snn.neurons.images import channels_last, new_images
from sltune.snn.neurons.lif import LIFParameters, LIFState

MAX_PARTS = 64
"""Gradients by weights are summed in so many parts, so that the result does not depend on the number of threads."""


class Stage(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor,
        decay: Tensor | None,
        start_from: tuple[LIFParameters, LIFState | None],
    ) -> tuple[Tensor, ...]:
        neurons, state = start_from
        ctx.save_for_backward(images, weight, bias, decay)
        ctx.neurons, ctx.state = neurons, state
        steps, batch, _, height, width = images.shape
        potential, fired, begun = start(new_images((batch, len(bias), height - 2, width - 2), images.dtype), state)
        pooled = new_images((steps, batch, len(bias), (height - 2) // 2, (width - 2) // 2), images.dtype)
        counts = np.zeros(batch * ((height - 1) // 2), np.int64)
        arrays = (*planes_of(images), taps_of(weight), array(bias), rows(pooled), rows(potential), rows(fired), begun)
        lif = (numbers(neurons, images), decays_of_row(decay, len(bias), width - 2))
        share(stages.stage_forward, len(counts), *arrays, *lif, counts, vectors_of(len(bias)))
        return outcome(ctx, pooled, potential, fired, counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_pooled: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        images, weight, bias, decay = ctx.saved_tensors
        steps, batch, _, height, width = images.shape
        shape = (batch, len(bias), height - 2, width - 2)
        taps, vectors = taps_of(weight), vectors_of(len(bias))
        parts = min(MAX_PARTS, batch * ((height - 1) // 2))
        grad_taps = np.zeros((parts, *taps.shape), taps.dtype)
        grad_ground = np.zeros((parts, len(stages.ground_of(array(bias), width - 2, vectors))), taps.dtype)
        grad_current = new_images((steps if ctx.needs_input_grad[0] else 0, *shape), images.dtype)
        grad_decays = None if decay is None else np.zeros((parts, len(bias)), taps.dtype)
        grads = (grad_taps, grad_ground, rows(grad_current), grad_decays)
        arrays = (*planes_of(images), taps, array(bias), rows(channels_last(grad_pooled)), grads)
        potential, fired, begun = start(new_images(shape, images.dtype), ctx.state)
        neurons = (rows(potential), rows(fired), begun, numbers(ctx.neurons, images), window(ctx.neurons))
        decays = decays_of_row(decay, len(bias), width - 2)
        share(stages.stage_backward, parts, *arrays, *neurons, decays, vectors)
        inner = slice(stages.MARGIN * len(bias), (stages.MARGIN + width - 2) * len(bias))
        grad_bias = grad_ground[:, inner].reshape(-1, len(bias)).sum(0)
        grad_images = _grad_images(images, weight, grad_current) if ctx.needs_input_grad[0] else None
        grad_weight, grad_decay = weight_of(grad_taps.sum(0), weight), decay_gradient(grad_decays, parts, decay)
        return grad_images, grad_weight, torch.from_numpy(grad_bias), grad_decay, None


def planes_of(images: Tensor) -> tuple[Array, int]:
    """Return images (T, B, P, H, W) as (T, B, planes, H, line), and how many values of a line belong to a pixel."""
    steps, batch, channels, height, width = images.shape
    if images.is_contiguous():
        return array(images), 1
    return rows(images).reshape(steps, batch, 1, height, width * channels), channels


def vectors_of(channels: int) -> tuple[int, ...]:
    """Return a tuple as long as there are vectors in what a value gives to three pixels of so many channels."""
    return (0,) * -(-TAPS * channels // LANES)


def _padded(weights: Tensor, vectors: tuple[int, ...]) -> Array:
    """Return weights (3, inputs, values of three pixels) as (3, inputs · reach), with zeros up to whole vectors."""
    return array(functional.pad(weights, (0, len(vectors) * LANES - weights.shape[2])).flatten(1))


def taps_of(weight: Tensor) -> Array:
    """Return weights (C, P, 3, 3) as (3, P · reach): columns in reverse, channels last."""
    return _padded(weight.detach().flip(3).permute(2, 1, 3, 0).flatten(2), vectors_of(len(weight)))


def weight_of(taps: Array, like: Tensor) -> Tensor:
    """Return what taps_of made as weights (C, P, 3, 3) again."""
    channels, planes, height, width = like.shape
    values = torch.from_numpy(taps).view(height, planes, -1)[:, :, : width * channels]
    return values.view(height, planes, width, channels).permute(3, 1, 0, 2).flip(3).contiguous()


def _grad_images(images: Tensor, weight: Tensor, grad_current: Tensor) -> Tensor:
    """Return the gradient by images (T, B, P, H, W): a transposed convolution, which skips nothing since few are 0."""
    channels, planes = weight.shape[:2]
    folded, vectors = grad_current.flatten(0, 1), vectors_of(planes)
    if not (HAS_WIDE_VECTORS and is_on("image-gradient")):
        options = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1, [True, False, False])
        dense: Tensor = torch.ops.aten.convolution_backward(folded, images.flatten(0, 1), weight, None, *options)[0]
        return dense.view(images.shape)
    taps = _padded(weight.detach().permute(2, 0, 3, 1).flatten(2), vectors)
    grad = new_images(tuple(images.shape), images.dtype)
    share(spread, len(folded), rows(folded), channels, taps, rows(grad.flatten(0, 1)), SIDES, vectors)
    return grad
