"""Layers of neurons on the CPU: torch's gradients around the compiled loops of kernels_cpu.py.

Nothing but the layer's input is kept for the backward pass, which computes the potentials once more. Work is shared by
as many threads as torch uses, and the outcome does not depend on how many these are. The state is carried without a
gradient, as in ``lif_layer``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from sltune.snn import kernels_cpu as kernels
from sltune.snn import kernels_cpu_stage as stages
from sltune.snn.kernels_cpu_stage import TAPS
from sltune.snn.lif import LIF, Fired, LIFState
from sltune.snn.surrogate import WINDOWS
from sltune.snn.vectors_cpu import LANES

DTYPES = (torch.float32, torch.float64)
PARTS_A_THREAD = 4
"""So many pieces has the work of a thread, since samples have more or fewer events."""

PARTS = 64
"""Blocks of a stage are added up in so many parts, whatever the number of threads."""

Array = NDArray[Any]


def lif(current: Tensor, neurons: LIF, state: LIFState | None = None) -> Fired:
    """Run neurons over time; as ``lif_layer`` of lif.py, for current of shape (T, B, ...)."""
    return _fired(_Neurons.apply(current.contiguous(), neurons, state))  # type: ignore[no-untyped-call]


def lif_pool(current: Tensor, neurons: LIF, state: LIFState | None = None) -> Fired:
    """Run neurons over time and average 2×2 of their spikes, for current of shape (T, B, C, H, W).

    What comes out, and the state, have their channels last in memory.
    """
    return _fired(_Pooled.apply(_channels_last(current), neurons, state))  # type: ignore[no-untyped-call]


def stage(images: Tensor, weight: Tensor, bias: Tensor, neurons: LIF, state: LIFState | None = None) -> Fired:
    """Convolve sparse images with 3×3 kernels, run neurons and average 2×2 of their spikes.

    No current is ever written, and zeros in the images cost nothing. Sums have another order than a convolution's, so
    a potential may round to the other side of the threshold.

    Args:
        images: shape (T, B, P, H, W).
        weight: shape (C, P, 3, 3).
        bias: shape (C,).
    """
    if not images.is_contiguous():
        images = _channels_last(images)
    return _fired(_Stage.apply(images, weight, bias, neurons, state))  # type: ignore[no-untyped-call]


class _Neurons(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, neurons: LIF, state: LIFState | None) -> tuple[Tensor, ...]:
        ctx.save_for_backward(current)
        ctx.neurons, ctx.state = neurons, state
        potential, fired = _start(current[0], state)
        spikes = torch.empty_like(current)
        counts = np.zeros(_blocks(current), np.int64)
        arrays = (_lines(current), _lines(spikes), _numpy(potential).reshape(-1), _numpy(fired).reshape(-1))
        share(kernels.neurons_forward, len(counts), *arrays, _numbers(neurons, current), counts)
        return _outcome(ctx, spikes, potential, fired, counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor, *_: Any) -> tuple[Tensor, None, None]:
        (current,) = ctx.saved_tensors
        grad = torch.empty_like(current)
        state = [_numpy(tensor).reshape(-1) for tensor in _start(current[0], ctx.state)]
        arrays = (_lines(current), _lines(grad_spikes.contiguous()), _lines(grad), *state)
        share(kernels.neurons_backward, _blocks(current), *arrays, _numbers(ctx.neurons, current), _kind(ctx.neurons))
        return grad, None, None


class _Pooled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, neurons: LIF, state: LIFState | None) -> tuple[Tensor, ...]:
        ctx.save_for_backward(current)
        ctx.neurons, ctx.state = neurons, state
        steps, batch, channels, height, width = current.shape
        potential, fired = _start(current[0], state)
        pooled = _images(current, (steps, batch, channels, height // 2, width // 2))
        counts = np.zeros(batch * ((height + 1) // 2), np.int64)
        arrays = (_rows(current), channels, _rows(pooled), _rows(potential), _rows(fired))
        share(kernels.pooled_forward, len(counts), *arrays, _numbers(neurons, current), counts)
        return _outcome(ctx, pooled, potential, fired, counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_pooled: Tensor, *_: Any) -> tuple[Tensor, None, None]:
        (current,) = ctx.saved_tensors
        grad = torch.empty_like(current)
        blocks = current.shape[1] * ((current.shape[3] + 1) // 2)
        state = map(_rows, _start(current[0], ctx.state))
        arrays = (_rows(current), current.shape[2], _rows(_channels_last(grad_pooled)), _rows(grad), *state)
        share(kernels.pooled_backward, blocks, *arrays, _numbers(ctx.neurons, current), _kind(ctx.neurons))
        return grad, None, None


class _Stage(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, neurons: LIF, state: LIFState | None
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(images, weight, bias)
        ctx.neurons, ctx.state = neurons, state
        steps, batch, _, height, width = images.shape
        potential, fired = _start(_images(images, (batch, len(bias), height - 2, width - 2)), state)
        pooled = _images(images, (steps, batch, len(bias), (height - 2) // 2, (width - 2) // 2))
        counts = np.zeros(batch * ((height - 1) // 2), np.int64)
        arrays = (*_planes(images), _taps(weight), _numpy(bias), _rows(pooled), _rows(potential), _rows(fired))
        share(stages.stage_forward, len(counts), *arrays, _numbers(neurons, images), counts, _vectors(len(bias)))
        return _outcome(ctx, pooled, potential, fired, counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_pooled: Tensor, *_: Any) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        images, weight, bias = ctx.saved_tensors
        steps, batch, _, height, width = images.shape
        shape = (batch, len(bias), height - 2, width - 2)
        taps, vectors = _taps(weight), _vectors(len(bias))
        parts = min(PARTS, batch * ((height - 1) // 2))
        grad_taps = np.zeros((parts, *taps.shape), taps.dtype)
        grad_ground = np.zeros((parts, (width - 1) * len(bias) + len(vectors) * LANES), taps.dtype)
        grad_current = _images(images, (steps if ctx.needs_input_grad[0] else 0, *shape))
        grads = (grad_taps, grad_ground, _rows(grad_current))
        arrays = (*_planes(images), taps, _numpy(bias), _rows(_channels_last(grad_pooled)), grads)
        state = map(_rows, _start(_images(images, shape), ctx.state))
        share(stages.stage_backward, parts, *arrays, *state, _numbers(ctx.neurons, images), _kind(ctx.neurons), vectors)
        grad_bias = grad_ground[:, 2 * len(bias) :][:, : (width - 2) * len(bias)].reshape(-1, len(bias)).sum(0)
        grad_images = _grad_images(images, weight, grad_current) if ctx.needs_input_grad[0] else None
        return grad_images, _weight(grad_taps.sum(0), weight), torch.from_numpy(grad_bias), None, None


def share(kernel: Callable[..., None], blocks: int, *arguments: Any) -> None:
    """Call kernel(first, last, *arguments) for pieces of all blocks, on as many threads as torch uses."""
    threads = min(torch.get_num_threads(), blocks)
    if threads == 1:
        kernel(0, blocks, *arguments)
        return
    bounds = np.linspace(0, blocks, min(blocks, PARTS_A_THREAD * threads) + 1).astype(int).tolist()
    pieces = pairwise(bounds)
    for future in [_threads(threads).submit(kernel, first, last, *arguments) for first, last in pieces]:
        future.result()


@functools.cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="lif")


def _start(like: Tensor, state: LIFState | None) -> tuple[Tensor, Tensor]:
    """Return potential and spikes to start from, in the layout of like; the kernels write to them."""
    potential, fired = torch.zeros_like(like), torch.zeros_like(like)
    if state is not None:
        potential.copy_(state.potential)
        fired.copy_(state.spikes)
    return potential, fired


def _outcome(ctx: Any, spikes: Tensor, potential: Tensor, fired: Tensor, counts: Array) -> tuple[Tensor, ...]:
    count = torch.tensor(int(counts.sum()))
    ctx.mark_non_differentiable(potential, fired, count)
    return spikes, potential, fired, count


def _fired(outcome: tuple[Tensor, ...]) -> Fired:
    spikes, potential, fired, count = outcome
    return Fired(spikes, LIFState(potential, fired), count)


def _numbers(neurons: LIF, like: Tensor) -> Array:
    """Return decay, threshold and width in the type in which everything is computed."""
    return np.array([neurons.decay, neurons.v_threshold, neurons.surrogate_width], _numpy(like).dtype)


def _kind(neurons: LIF) -> int:
    return list(WINDOWS).index(neurons.surrogate)


def _blocks(current: Tensor) -> int:
    return -(-current[0].numel() // kernels.BLOCK)


def _numpy(tensor: Tensor) -> Array:
    array: Array = tensor.detach().numpy()
    return array


def _lines(values: Tensor) -> Array:
    """Return contiguous values (T, ...) as (T, neurons)."""
    return _numpy(values).reshape(len(values), -1)


def _channels_last(images: Tensor) -> Tensor:
    """Return images (T, B, C, H, W) with their channels last in memory, the same ones where they are so."""
    return images.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)


def _images(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return new images (..., C, H, W), with their channels last in memory and of the type of another tensor."""
    *lead, channels, height, width = shape
    return like.new_empty((*lead, height, width, channels)).movedim(-1, -3)


def _rows(images: Tensor) -> Array:
    """Return images (..., C, H, W) with their channels last as they lie in memory, (..., H, W · C)."""
    return _numpy(images.movedim(-3, -1).flatten(-2))


def _planes(images: Tensor) -> tuple[Array, int]:
    """Return images (T, B, P, H, W) as (T, B, planes, H, line), and how many values of a line belong to a pixel."""
    steps, batch, channels, height, width = images.shape
    if images.is_contiguous():
        return _numpy(images), 1
    return _rows(images).reshape(steps, batch, 1, height, width * channels), channels


def _vectors(channels: int) -> tuple[int, ...]:
    """Return a tuple as long as there are vectors in what a value gives to three pixels of so many channels."""
    return (0,) * -(-TAPS * channels // LANES)


def _taps(weight: Tensor) -> Array:
    """Return weights (C, P, 3, 3) as (3, P · reach): columns in reverse, channels last, and zeros."""
    rows = weight.detach().flip(3).permute(2, 1, 3, 0).flatten(2)
    reach = len(_vectors(len(weight))) * LANES
    return _numpy(functional.pad(rows, (0, reach - rows.shape[2])).flatten(1))


def _weight(taps: Array, like: Tensor) -> Tensor:
    """Return what _taps made as weights (C, P, 3, 3) again."""
    channels, planes, height, width = like.shape
    rows = torch.from_numpy(taps).view(height, planes, -1)[:, :, : width * channels]
    return rows.view(height, planes, width, channels).permute(3, 1, 0, 2).flip(3).contiguous()


def _grad_images(images: Tensor, weight: Tensor, grad_current: Tensor) -> Tensor:
    """Return the gradient by images (T, B, P, H, W): the transposed convolution of the gradient by current."""
    channels, planes = weight.shape[:2]
    vectors = _vectors(planes)
    rows = functional.pad(weight.detach().permute(2, 0, 3, 1).flatten(2), (0, len(vectors) * LANES - TAPS * planes))
    grad = _images(images, tuple(images.shape))
    arrays = (_rows(grad_current.flatten(0, 1)), channels, _numpy(rows.flatten(1)), _rows(grad.flatten(0, 1)), (0,) * 4, vectors)
    share(stages.stage_inputs, len(arrays[0]), *arrays)
    return grad
