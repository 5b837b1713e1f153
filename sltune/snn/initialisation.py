"""Initial weights by data: each layer is scaled so that its neurons fire at a given rate on a first batch.

After LSUV (Mishkin & Matas 2016, arXiv 1511.06422), which scales layers one after the other to a variance of 1. What
matters to neurons is whether they reach their threshold.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sltune.snn.layers import LIF, Conv, Dense, Dropout, LIFPool, Sequential, ThresholdBatchNorm
from sltune.snn.neurons.backend import REFERENCE

TARGET_RATE = 0.1
"""Spikes per neuron and time step: layers of trained networks fire at 0.01 to 0.2, and the surrogate sees more."""
MAX_SAMPLES = 4
"""More samples of a batch change the gains by little, and take as much longer."""
GAINS_PER_OCTAVE = 8
"""Gains are powers of 2 to this part, so that rounding on another machine seldom gives another one."""
MAX_OCTAVES = 20
"""Weights need never be a million times as large."""


@torch.no_grad()
def scale_to_rate(network: Sequential, frames: Tensor, rate: float = TARGET_RATE) -> None:
    """Scale the weights before each layer of neurons so that these fire at a rate, in a network that was just made.

    Everything is computed in plain torch on the CPU, so that the backend for training makes no difference. A layer that
    no gain makes fire stays as it is.

    Args:
        network: of sltune's layers, on the CPU, as ``snn.network`` makes them.
        frames: the first training batch, of shape (T, B, P, H, W).
    """
    values, before = frames[:, :MAX_SAMPLES].float().cpu(), None
    for layer in network:
        if isinstance(layer, LIF):
            assert isinstance(before, Conv | Dense | ThresholdBatchNorm)
            gain = _gain(values, layer, rate)
            before.weight.mul_(gain)
            before.bias.mul_(gain)
            run = REFERENCE.pooled_layer if isinstance(layer, LIFPool) else REFERENCE.layer
            values = run(values * gain, layer.neuron).spikes
        elif isinstance(layer, ThresholdBatchNorm):
            # It keeps the statistics of this batch, so that evaluation is right from the first epoch on.
            momentum, layer.momentum = layer.momentum, 1.0
            values = layer.train()(values)
            layer.momentum = momentum
        elif isinstance(layer, Dense):
            values = nn.functional.linear(values, layer.weight, layer.bias)
        elif not isinstance(layer, Dropout):
            values = layer(values)
        before = layer


def _gain(current: Tensor, neurons: LIF, rate: float) -> float:
    """Return the smallest gain of currents of shape (T, B, ...) with which neurons fire at a rate; 1 if none does."""
    low, high = -MAX_OCTAVES * GAINS_PER_OCTAVE, MAX_OCTAVES * GAINS_PER_OCTAVE
    enough = rate * current.numel()

    def fires(step: int) -> bool:
        return int(REFERENCE.layer(current * 2 ** (step / GAINS_PER_OCTAVE), neurons.neuron).spike_count) >= enough

    if not fires(high):
        return 1.0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fires(middle) else (middle, high)
    return float(2 ** (high / GAINS_PER_OCTAVE))
