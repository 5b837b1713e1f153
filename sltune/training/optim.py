"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, StepLR


def make_optimizer(
    name: str,
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> Optimizer:
    """Return the optimizer "adam", "adamw" or "sgd"; momentum is for "sgd" alone.

    Raises:
        ValueError: the name is unknown.
    """
    # Fused, it takes one pass over the weights; with several, nine million of them take longer than the last layers.
    match name:
        case "adam":
            return Adam(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
        case "adamw":
            return AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
        case "sgd":
            return SGD(parameters, lr=learning_rate, momentum=momentum, weight_decay=weight_decay, fused=True)
    raise ValueError(f"optimizer must be adam, adamw or sgd, but got {name!r}")


def make_schedule(
    name: str, optimizer: Optimizer, epochs: int, step_epochs: int, step_factor: float
) -> LRScheduler | None:
    """Return the schedule to step after each epoch; None where the learning rate stays as it is.

    Args:
        name: "constant", "step" (× step_factor every step_epochs) or "cosine" (to 0 over all epochs).

    Raises:
        ValueError: the name is unknown.
    """
    match name:
        case "constant":
            return None
        case "step":
            return StepLR(optimizer, step_epochs, step_factor)
        case "cosine":
            return CosineAnnealingLR(optimizer, epochs)
    raise ValueError(f"schedule must be constant, step or cosine, but got {name!r}")
