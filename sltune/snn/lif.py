"""Leaky integrate-and-fire neurons, iterated over time, with a surrogate gradient (STBP)."""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from sltune.snn.surrogate import WINDOWS

CHOICE = "SLTUNE_LIF_BACKEND"
"""Environment variable that overrides the choice of a backend by device: auto, reference, numba or triton."""
MODULES = {"numba": "sltune.snn.cpu.layer", "triton": "sltune.snn.cuda.layer"}


@dataclass(frozen=True)
class LIF:
    """Parameters of a layer of neurons.

    Raises:
        ValueError: the surrogate's name is unknown.
    """

    v_threshold: float = 0.3
    decay: float = 0.3
    surrogate: str = "rectangular"
    surrogate_width: float = 0.5

    def __post_init__(self) -> None:
        if self.surrogate not in WINDOWS:
            raise ValueError(f"surrogate must be one of {', '.join(WINDOWS)}, but got {self.surrogate!r}")


@dataclass(frozen=True)
class LIFState:
    """What neurons carry from one time step to the next: potential and last spikes, each of shape (B, ...)."""

    potential: Tensor
    spikes: Tensor


class _Spike(torch.autograd.Function):
    """o = [u > v_threshold], with the surrogate window as do/du."""

    @staticmethod
    def forward(ctx: Any, potential: Tensor, lif: LIF) -> Tensor:
        ctx.save_for_backward(potential)
        ctx.lif = lif
        return (potential > lif.v_threshold).to(potential.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (potential,) = ctx.saved_tensors
        lif: LIF = ctx.lif
        return grads[0] * WINDOWS[lif.surrogate](potential - lif.v_threshold, lif.surrogate_width), None


def lif_step(current: Tensor, state: LIFState, lif: LIF) -> LIFState:
    """Advance neurons by one time step.

    u(t) = decay · u(t−1) · (1 − o(t−1)) + I(t), o(t) = [u(t) > v_threshold]: a spike resets the potential
    to 0, and the gradient flows through that reset too (Wu et al. 2018, eq. 10-12).

    Args:
        current: input I(t) of shape (B, ...).
    """
    potential = lif.decay * state.potential * (1 - state.spikes) + current
    spikes: Tensor = _Spike.apply(potential, lif)  # type: ignore[no-untyped-call]
    return LIFState(potential, spikes)


class Fired(NamedTuple):
    """What a layer did over some time steps.

    spikes: shape (T, B, ...), 0 or 1, or their averages over 2×2 neurons. state: after the last step, without a
    gradient. spike_count: a tensor of one whole number.
    """

    spikes: Tensor
    state: LIFState
    spike_count: Tensor


def lif_layer(current: Tensor, lif: LIF, state: LIFState | None = None) -> Fired:
    """Run neurons over all time steps, with the kernels of the device where there are some.

    Gradients flow through all the steps of a call, but not from one stretch of time into the one before.

    Args:
        current: input of shape (T, B, ...).
        state: where an earlier stretch of time ended; at rest if None.
    """
    backend = backend_of(current)
    return Fired(*(backend.lif if backend else reference_layer)(current, lif, state))


def lif_pool_layer(current: Tensor, lif: LIF, state: LIFState | None = None) -> Fired:
    """Run neurons as lif_layer does and average 2×2 of their spikes, for current of shape (T, B, C, H, W)."""
    backend = backend_of(current)
    return Fired(*(backend.lif_pool if backend else reference_pool_layer)(current, lif, state))


def reference_layer(current: Tensor, lif: LIF, state: LIFState | None = None) -> Fired:
    """Run neurons step by step in plain torch: what every backend is tested against."""
    rest = torch.zeros_like(current[0])
    state = LIFState(rest, rest) if state is None else LIFState(state.potential.detach(), state.spikes.detach())
    spikes = []
    for step in current:
        state = lif_step(step, state, lif)
        spikes.append(state.spikes)
    fired = torch.stack(spikes)
    return Fired(fired, LIFState(state.potential.detach(), state.spikes.detach()), torch.count_nonzero(fired))


def reference_pool_layer(current: Tensor, lif: LIF, state: LIFState | None = None) -> Fired:
    """Run neurons as reference_layer does and average 2×2 of their spikes with torch."""
    fired = reference_layer(current, lif, state)
    pooled = functional.avg_pool2d(fired.spikes.flatten(0, 1), 2)
    return Fired(pooled.reshape(*fired.spikes.shape[:2], *pooled.shape[1:]), fired.state, fired.spike_count)


def backend_of(current: Tensor) -> Any:
    """Return the module whose kernels run neurons with this input; None for plain torch.

    Raises:
        ValueError: SLTUNE_LIF_BACKEND is none of "auto", "reference", "numba" and "triton", or not for this device.
    """
    choice = os.environ.get(CHOICE, "auto")
    if choice not in ("auto", "reference", *MODULES):
        raise ValueError(f"{CHOICE} must be auto, reference or one of {', '.join(MODULES)}, but got {choice!r}")
    name = {"cpu": "numba", "cuda": "triton"}.get(current.device.type) if choice == "auto" else choice
    if name == "numba" and current.device.type != "cpu":
        raise ValueError(f"{CHOICE}: numba is for the CPU, but the network is on {current.device}")
    module = _load(name) if name in MODULES else None
    return module if module is not None and current.dtype in module.DTYPES else None


@functools.cache
def _load(name: str) -> Any:
    """Import a backend; None, and one warning, where what it needs is not installed."""
    try:
        return importlib.import_module(MODULES[name])
    except ImportError as error:
        text = f"{name} cannot be used ({error}); neurons run step by step in plain torch, several times slower"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return None
