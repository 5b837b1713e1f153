"""Layers of neurons on NVIDIA GPUs: torch's gradients around the Triton kernels of kernels.py.

One kernel runs all time steps, forward or backward, if wanted with 2×2 average pooling. Potentials are float32 whatever
the current's type, and spikes are those of the reference for the same float32 current. Only the current is kept for the
backward pass, which computes the potentials once more; behind batch normalisation, which the same kernel does as it
reads, only the images. The state is carried without a gradient. Source: Wu et al. 2018
(Front. Neurosci. 12:331), eq. 10-12 and 24-27.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sltune.snn.cuda import kernels
from sltune.snn.neurons.backend import Norm
from sltune.snn.neurons.images import channels_last, new_images
from sltune.snn.neurons.lif import LIFParameters

# Kernels do few operations on each value, so the memory's bandwidth limits them, and wide, contiguous accesses matter
# most. With 4 warps, blocks of 512 neurons read 16 bytes of float32 a thread. Layers too small to keep every
# multiprocessor busy with such blocks are cut into smaller ones. 128 cells of 2×2 are again 4 neurons a thread. These
# numbers are reasoned, not yet measured.
BLOCK, SMALL_BLOCK, SMALL_LAYER = 512, 128, 2**18
CELLS = 128
COMPILATION = {
    "num_warps": 4,
    # A fused multiply-add rounds once where lif_step rounds twice, which would tip potentials near the threshold.
    "enable_fp_fusion": False,
}


@dataclass(frozen=True)
class Layout:
    """How a current of shape (T, B, ...) and its results lie in memory, and how programs share the neurons."""

    shape: torch.Size
    output_shape: torch.Size
    device: torch.device
    pool: bool
    channels_last: bool

    @classmethod
    def of(cls, current: Tensor, pool: bool) -> Layout:
        shape = current.shape
        output_shape = torch.Size((*shape[:3], shape[3] // 2, shape[4] // 2)) if pool else shape
        images = current.dim() == 5 and not current.is_contiguous()
        return cls(shape, output_shape, current.device, pool, images and current.movedim(-3, -1).is_contiguous())

    @property
    def block(self) -> int:
        """Neurons of a program, or its cells of 2×2."""
        if self.pool:
            return CELLS
        return BLOCK if self.shape[1:].numel() >= SMALL_LAYER else SMALL_BLOCK

    @property
    def programs(self) -> int:
        if not self.pool:
            return -(-self.shape[1:].numel() // self.block)
        _, batch, channels, height, width = self.shape
        cells = channels * ((height + 1) // 2) * ((width + 1) // 2)
        return batch * -(-cells // self.block)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Steps, values of current and output in a step, channels, height and width, in the kernels' order."""
        image = self.shape[2:] if len(self.shape) == 5 else (1, 1, 1)
        return self.shape[0], self.shape[1:].numel(), self.output_shape[1:].numel(), *image

    def decay_sizes(self, decay: Tensor | None) -> tuple[int, int]:
        """Return how many decays there are, and how many neurons of one channel lie side by side."""
        return 1 if decay is None else decay.numel(), self.channel_size

    @property
    def channels(self) -> int:
        """Those of images."""
        return self.shape[2]

    @property
    def channel_size(self) -> int:
        return 1 if self.channels_last else self.shape[3:].numel()

    @property
    def choices(self) -> dict[str, Any]:
        """What kernels are compiled for."""
        return {"POOL": self.pool, "CHANNELS_LAST": self.channels_last, "BLOCK": self.block, **COMPILATION}

    def empty(self, shape: torch.Size, dtype: torch.dtype = torch.float32) -> Tensor:
        if self.channels_last:
            return new_images(shape, dtype, self.device)
        return torch.empty(shape, dtype=dtype, device=self.device)

    def arrange(self, values: Tensor) -> Tensor:
        """Return values of shape ([T,] B, ...), copied if they have another layout in memory."""
        return channels_last(values) if self.channels_last else values.contiguous()

    def start(self, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor | None, Tensor | None]:
        """Return potential and spikes to start from, as kernels take them."""
        return (None, None) if state is None else (self.arrange(state[0].float()), self.arrange(state[1].float()))


@dataclass(frozen=True)
class Given:
    """What a layer of neurons is called with, besides what it is differentiated by."""

    neurons: LIFParameters
    state: tuple[Tensor, Tensor] | None
    layout: Layout
    norm: Norm | None = None


class TritonNeurons(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, decay: Tensor | None, given: Given) -> tuple[Tensor, ...]:
        ctx.save_for_backward(current, decay)
        ctx.given = given
        fired = fire(current, decay, None, given)
        ctx.mark_non_differentiable(*fired[1:])
        return fired

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        current, decay = ctx.saved_tensors
        return *gradients(current, decay, None, None, grad_spikes, ctx.given), None


class TritonNormedNeurons(torch.autograd.Function):
    """Neurons behind batch normalisation of images, which must be float32."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, decay: Tensor | None, given: Given
    ) -> tuple[Tensor, ...]:
        norm = given.norm
        assert norm is not None
        if norm.mean is None or norm.var is None:
            var, mean = torch.var_mean(images, (0, 1, 3, 4), correction=0)
        else:
            mean, var = norm.mean, norm.var
        deviation = (var + norm.eps).sqrt()
        norms = torch.stack([mean, weight / deviation, bias]).float()
        ctx.save_for_backward(images, decay, norms, deviation)
        ctx.given, ctx.is_fixed = given, norm.mean is not None
        fired = fire(images, decay, norms, given)
        ctx.mark_non_differentiable(*fired[1:], mean, var)
        return *fired, mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        images, decay, norms, deviation = ctx.saved_tensors
        layout: Layout = ctx.given.layout
        of_channels = layout.empty(torch.Size((2, *layout.shape[1:])))
        grad, of_decay = gradients(images, decay, norms, of_channels, grad_spikes, ctx.given)
        of_bias, by_distance = of_channels.sum((1, 3, 4))
        scale = norms[1]
        slope, shift = scale * by_distance / deviation**2, scale * of_bias
        # Where the statistics are those of the images, the images act through them, too.
        factors = torch.stack([slope, shift]) * (0 if ctx.is_fixed else -layout.channels / images.numel())
        with torch.cuda.device_of(images):  # type: ignore[no-untyped-call]
            kernels.through_statistics[(-(-images.numel() // BLOCK),)](
                images,
                grad,
                norms,
                factors,
                images.numel(),
                layout.channels,
                layout.channel_size,
                BLOCK=BLOCK,
                **COMPILATION,
            )
        return grad, by_distance / deviation, of_bias, of_decay, None


def fire(current: Tensor, decay: Tensor | None, norms: Tensor | None, given: Given) -> tuple[Tensor, ...]:
    """Return spikes, potentials and spikes after the last step, and the number of spikes of each program."""
    layout, neurons = given.layout, given.neurons
    spikes = layout.empty(layout.output_shape, current.dtype)
    potential, fired = (layout.empty(layout.shape[1:]) for _ in range(2))
    counts = torch.empty(layout.programs, dtype=torch.int32, device=layout.device)
    arrays = (current, spikes, *layout.start(given.state), potential, fired, counts, decay, norms)
    sizes = (*layout.sizes, *layout.decay_sizes(decay))
    with torch.cuda.device_of(current):  # type: ignore[no-untyped-call]
        kernels.lif_forward[(layout.programs,)](*arrays, *sizes, neurons.decay, neurons.v_threshold, **layout.choices)
    return spikes, potential, fired, counts


def gradients(
    current: Tensor,
    decay: Tensor | None,
    norms: Tensor | None,
    of_channels: Tensor | None,
    grad_spikes: Tensor,
    given: Given,
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients by the current, or by what norms make of it, and by the decay.

    of_channels: where to write what the gradients of each channel are sums of, (2, B, C, H, W).
    """
    layout, neurons = given.layout, given.neurons
    grad = layout.empty(layout.shape, current.dtype)
    # Potentials are float32, and so can wait in the gradient's place only if that is, too.
    scratch = grad if grad.dtype == torch.float32 else layout.empty(layout.shape)
    # Of each neuron, since a program's neurons may be of many channels.
    grad_decays = None if decay is None else layout.empty(layout.shape[1:])
    inputs = (current, layout.arrange(grad_spikes), scratch, grad, *layout.start(given.state))
    arrays = (*inputs, decay, grad_decays, norms, of_channels)
    sizes = (*layout.sizes, *layout.decay_sizes(decay))
    numbers = (neurons.decay, neurons.v_threshold, *_window_constants(neurons))
    with torch.cuda.device_of(current):  # type: ignore[no-untyped-call]
        kernels.lif_backward[(layout.programs,)](*arrays, *sizes, *numbers, WINDOW=neurons.surrogate, **layout.choices)
    return grad, None if grad_decays is None or decay is None else grad_decays.sum_to_size(decay.shape)


def _window_constants(neurons: LIFParameters) -> tuple[float, float]:
    """Return the numbers a and b of the window's formula in kernels.py."""
    width = neurons.surrogate_width
    return {
        "rectangular": (width / 2, 1 / width),
        "polynomial": (math.sqrt(width) / 2, width / 4),
        "sigmoid": (1 / width, 0.0),
        "gaussian": (1 / (2 * width), 1 / math.sqrt(2 * math.pi * width)),
    }[str(neurons.surrogate)]
