"""Leaky integrate-and-fire neurons, iterated over time, with a surrogate gradient (STBP)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sltune.snn.neurons.surrogate import WINDOWS, Window


@dataclass(frozen=True)
class LIFParameters:
    """Parameters of a layer of neurons.

    surrogate: one of WINDOWS by its name, or a function such as these.

    Raises:
        ValueError: the surrogate's name is unknown.
    """

    v_threshold: float = 0.3
    decay: float = 0.3
    surrogate: str | Window = "rectangular"
    surrogate_width: float = 0.5

    def __post_init__(self) -> None:
        if not callable(self.surrogate) and self.surrogate not in WINDOWS:
            raise ValueError(f"surrogate must be one of {', '.join(WINDOWS)}, but got {self.surrogate!r}")

    @property
    def window(self) -> Window:
        """What stands in for the derivative of a spike."""
        return WINDOWS[self.surrogate] if isinstance(self.surrogate, str) else self.surrogate


@dataclass(frozen=True)
class LIFState:
    """What neurons carry from one time step to the next: potential and last spikes, each of shape (B, ...)."""

    potential: Tensor
    spikes: Tensor


class Fired(NamedTuple):
    """What a layer did over some time steps.

    spikes: shape (T, B, ...), 0 or 1, or their averages over 2×2 neurons. state: after the last step, without a
    gradient. spike_count: a tensor of one whole number.
    """

    spikes: Tensor
    state: LIFState
    spike_count: Tensor


class _Spike(torch.autograd.Function):
    """o = [u > v_threshold], with the surrogate window as do/du."""

    @staticmethod
    def forward(ctx: Any, potential: Tensor, lif: LIFParameters) -> Tensor:
        ctx.save_for_backward(potential)
        ctx.lif = lif
        return (potential > lif.v_threshold).to(potential.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (potential,) = ctx.saved_tensors
        lif: LIFParameters = ctx.lif
        return grads[0] * lif.window(potential - lif.v_threshold, lif.surrogate_width), None


def lif_step(current: Tensor, state: LIFState, lif: LIFParameters, decay: Tensor | None = None) -> LIFState:
    """Advance neurons by one time step.

    u(t) = decay · u(t−1) · (1 − o(t−1)) + I(t), o(t) = [u(t) > v_threshold]: a spike resets the potential
    to 0, and the gradient flows through that reset too (Wu et al. 2018, eq. 10-12).

    Args:
        current: input I(t) of shape (B, ...).
        decay: learnable, of a shape that broadcasts with current; that of lif if None.
    """
    potential = (lif.decay if decay is None else decay) * state.potential * (1 - state.spikes) + current
    spikes: Tensor = _Spike.apply(potential, lif)  # type: ignore[no-untyped-call]
    return LIFState(potential, spikes)
