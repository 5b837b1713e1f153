"""Optimizers and learning-rate schedules: those that are built in, and how any is made; whether they get gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR, StepLR

from sltune.errors import CodeError
from sltune.extensions.calls import given_to, takes
from sltune.extensions.code import NO_CODE, Code
from sltune.extensions.kinds import KINDS, made_by, named, require

Parameters = Iterable[nn.Parameter]


# Fused, they take one pass over the weights; with several, nine million of them take longer than the last layers.
def adam(parameters: Parameters, lr: float, weight_decay: float) -> Optimizer:
    return Adam(parameters, lr=lr, weight_decay=weight_decay, fused=True)


def adamw(parameters: Parameters, lr: float, weight_decay: float) -> Optimizer:
    return AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=True)


def sgd(parameters: Parameters, lr: float, weight_decay: float, momentum: float) -> Optimizer:
    return SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay, fused=True)


def constant(optimizer: Optimizer) -> None:
    """Return nothing: the learning rate stays as it is."""


def step(optimizer: Optimizer, step_epochs: int, step_factor: float) -> LRScheduler:
    """Return a schedule that multiplies the learning rate by step_factor every step_epochs."""
    return StepLR(optimizer, step_epochs, step_factor)


def cosine(optimizer: Optimizer, epochs: int) -> LRScheduler:
    """Return a schedule that brings the learning rate to 0 over all epochs."""
    return CosineAnnealingLR(optimizer, epochs)


def make_optimizer(
    name: str,
    parameters: Parameters,
    learning_rate: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    code: Code = NO_CODE,
) -> Optimizer:
    """Return an optimizer by its name; momentum is for "sgd" alone.

    Args:
        code: the user's, for an optimizer of theirs: called with the parameters, and with lr and weight_decay where it
            takes them.

    Raises:
        CodeError: a user's optimizer cannot be made, or takes no weight_decay although one is set.
    """
    factory = named(KINDS["training.optimizer"], name, code)
    if weight_decay and not takes(factory, "weight_decay"):
        raise CodeError(f"{name}: takes no weight_decay; leave out training.weight_decay = {weight_decay:g}")
    given: dict[str, Any] = {"lr": learning_rate, "weight_decay": weight_decay}
    # A user gives momentum, as other parameters of theirs, where they name the optimizer.
    given |= {"momentum": momentum} if factory is sgd else {}
    optimizer = made_by(name, factory, parameters, **given_to(factory, **given))
    require(name, optimizer, Optimizer, "torch.optim.Optimizer")
    return optimizer  # type: ignore[no-any-return]


def make_schedule(
    name: str, optimizer: Optimizer, epochs: int, step_epochs: int, step_factor: float, code: Code = NO_CODE
) -> LRScheduler | None:
    """Return the schedule to step after each epoch; None where the learning rate stays as it is.

    Args:
        code: the user's, for a schedule of theirs: called with the optimizer, and with epochs where it takes them.

    Raises:
        CodeError: a user's schedule cannot be made.
    """
    factory: Callable[..., Any] = named(KINDS["training.schedule"], name, code)
    given = given_to(factory, epochs=epochs, step_epochs=step_epochs, step_factor=step_factor)
    schedule = made_by(name, factory, optimizer, **given)
    if schedule is not None:
        require(name, schedule, LRScheduler, "torch.optim.lr_scheduler.LRScheduler")
    return schedule  # type: ignore[no-any-return]


def warmed_up(schedule: LRScheduler | None, optimizer: Optimizer, epochs: int) -> LRScheduler | None:
    """Return a schedule that begins after this number of epochs, in which the learning rate rises in even steps."""
    if not epochs:
        return schedule
    rise = LinearLR(optimizer, 1 / (epochs + 1), total_iters=epochs)
    return SequentialLR(optimizer, [rise, schedule], [epochs]) if schedule else rise


class GradientWatch:
    """Notes whether any batch has had a gradient that is not 0, and looks no further once one had."""

    def __init__(self, network: nn.Module) -> None:
        # The last layers are the first to have one, so that a network that learns costs one look an epoch.
        self._parameters = list(network.parameters())[::-1]
        self.found = False

    def look(self) -> None:
        """Look at the gradients after a backward pass."""
        if not self.found:
            gradients = (parameter.grad for parameter in self._parameters)
            self.found = any(bool(gradient.any()) for gradient in gradients if gradient is not None)
