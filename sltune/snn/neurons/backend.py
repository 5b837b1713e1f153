"""What a backend offers to a network, and the reference backend, which needs nothing but torch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from sltune.snn.neurons.lif import Fired, LIFParameters, LIFState, lif_step


class Norm(NamedTuple):
    """Batch normalisation: weight · (x − mean) / √(var + eps) + bias, all of shape (C,).

    mean, var: None for those of the values themselves.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor | None
    var: Tensor | None
    eps: float


class Backend(Protocol):
    """What runs the layers of a network on one kind of device.

    A backend has its own ``layer`` and ``pooled_layer``. All else is optional: a backend inherits from this class what
    it has no kernel for, which is then done by torch. Gradients flow through all the time steps of a call, but not from
    one stretch of time into the one before it.
    """

    @abstractmethod
    def takes(self, dtype: torch.dtype) -> bool:
        """Say whether the backend computes with values of this type."""

    @abstractmethod
    def layer(
        self, current: Tensor, lif: LIFParameters, state: LIFState | None = None, decay: Tensor | None = None
    ) -> Fired:
        """Run neurons over all time steps.

        Args:
            current: input of shape (T, B, ...).
            state: where an earlier stretch of time ended; the neurons are at rest if None.
            decay: one that is learned, of shape () or (C,) for current of shape (T, B, C, ...); that of lif if None.
        """

    @abstractmethod
    def pooled_layer(
        self, current: Tensor, lif: LIFParameters, state: LIFState | None = None, decay: Tensor | None = None
    ) -> Fired:
        """Run neurons as ``layer`` does and average 2×2 of their spikes, for current of shape (T, B, C, H, W).

        The last row or column of an odd number is not pooled, but its neurons fire and their spikes count.
        """

    def normed_layer(
        self, images: Tensor, norm: Norm, lif: LIFParameters, state: LIFState | None = None, decay: Tensor | None = None
    ) -> tuple[Fired, Tensor, Tensor]:
        """Normalise images of shape (T, B, C, H, W) over all but the channels and run neurons as ``layer`` does.

        Returns:
            besides what ``layer`` returns, mean and variance of each channel, without gradients: those of norm, or of
            the images where it has none; the variance then divided by the number of values.
        """
        flat = images.flatten(0, 1)
        if norm.mean is None or norm.var is None:
            var, mean = torch.var_mean(flat.detach(), (0, 2, 3), correction=0)
            normed = functional.batch_norm(flat, None, None, norm.weight, norm.bias, training=True, eps=norm.eps)
        else:
            mean, var = norm.mean, norm.var
            normed = functional.batch_norm(flat, mean, var, norm.weight, norm.bias, eps=norm.eps)
        return self.layer(normed.view_as(images), lif, state, decay), mean, var

    def prefers_stage(self, images: Tensor) -> bool:
        """Say whether ``stage`` takes less time for such images than a convolution and ``pooled_layer``."""
        return False

    def stage(
        self,
        images: Tensor,
        weight: Tensor,
        bias: Tensor,
        lif: LIFParameters,
        state: LIFState | None = None,
        decay: Tensor | None = None,
    ) -> Fired:
        """Convolve images, run neurons and average 2×2 of their spikes.

        Args:
            images: shape (T, B, P, H, W), with H and W of at least 4.
            weight: shape (C, P, 3, 3).
            bias: shape (C,).
            state, decay: as in ``layer``.

        Returns:
            spikes of shape (T, B, C, (H − 2) // 2, (W − 2) // 2), and the state of shape (B, C, H − 2, W − 2).
        """
        current = functional.conv2d(images.flatten(0, 1), weight, bias)
        return self.pooled_layer(current.reshape(*images.shape[:2], *current.shape[1:]), lif, state, decay)

    def convolve(self, images: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        """Convolve images (T, B, P, H, W); returns (T, B, C, H', W').

        Args:
            weight: shape (C, P, rows, columns). bias: shape (C,). padding: rows and columns of zeros around each image.
        """
        folded = images.flatten(0, 1)
        if folded.device.type == "cpu":
            # This makes convolutions three times as fast, and the neurons' kernels need no other layout.
            folded = folded.contiguous(memory_format=torch.channels_last)
        currents = functional.conv2d(folded, weight, bias, padding=padding)
        return currents.reshape(*images.shape[:2], *currents.shape[1:])

    def max_pool(self, images: Tensor) -> Tensor:
        """Return the largest of each 2×2 values of finite images (N, C, H, W); a last odd row or column is left out."""
        return functional.max_pool2d(images, 2)

    def dense(self, spikes: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return spikes · weightᵀ + bias, of shape (N, units).

        Args:
            spikes: shape (N, inputs).
            weight: shape (units, inputs).
            bias: shape (units,).
        """
        return functional.linear(spikes, weight, bias)


class Reference(Backend):
    """Neurons step by step in plain torch, on any device: what every other backend is tested against."""

    def takes(self, dtype: torch.dtype) -> bool:
        return True

    def layer(
        self, current: Tensor, lif: LIFParameters, state: LIFState | None = None, decay: Tensor | None = None
    ) -> Fired:
        decay = decay_of_step(decay, current.shape, current.device, current.dtype)
        rest = torch.zeros_like(current[0])
        state = LIFState(rest, rest) if state is None else LIFState(state.potential.detach(), state.spikes.detach())
        spikes = []
        for step in current:
            state = lif_step(step, state, lif, decay)
            spikes.append(state.spikes)
        fired = torch.stack(spikes)
        return Fired(fired, LIFState(state.potential.detach(), state.spikes.detach()), torch.count_nonzero(fired))

    def pooled_layer(
        self, current: Tensor, lif: LIFParameters, state: LIFState | None = None, decay: Tensor | None = None
    ) -> Fired:
        fired = self.layer(current, lif, state, decay)
        pooled = functional.avg_pool2d(fired.spikes.flatten(0, 1), 2)
        return fired._replace(spikes=pooled.reshape(*fired.spikes.shape[:2], *pooled.shape[1:]))


def decay_of_step(
    decay: Tensor | None, shape: Sequence[int], device: torch.device, dtype: torch.dtype
) -> Tensor | None:
    """Return a learned decay in a shape that fits to a time step of currents of shape (T, B, C, ...); None for None.

    Raises:
        ValueError: its shape is neither () nor (C,).
    """
    if decay is None:
        return None
    channels = tuple(shape[2:3])
    if decay.shape not in ((), channels):
        given = tuple(decay.shape)
        raise ValueError(f"decay must have shape () or, with one of each channel, {channels}, but got {given}")
    return decay.to(device, dtype).contiguous().reshape(decay.shape + (1,) * (len(shape) - 3))


REFERENCE = Reference()
