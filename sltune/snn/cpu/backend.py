"""The CPU's backend: layers as kernels that numba compiles, where these are faster than torch."""

from __future__ import annotations

import torch
from torch import Tensor

from sltune.snn.cpu.arrays import fired_of
from sltune.snn.cpu.kernels_dense import TAPS
from sltune.snn.cpu.layer import Connections, Neurons, NormedNeurons, PooledNeurons
from sltune.snn.cpu.stage import Stage
from sltune.snn.cpu.switches import is_on
from sltune.snn.cpu.vectors import HAS_WIDE_VECTORS
from sltune.snn.neurons.backend import Backend, Norm, decay_of_step
from sltune.snn.neurons.images import channels_last
from sltune.snn.neurons.lif import Fired, LIFParameters, LIFState

MAX_NONZERO = 0.35
"""The share of values other than 0 above which skipping zeros takes longer than multiplying all (measured)."""

MIN_INPUTS = 4096
"""With fewer inputs torch's product is used: ours is for results of many columns, and both gradients have as many."""


class NumbaBackend(Backend):
    """Layers, stages and full connections on the CPU; images come out with their channels last in memory."""

    def takes(self, dtype: torch.dtype) -> bool:
        return dtype in (torch.float32, torch.float64)

    def layer(
        self, current: Tensor, lif: LIFParameters, state: LIFState | None = None, decay: Tensor | None = None
    ) -> Fired:
        decay = decay_of_step(decay, current.shape, current.device, current.dtype)
        return fired_of(Neurons.apply(current.contiguous(), lif, state, decay))  # type: ignore[no-untyped-call]

    def pooled_layer(
        self, current: Tensor, lif: LIFParameters, state: LIFState | None = None, decay: Tensor | None = None
    ) -> Fired:
        decay = decay_of_step(decay, current.shape, current.device, current.dtype)
        return fired_of(PooledNeurons.apply(channels_last(current), lif, state, decay))  # type: ignore[no-untyped-call]

    def normed_layer(
        self, images: Tensor, norm: Norm, lif: LIFParameters, state: LIFState | None = None, decay: Tensor | None = None
    ) -> tuple[Fired, Tensor, Tensor]:
        decay = decay_of_step(decay, images.shape, images.device, images.dtype)
        *fired, mean, var = NormedNeurons.apply(  # type: ignore[no-untyped-call]
            channels_last(images), norm.weight, norm.bias, decay, (norm, lif, state)
        )
        return fired_of(tuple(fired)), mean, var

    def prefers_stage(self, images: Tensor) -> bool:
        # One time step in the middle stands for all: to count the zeros of each would take longer than it saves.
        middle = images[len(images) // 2]
        return is_on("stage") and int(torch.count_nonzero(middle)) < MAX_NONZERO * middle.numel()

    def stage(
        self,
        images: Tensor,
        weight: Tensor,
        bias: Tensor,
        lif: LIFParameters,
        state: LIFState | None = None,
        decay: Tensor | None = None,
    ) -> Fired:
        """Run a stage for images that are finite.

        No current is ever written, and zeros in the images cost nothing. Sums have another order than a convolution's,
        so a potential may round to the other side of the threshold.

        Raises:
            ValueError: shapes or types do not fit together.
        """
        # The kernels check nothing: with other shapes they would write to memory that is not theirs.
        wanted = (len(bias), images.shape[2], TAPS, TAPS)
        if weight.shape != wanted or bias.dim() != 1 or min(images.shape[3:]) < 4:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (images, weight, bias))
            raise ValueError(f"images (T, B, P, H, W), weight (C, P, 3, 3) and bias (C,) do not fit together: {shapes}")
        if not images.dtype == weight.dtype == bias.dtype:
            types = f"{images.dtype}, {weight.dtype} and {bias.dtype}"
            raise ValueError(f"images, weight and bias must be of one type, but are of {types}")
        if not images.is_contiguous():
            images = channels_last(images)
        shape = (*images.shape[:2], len(bias), *images.shape[3:])
        decay = decay_of_step(decay, shape, images.device, images.dtype)
        return fired_of(Stage.apply(images, weight, bias, decay, (lif, state)))  # type: ignore[no-untyped-call]

    def dense(self, spikes: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        is_ours = HAS_WIDE_VECTORS and is_on("dense-gradient") and weight.shape[1] >= MIN_INPUTS
        if not is_ours or torch.is_autocast_enabled("cpu"):
            return super().dense(spikes, weight, bias)
        current: Tensor = Connections.apply(spikes, weight, bias)  # type: ignore[no-untyped-call]
        return current
