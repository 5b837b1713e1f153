"""How any network is run: a ``torch.nn.Module`` that takes frames of shape (T, B, P, H, W).

It returns firing rates of shape (B, classes), or outputs of shape (T, B, classes), whose mean over time they are. A
network that has a method ``reset`` is reset before every batch. With a method ``run``, which takes a stretch of frames
and the state after the one before, it is evaluated in stretches of time. Nothing else is required of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from sltune.errors import UsageError
from sltune.snn.activity import Meter
from sltune.snn.layers import LIF, Conv, Dense, Dropout, MaxPool, PerStep, ThresholdBatchNorm
from sltune.snn.stretches import Network, run_stretch

MAX_STRETCH_VALUES = 1 << 23
"""Input values that are made and simulated at once: 32 MB of float32, so that memory does not grow with a sample."""
STEPWISE = (Network, LIF, Conv, Dense, ThresholdBatchNorm, Dropout, MaxPool, PerStep, nn.Identity)
"""Layers that look at each time step by itself, or keep their state where ``run_stretch`` finds it."""


class Clip(Protocol):
    """Frames of shape (T, B, P, H, W) that are made when they are asked for."""

    @property
    def shape(self) -> tuple[int, int, int, int, int]: ...

    def frames(self) -> Tensor:
        """Return all frames."""

    def stretches(self, values: int) -> Iterator[Tensor]:
        """Give stretches of time of at most this number of values."""


def rates_of(network: nn.Module, frames: Tensor) -> Tensor:
    """Reset a network and return its firing rates for a batch, of shape (B, classes).

    Args:
        frames: shape (T, B, P, H, W).

    Raises:
        UsageError: the network's output is neither of shape (B, classes) nor of shape (T, B, classes).
    """
    return rates_from(outputs_of(network, frames))


def outputs_of(network: nn.Module, frames: Tensor) -> Tensor:
    """Reset a network and return what it makes of a batch, of shape (T, B, classes) or (B, classes).

    Raises:
        UsageError: as ``rates_of``.
    """
    reset(network)
    return checked(network(frames), frames)


def rates_from(outputs: Tensor) -> Tensor:
    """Return firing rates of shape (B, classes): of outputs of every time step, their mean."""
    return outputs.mean(0) if outputs.dim() == 3 else outputs


def rates_of_clip(network: nn.Module, clip: Clip, meter: Meter | None = None) -> Tensor:
    """Return what ``rates_of`` returns, in stretches of time where the network can be run so; meter sees the frames."""
    total: Tensor | int = 0
    for outputs in outputs_over_time(network, clip, meter):
        if outputs.dim() == 2:
            return outputs
        total = total + outputs.sum(0)
    assert isinstance(total, Tensor)
    return total / clip.shape[0]


def outputs_over_time(network: nn.Module, clip: Clip, meter: Meter | None = None) -> Iterator[Tensor]:
    """Reset a network and give its outputs for one stretch of time after the other, or for all at once."""
    reset(network)
    run = _runner(network)
    if run is None:
        frames = clip.frames()
        if meter:
            meter.add_frames(frames)
        yield checked(network(frames), frames)
        return
    state = None
    for frames in clip.stretches(MAX_STRETCH_VALUES):
        if meter:
            meter.add_frames(frames)
        result = run(frames, state)
        if not isinstance(result, tuple) or len(result) != 2:
            raise UsageError(f"run must return a pair of outputs and a state, but returns {type(result).__name__}")
        outputs, state = checked(result[0], frames), result[1]
        if outputs.dim() != 3:
            raise UsageError(f"run must return outputs of shape (T, B, classes), but returns {tuple(outputs.shape)}")
        yield outputs


def _runner(network: nn.Module) -> Callable[[Tensor, Any], Any] | None:
    """Return what runs a network over a stretch of time from a state; None where it must see a whole sample."""
    run = getattr(network, "run", None)
    if callable(run):
        return run  # type: ignore[no-any-return]
    return partial(run_stretch, network) if _is_stepwise(network) else None


def _is_stepwise(module: nn.Module) -> bool:
    """Say whether a module consists of sltune's layers, one after the other."""
    if type(module).forward is nn.Sequential.forward:
        return all(map(_is_stepwise, module.children()))
    return isinstance(module, STEPWISE) or (isinstance(module, nn.Flatten) and module.start_dim >= 2)


def reset(network: nn.Module) -> None:
    """Make a network forget the batches before: by its method ``reset`` or, without one, those of modules within it."""
    parts = [network] if hasattr(network, "reset") else network.modules()
    for part in parts:
        if callable(method := getattr(part, "reset", None)):
            method()


def checked(outputs: object, frames: Tensor) -> Tensor:
    """Return what a network made of frames of shape (T, B, P, H, W), in a precision in which means are exact enough.

    Raises:
        UsageError: it is no tensor of real numbers of shape (B, classes) or (T, B, classes).
    """
    steps, batch = frames.shape[:2]
    if not isinstance(outputs, Tensor):
        got = f"an object of type {type(outputs).__name__}"
    elif not outputs.is_floating_point():
        got = f"a tensor of {outputs.dtype}"
    elif outputs.shape[:-1] not in ((batch,), (steps, batch)):
        got = f"a tensor of shape {tuple(outputs.shape)}"
    else:
        # Sums over time in 16 bits would be counted only up to 256 in bfloat16 and 2048 in float16.
        return outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs
    raise UsageError(
        f"the network returns {got}; its output must be a tensor of floating-point numbers, of shape (B, classes) or "
        f"(T, B, classes), where B = {batch} samples and T = {steps} time steps"
    )
