"""The CPU's backend: layers as kernels that numba compiles."""

from __future__ import annotations

import torch
from torch import Tensor

from sltune.snn.cpu.arrays import fired_of
from sltune.snn.cpu.connections import connect
from sltune.snn.cpu.layer import Neurons, PooledNeurons
from sltune.snn.cpu.stage import is_sparse, stage
from sltune.snn.cpu.switches import is_on
from sltune.snn.neurons.backend import Backend
from sltune.snn.neurons.images import channels_last
from sltune.snn.neurons.lif import LIF, Fired, LIFState


class NumbaBackend(Backend):
    """Layers, stages and dense connections on the CPU; images come out with their channels last in memory."""

    def takes(self, dtype: torch.dtype) -> bool:
        return dtype in (torch.float32, torch.float64)

    def layer(self, current: Tensor, lif: LIF, state: LIFState | None = None) -> Fired:
        return fired_of(Neurons.apply(current.contiguous(), lif, state))  # type: ignore[no-untyped-call]

    def pooled_layer(self, current: Tensor, lif: LIF, state: LIFState | None = None) -> Fired:
        return fired_of(PooledNeurons.apply(channels_last(current), lif, state))  # type: ignore[no-untyped-call]

    def prefers_stage(self, images: Tensor) -> bool:
        return is_on("stage") and is_sparse(images)

    def stage(self, images: Tensor, weight: Tensor, bias: Tensor, lif: LIF, state: LIFState | None = None) -> Fired:
        return stage(images, weight, bias, lif, state)

    def dense(self, spikes: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return connect(spikes, weight, bias)
