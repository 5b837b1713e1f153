"""The CPU's backend: layers as kernels that numba compiles, where these are faster than torch."""

from __future__ import annotations

import torch
from torch import Tensor

from sltune.snn.cpu.arrays import fired_of
from sltune.snn.cpu.images import MaxPool, SparseConvolution
from sltune.snn.cpu.kernels.dense import TAPS
from sltune.snn.cpu.kernels.switches import is_on
from sltune.snn.cpu.kernels.vectors import HAS_WIDE_VECTORS
from sltune.snn.cpu.layer import Connections, Neurons, NormedNeurons, PooledNeurons
from sltune.snn.cpu.stage import Stage
from sltune.snn.neurons.backend import Backend, Norm, decay_of_step
from sltune.snn.neurons.images import channels_last
from sltune.snn.neurons.lif import Fired, LIFParameters, LIFState

MAX_NONZERO = 0.35
"""The share of values other than 0 above which skipping zeros takes longer than multiplying all (measured)."""

MAX_NONZERO_CONVOLVED = 0.2
"""The same for a convolution alone, beside which a stage also saves writing the currents (measured)."""

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
        return is_on("stage") and _share_of_nonzero(images) < MAX_NONZERO

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

    def convolve(self, images: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
        fits = weight.shape == (len(bias), images.shape[2], TAPS, TAPS) and padding == 1 and min(images.shape[3:]) > 2
        is_one_type = images.dtype == weight.dtype == bias.dtype and not torch.is_autocast_enabled("cpu")
        is_sparse = is_on("stage") and _share_of_nonzero(images) < MAX_NONZERO_CONVOLVED
        if not (fits and is_one_type and is_sparse) or images.requires_grad:
            return super().convolve(images, weight, bias, padding)
        images = images if images.is_contiguous() else channels_last(images)
        return SparseConvolution.apply(images, weight, bias, padding)  # type: ignore[no-any-return, no-untyped-call]

    def max_pool(self, images: Tensor) -> Tensor:
        return MaxPool.apply(channels_last(images))  # type: ignore[no-any-return, no-untyped-call]

    def dense(self, spikes: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        is_ours = HAS_WIDE_VECTORS and is_on("dense-gradient") and weight.shape[1] >= MIN_INPUTS
        if not is_ours or torch.is_autocast_enabled("cpu"):
            return super().dense(spikes, weight, bias)
        current: Tensor = Connections.apply(spikes, weight, bias)  # type: ignore[no-untyped-call]
        return current


def _share_of_nonzero(images: Tensor) -> float:
    """Return the share of values that are not 0, of one time step in the middle: to count all would take too long."""
    middle = images[len(images) // 2]
    return int(torch.count_nonzero(middle)) / max(1, middle.numel())
