"""The backend of NVIDIA GPUs. Importing this module raises ImportError where Triton is not installed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sltune.snn.cuda.layer import Given, Layout, TritonNeurons, TritonNormedNeurons
from sltune.snn.neurons.backend import REFERENCE, Backend, Norm, decay_of_step
from sltune.snn.neurons.lif import Fired, LIFParameters, LIFState

MAX_IMAGE_NEURONS = 2**31 - 1
"""Some kernels count a sample's neurons in 32 bits; offsets of samples and time steps have 64."""


class TritonBackend(Backend):
    """Layers on a GPU; types other than float32 and bfloat16, and empty currents, take the reference."""

    def takes(self, dtype: torch.dtype) -> bool:
        return dtype in (torch.float32, torch.bfloat16)

    def layer(
        self, current: Tensor, lif: LIFParameters, state: LIFState | None = None, decay: Tensor | None = None
    ) -> Fired:
        """Run neurons; spikes have the current's type and layout, the state is float32.

        Raises:
            ValueError: the state has not the shape of a time step of the current, or lies on another device.
        """
        if not self.takes(current.dtype) or current.numel() == 0:
            return REFERENCE.layer(current, lif, state, decay)
        return _run(current, lif, state, decay, pool=False)

    def pooled_layer(
        self, current: Tensor, lif: LIFParameters, state: LIFState | None = None, decay: Tensor | None = None
    ) -> Fired:
        """Run neurons and average 2×2 of their spikes.

        Raises:
            ValueError: as ``layer``, or the current is not (T, B, C, H, W), or H or W is below 2.
        """
        if current.dim() != 5 or min(current.shape[3:]) < 2:
            shape = tuple(current.shape)
            raise ValueError(f"current must have shape (T, B, C, H, W) with H and W of at least 2, but got {shape}")
        is_too_large = current.shape[2:].numel() > MAX_IMAGE_NEURONS
        if not self.takes(current.dtype) or current.numel() == 0 or is_too_large:
            return REFERENCE.pooled_layer(current, lif, state, decay)
        return _run(current, lif, state, decay, pool=True)

    def normed_layer(
        self, images: Tensor, norm: Norm, lif: LIFParameters, state: LIFState | None = None, decay: Tensor | None = None
    ) -> tuple[Fired, Tensor, Tensor]:
        """Normalise images of float32 and run neurons in one kernel; torch normalises those of other types.

        Raises:
            ValueError: as ``layer``.
        """
        is_too_large = images.shape[2:].numel() > MAX_IMAGE_NEURONS
        if images.dtype != torch.float32 or images.numel() == 0 or is_too_large:
            return super().normed_layer(images, norm, lif, state, decay)
        given = _given(images, lif, state, norm=norm)
        decay = decay_of_step(decay, images.shape, images.device, torch.float32)
        *fired, mean, var = TritonNormedNeurons.apply(  # type: ignore[no-untyped-call]
            given.layout.arrange(images), norm.weight, norm.bias, decay, given
        )
        return _fired_of(fired), mean, var


def _run(current: Tensor, lif: LIFParameters, state: LIFState | None, decay: Tensor | None, pool: bool) -> Fired:
    given = _given(current, lif, state, pool)
    decay = decay_of_step(decay, current.shape, current.device, torch.float32)
    return _fired_of(TritonNeurons.apply(given.layout.arrange(current), decay, given))  # type: ignore[no-untyped-call]


def _given(
    current: Tensor, lif: LIFParameters, state: LIFState | None, pool: bool = False, norm: Norm | None = None
) -> Given:
    start = None if state is None else (state.potential, state.spikes)
    for values in start or ():
        if values.shape != current.shape[1:] or values.device != current.device:
            given, wanted = ((tuple(one.shape), str(one.device)) for one in (values, current[0]))
            raise ValueError(f"the state must have the shape and device {wanted} of a time step, but got {given}")
    return Given(lif, start, Layout.of(current, pool), norm)


def _fired_of(results: Sequence[Tensor]) -> Fired:
    spikes, potential, fired, counts = results
    return Fired(spikes, LIFState(potential, fired), counts.sum())
