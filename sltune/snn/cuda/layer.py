"""Layers of neurons on NVIDIA GPUs: torch's gradients around the Triton kernels of kernels_cuda.py.

One kernel runs all time steps, forward or backward, if wanted with 2×2 average pooling. Potentials are float32 whatever
the current's type, and spikes are those of the reference for the same float32 current. Nothing but the current is kept
for the backward pass, which computes the potentials once more. The state is carried without a gradient, as in
``lif_layer``. Source: Wu et al. 2018 (Front. Neurosci. 12:331), eq. 10-12 and 24-27.

Importing this module raises ImportError where Triton is not installed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sltune.snn.cuda import kernels
from sltune.snn.lif import LIF, Fired, LIFState, reference_layer, reference_pool_layer

DTYPES = (torch.float32, torch.bfloat16)

# Kernels do few operations on each value, so the memory's bandwidth bounds them, and wide, contiguous accesses are what
# matters. With 4 warps, blocks of 512 neurons read 16 bytes of float32 a thread. Layers too small to keep every
# multiprocessor busy with such blocks are spread thinner. 128 cells of 2×2 are again 4 neurons a thread. Reasoned, not
# yet measured.
BLOCK, SMALL_BLOCK, SMALL_LAYER = 512, 128, 2**18
CELLS = 128
COMPILATION = {
    "num_warps": 4,
    # A fused multiply-add rounds once where lif_step rounds twice, which would tip potentials near the threshold.
    "enable_fp_fusion": False,
}
INDEX_LIMIT = 2**31
"""Pooling kernels count a sample's neurons in 32 bits; offsets of samples and time steps have 64."""


def lif(current: Tensor, neurons: LIF, state: LIFState | None = None) -> Fired:
    """Run neurons over time; as ``lif_layer`` of lif.py.

    Types other than float32 and bfloat16, float64 among them, take the reference, at its speed.

    Args:
        current: shape (T, B, ...). One that is neither contiguous nor has its channels last is copied.
        state: shape (B, ...).

    Returns:
        spikes in the current's type and layout, the state in float32, the count as int64.

    Raises:
        ValueError: the state has not the shape of a time step of the current, or lies on another device.
    """
    if current.dtype not in DTYPES or current.numel() == 0:
        return reference_layer(current, neurons, state)
    return _run(current, neurons, state, pool=False)


def lif_pool(current: Tensor, neurons: LIF, state: LIFState | None = None) -> Fired:
    """Run neurons over time and average 2×2 of their spikes; otherwise as ``lif``.

    An odd last row or column is pooled nowhere, but its neurons live and their spikes count.

    Args:
        current: shape (T, B, C, H, W).

    Returns:
        as ``lif``, with spikes of shape (T, B, C, H // 2, W // 2), which are multiples of 1/4.

    Raises:
        ValueError: as ``lif``, or the current has another shape, or H or W is below 2.
    """
    if current.dim() != 5 or min(current.shape[3:]) < 2:
        shape = tuple(current.shape)
        raise ValueError(f"current must have shape (T, B, C, H, W) with H and W of at least 2, but got {shape}")
    if current.dtype not in DTYPES or current.numel() == 0 or current.shape[2:].numel() >= INDEX_LIMIT:
        return reference_pool_layer(current, neurons, state)
    return _run(current, neurons, state, pool=True)


def _run(current: Tensor, neurons: LIF, state: LIFState | None, pool: bool) -> Fired:
    start = None if state is None else (state.potential, state.spikes)
    for values in start or ():
        if values.shape != current.shape[1:] or values.device != current.device:
            given, wanted = ((tuple(of.shape), str(of.device)) for of in (values, current[0]))
            raise ValueError(f"the state must have the shape and device {wanted} of a time step, but got {given}")
    layout = _Layout.of(current, pool)
    outcome = _Neurons.apply(layout.arrange(current), neurons, start, layout)  # type: ignore[no-untyped-call]
    spikes, potential, fired, counts = outcome
    return Fired(spikes, LIFState(potential, fired), counts.sum())


@dataclass(frozen=True)
class _Layout:
    """How a current of shape (T, B, ...) and what comes of it lie in memory, and how programs share the neurons."""

    shape: torch.Size
    output_shape: torch.Size
    device: torch.device
    pool: bool
    channels_last: bool

    @classmethod
    def of(cls, current: Tensor, pool: bool) -> _Layout:
        shape = current.shape
        output_shape = torch.Size((*shape[:3], shape[3] // 2, shape[4] // 2)) if pool else shape
        images = current.dim() == 5 and not current.is_contiguous()
        return cls(shape, output_shape, current.device, pool, images and current.movedim(-3, -1).is_contiguous())

    @property
    def block(self) -> int:
        """Neurons, or cells of 2×2, of a program."""
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
        image = self.shape[2:] if self.pool else (1, 1, 1)
        return self.shape[0], self.shape[1:].numel(), self.output_shape[1:].numel(), *image

    @property
    def choices(self) -> dict[str, Any]:
        """What kernels are compiled for."""
        return {"POOL": self.pool, "CHANNELS_LAST": self.channels_last, "BLOCK": self.block, **COMPILATION}

    def empty(self, shape: torch.Size, dtype: torch.dtype = torch.float32) -> Tensor:
        if not self.channels_last:
            return torch.empty(shape, dtype=dtype, device=self.device)
        *lead, channels, height, width = shape
        return torch.empty((*lead, height, width, channels), dtype=dtype, device=self.device).movedim(-1, -3)

    def arrange(self, values: Tensor) -> Tensor:
        """Return values of shape ([T,] B, ...), copied if they lie otherwise than this layout."""
        if not self.channels_last:
            return values.contiguous()
        return values.movedim(-3, -1).contiguous().movedim(-1, -3)

    def start(self, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor | None, Tensor | None]:
        """Return potential and spikes to start from, as kernels take them."""
        return (None, None) if state is None else (self.arrange(state[0].float()), self.arrange(state[1].float()))


class _Neurons(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, current: Tensor, neurons: LIF, state: tuple[Tensor, Tensor] | None, layout: _Layout
    ) -> tuple[Tensor, ...]:
        start = layout.start(state)
        ctx.save_for_backward(current, *start)
        ctx.neurons, ctx.layout = neurons, layout
        spikes = layout.empty(layout.output_shape, current.dtype)
        potential, fired = (layout.empty(layout.shape[1:]) for _ in range(2))
        counts = torch.empty(layout.programs, dtype=torch.int32, device=layout.device)
        arrays = (current, spikes, *start, potential, fired, counts)
        with torch.cuda.device_of(current):  # type: ignore[no-untyped-call]
            kernels.lif_forward[(layout.programs,)](
                *arrays, *layout.sizes, neurons.decay, neurons.v_threshold, **layout.choices
            )
        ctx.mark_non_differentiable(potential, fired, counts)
        return spikes, potential, fired, counts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor, *_: Any) -> tuple[Tensor, None, None, None]:
        current, *start = ctx.saved_tensors
        layout: _Layout = ctx.layout
        neurons: LIF = ctx.neurons
        grad = layout.empty(layout.shape, current.dtype)
        # Potentials are float32, and so can wait in the gradient's place only if that is, too.
        scratch = grad if grad.dtype == torch.float32 else layout.empty(layout.shape)
        arrays = (current, layout.arrange(grad_spikes), scratch, grad, *start)
        numbers = (neurons.decay, neurons.v_threshold, *_window_constants(neurons))
        with torch.cuda.device_of(current):  # type: ignore[no-untyped-call]
            kernels.lif_backward[(layout.programs,)](
                *arrays, *layout.sizes, *numbers, WINDOW=neurons.surrogate, **layout.choices
            )
        return grad, None, None, None


def _window_constants(neurons: LIF) -> tuple[float, float]:
    """Return the numbers a and b of the window's formula in kernels_cuda.py."""
    width = neurons.surrogate_width
    return {
        "rectangular": (width / 2, 1 / width),
        "polynomial": (math.sqrt(width) / 2, width / 4),
        "sigmoid": (1 / width, 0.0),
        "gaussian": (1 / (2 * width), 1 / math.sqrt(2 * math.pi * width)),
    }[neurons.surrogate]
