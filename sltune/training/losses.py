"""What training minimises: a function of rates of shape (B, classes) and labels of shape (B,)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from sltune.errors import CodeError
from sltune.extensions.calls import takes

Loss = Callable[..., Tensor]
"""Called as ``loss(rates, labels)`` for the mean over a batch; where it takes ``reduction="sum"``, for the sum, too."""


def mse(rates: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Return the squared error between rates and one-hot labels.

    reduction: "mean" over all elements, or their "sum".
    """
    targets = functional.one_hot(labels, rates.shape[1]).to(rates.dtype)
    return functional.mse_loss(rates, targets, reduction=reduction)


def cross_entropy(rates: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Return the cross-entropy of the rates, taken as logits.

    reduction: "mean" over the samples, or their "sum".
    """
    return functional.cross_entropy(rates, labels, reduction=reduction)


def mean_loss(loss: Loss, rates: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of a batch that training minimises.

    Raises:
        CodeError: a user's loss returns something else than one number.
    """
    return _one_number(loss, loss(rates, labels))


def summed_loss(loss: Loss, rates: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of a batch that evaluation adds up; of one that takes no ``reduction``, its mean × samples.

    Raises:
        CodeError: a user's loss returns something else than one number.
    """
    # Sums of our own losses are rounded once, as the predecessor rounds them.
    if takes(loss, "reduction"):
        return _one_number(loss, loss(rates, labels, reduction="sum"))
    return mean_loss(loss, rates, labels) * len(labels)


def _one_number(loss: Loss, value: object) -> Tensor:
    if not isinstance(value, Tensor) or value.dim():
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise CodeError(f"training.loss: {loss} must return a tensor of one number, but got {got}")
    return value
