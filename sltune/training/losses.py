"""What training minimises: a function of rates of shape (B, classes) and labels of shape (B,).

Labels of mixed samples are shares of shape (B, classes) instead. Training also gives it, by name and where it takes
them, ``outputs`` of shape (T, B, classes) and ``label_smoothing``. Evaluation gives neither.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from sltune.errors import CodeError
from sltune.extensions.calls import takes

Loss = Callable[..., Tensor]
"""Called as ``loss(rates, labels)`` for the mean over a batch; where it takes ``reduction="sum"``, for the sum, too."""
TET_REGULARIZATION, TET_TARGET = 0.05, 1.0
"""The weight of the regularisation in the paper, and the output that it draws towards: there the threshold."""


def mse(rates: Tensor, labels: Tensor, reduction: str = "mean", label_smoothing: float = 0.0) -> Tensor:
    """Return the squared error between rates and one-hot labels.

    reduction: "mean" over all elements, or their "sum". label_smoothing: the share of each label that is spread evenly
    over all classes (Szegedy et al. 2016).
    """
    shares = labels if labels.dim() == 2 else functional.one_hot(labels, rates.shape[1])
    targets = shares.to(rates.dtype)
    if label_smoothing:
        targets = (1 - label_smoothing) * targets + label_smoothing / rates.shape[1]
    return functional.mse_loss(rates, targets, reduction=reduction)


def cross_entropy(rates: Tensor, labels: Tensor, reduction: str = "mean", label_smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy of the rates, taken as logits.

    reduction: "mean" over the samples, or their "sum". label_smoothing: as for ``mse``.
    """
    return functional.cross_entropy(rates, labels, reduction=reduction, label_smoothing=label_smoothing)


def tet(
    rates: Tensor,
    labels: Tensor,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
    outputs: Tensor | None = None,
) -> Tensor:
    """Return the loss of temporal efficient training: the cross-entropy of every time step, not that of the mean.

    (1 − λ) · mean over t of CE(outputs[t], labels) + λ · mean of (outputs − φ)², with λ = 0.05 and φ = 1 (Deng et al.
    2022, arXiv 2202.11946). In evaluation, which gives no outputs, it is the cross-entropy of the rates.
    """
    if outputs is None:
        return cross_entropy(rates, labels, reduction, label_smoothing)
    of_all = labels.repeat(len(outputs), *[1] * (labels.dim() - 1))
    of_steps = cross_entropy(outputs.flatten(0, 1), of_all, "mean", label_smoothing)
    distance = functional.mse_loss(outputs, torch.full_like(outputs, TET_TARGET))
    return (1 - TET_REGULARIZATION) * of_steps + TET_REGULARIZATION * distance


def mean_loss(loss: Loss, rates: Tensor, labels: Tensor, **more: object) -> Tensor:
    """Return the loss of a batch that training minimises.

    Args:
        more: what it is given by name, all of which it must take.

    Raises:
        CodeError: a user's loss returns something else than one number.
    """
    return _one_number(loss, loss(rates, labels, **more))


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
