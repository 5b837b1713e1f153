"""How any network is run: a ``torch.nn.Module`` that takes frames of shape (T, B, P, H, W).

It returns firing rates of shape (B, classes), or outputs of shape (T, B, classes), whose mean over time they are. A
network that has a method ``reset`` is reset before every batch. Nothing else is required of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sltune.errors import UsageError


def rates_of(network: nn.Module, frames: Tensor) -> Tensor:
    """Reset a network and return its firing rates for a batch, of shape (B, classes).

    Args:
        frames: shape (T, B, P, H, W).

    Raises:
        UsageError: the network's output is neither of shape (B, classes) nor of shape (T, B, classes).
    """
    reset(network)
    outputs = checked(network(frames), frames)
    return outputs.mean(0) if outputs.dim() == 3 else outputs


def reset(network: nn.Module) -> None:
    """Make a network forget the batches before, if it has a method for that."""
    method = getattr(network, "reset", None)
    if callable(method):
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
