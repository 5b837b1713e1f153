"""Convolutions of sparse images, and pooling by the maximum: torch's gradients around the loops of the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sltune.snn.cpu.arrays import array, rows
from sltune.snn.cpu.kernels import convolution, pool
from sltune.snn.cpu.stage import MAX_PARTS, planes_of, taps_of, vectors_of, weight_of
from sltune.snn.cpu.threads import share
from sltune.snn.neurons.images import channels_last, new_images


class SparseConvolution(torch.autograd.Function):
    """A 3×3 convolution of images (T, B, P, H, W), which get no gradient, with a padding of 0 or 1."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.padding = padding
        steps, batch, _, height, width = images.shape
        sides = height - 2 + 2 * padding, width - 2 + 2 * padding
        currents = new_images((steps, batch, len(bias), *sides), images.dtype)
        planes, depth = planes_of(images)
        arrays = (planes.reshape(-1, *planes.shape[2:]), depth, padding, taps_of(weight), array(bias))
        share(
            convolution.convolution_forward, steps * batch, *arrays, rows(currents.flatten(0, 1)),
            vectors_of(len(bias)),
        )  # fmt: skip
        return currents

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        images, weight = ctx.saved_tensors
        channels, planes, depth = len(weight), *planes_of(images)
        folded, grads = planes.reshape(-1, *planes.shape[2:]), rows(channels_last(grad).flatten(0, 1))
        parts = min(MAX_PARTS, len(folded))
        grad_taps = np.zeros((parts, *taps_of(weight).shape), grads.dtype)
        grad_rows = np.zeros((parts, grads.shape[2]), grads.dtype)
        arrays = (folded, depth, ctx.padding, grads, grad_taps, grad_rows, vectors_of(channels))
        share(convolution.convolution_backward, parts, *arrays)
        grad_bias = torch.from_numpy(grad_rows.reshape(-1, channels).sum(0))
        return None, weight_of(grad_taps.sum(0), weight), grad_bias, None


class MaxPool(torch.autograd.Function):
    """Images (N, C, H, W) that have their channels last in memory become (N, C, H // 2, W // 2)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        ctx.save_for_backward(images)
        count, channels, height, width = images.shape
        pooled = new_images((count, channels, height // 2, width // 2), images.dtype)
        share(pool.max_pool_forward, count, rows(images), channels, rows(pooled))
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_pooled: Tensor) -> Tensor:
        (images,) = ctx.saved_tensors
        grad = torch.empty_like(images)
        arrays = rows(images), images.shape[1], rows(channels_last(grad_pooled)), rows(grad)
        share(pool.max_pool_backward, len(images), *arrays)
        return grad
