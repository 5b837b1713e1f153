"""Optimizers and learning-rate schedules by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, StepLR


@dataclass(frozen=True)
class OptimizerOptions:
    """name: "adam", "adamw" or "sgd"; momentum is for "sgd" alone.

    schedule: "constant", "step" (× step_factor every step_epochs) or "cosine" (to 0 over all epochs).
    """

    name: str = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "constant"
    step_epochs: int = 25
    step_factor: float = 0.1


def make_optimizer(parameters: Iterable[nn.Parameter], options: OptimizerOptions) -> Optimizer:
    """Return the optimizer.

    Raises:
        ValueError: the name is unknown.
    """
    rate, decay = options.learning_rate, options.weight_decay
    # In one pass over the weights; step by step the nine million of the network take longer than its last layers.
    match options.name:
        case "adam":
            return Adam(parameters, lr=rate, weight_decay=decay, fused=True)
        case "adamw":
            return AdamW(parameters, lr=rate, weight_decay=decay, fused=True)
        case "sgd":
            return SGD(parameters, lr=rate, momentum=options.momentum, weight_decay=decay, fused=True)
    raise ValueError(f"optimizer must be adam, adamw or sgd, but got {options.name!r}")


def make_schedule(optimizer: Optimizer, options: OptimizerOptions, epochs: int) -> LRScheduler | None:
    """Return the schedule to step after each epoch; None where the rate stays as it is.

    Raises:
        ValueError: the schedule is unknown.
    """
    match options.schedule:
        case "constant":
            return None
        case "step":
            return StepLR(optimizer, options.step_epochs, options.step_factor)
        case "cosine":
            return CosineAnnealingLR(optimizer, epochs)
    raise ValueError(f"schedule must be constant, step or cosine, but got {options.schedule!r}")
