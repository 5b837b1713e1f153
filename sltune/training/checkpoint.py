"""The whole state of a training, as bytes and back."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW

from sltune.training.fit import EpochMetrics, EvaluationResult, Learner
from sltune.training.weights import MAX_WEIGHTS_BYTES, is_dense, unpack

MAX_CHECKPOINT_BYTES = 4 * MAX_WEIGHTS_BYTES
"""Weights, two moments of each in Adam, and the best weights so far."""

BUILT_IN = (Adam, AdamW, SGD)
"""Optimizers whose fused kernels write to memory of the shapes that they expect; others may have any state."""


def learner_to_bytes(learner: Learner, metrics: dict[str, EpochMetrics | None], more: dict[str, Any]) -> bytes:
    """Return the state of a training after an epoch: weights, optimizer, learning rate, and what the caller adds.

    Random streams are not part of it, since each epoch derives its own.

    Args:
        more: tensors, texts and numbers, and bytes as tensors.
    """
    state = {
        "network": learner.network.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "schedule": learner.schedule.state_dict() if learner.schedule else None,
        **({"average": learner.average.state()} if learner.average else {}),
        "metrics": {name: asdict(values) if values else None for name, values in metrics.items()},
        "more": more,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def learner_from_bytes(learner: Learner, data: bytes) -> tuple[dict[str, EpochMetrics | None], dict[str, Any]]:
    """Load what learner_to_bytes returned for a learner of the same kind, and return metrics and more.

    Raises:
        ValueError: the data are damaged or those of another kind of learner. The learner may then be half-loaded.
    """
    device = next(learner.network.parameters()).device
    state = unpack(data, device)
    try:
        network, optimizer, schedule = (state[part] for part in ("network", "optimizer", "schedule"))
        _require_like(network, learner.network.state_dict())
        _require_like(optimizer["param_groups"], learner.optimizer.state_dict()["param_groups"])
        if type(learner.optimizer) in BUILT_IN:
            _require_moments(optimizer["state"], list(learner.network.parameters()))
        if learner.schedule:
            _require_like(schedule, learner.schedule.state_dict())
            learner.schedule.load_state_dict(schedule)
        if learner.average:
            _require_like(state["average"], learner.average.state())
            learner.average.load(state["average"])
        learner.network.load_state_dict(network)
        learner.optimizer.load_state_dict(optimizer)
        metrics = {name: _metrics(values) if values else None for name, values in state["metrics"].items()}
        more: dict[str, Any] = state["more"]
    except (LookupError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"no checkpoint of this training: {error}") from error
    return metrics, more


def _require_like(value: Any, own: object) -> None:
    """Raise a ValueError unless a value has the same keys, types and shapes as the learner's own."""
    if isinstance(own, Tensor):
        is_like = type(value) in (Tensor, nn.Parameter) and is_dense(value)
        is_like = is_like and (value.shape, value.dtype) == (own.shape, own.dtype)
    elif isinstance(own, Mapping):
        is_like = isinstance(value, dict) and value.keys() == own.keys()
    elif isinstance(own, list | tuple):
        is_like = isinstance(value, list | tuple) and len(value) == len(own)
    else:
        is_like = type(value) is type(own) or (isinstance(own, float) and type(value) is int)
    if not is_like:
        raise ValueError(f"no checkpoint of this training: has {type(value).__name__} for {type(own).__name__}")
    if isinstance(own, Mapping):
        for key, part in own.items():
            _require_like(value[key], part)
    elif isinstance(own, list | tuple):
        for item, part in zip(value, own, strict=True):
            _require_like(item, part)


def _require_moments(state: Mapping[int, Mapping[str, Any]], parameters: Sequence[nn.Parameter]) -> None:
    """Raise a ValueError unless an optimizer's state has tensors of its parameters' shapes and numbers of steps."""
    for index, moments in state.items():
        own = parameters[index].detach()
        for value in moments.values():
            if value is not None:
                _require_like(value, own if value.shape else torch.zeros(()))


def _metrics(values: dict[str, Any]) -> EpochMetrics:
    evaluation = EvaluationResult(**values["evaluation"])
    metrics = EpochMetrics(**{**values, "evaluation": evaluation})
    for holder in (evaluation, metrics):
        for item in fields(holder):
            if not _KINDS.get(str(item.type), lambda _: True)(getattr(holder, item.name)):
                raise ValueError(f"no checkpoint of this training: {item.name} is no {item.type}")
    return metrics


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_matrix(value: object) -> bool:
    return type(value) is Tensor and is_dense(value) and value.dtype == torch.float32 and value.dim() == 2


_KINDS: Mapping[str, Callable[[Any], bool]] = {
    "int": lambda value: type(value) is int,
    "int | None": lambda value: value is None or type(value) is int,
    "float": _is_number,
    "dict[str, float]": lambda table: isinstance(table, dict) and all(map(_is_number, table.values())),
    "list[list[int]]": lambda rows: isinstance(rows, list) and all(type(cell) is int for row in rows for cell in row),
    "Tensor | None": lambda value: value is None or _is_matrix(value),
    "tuple[bool, ...]": lambda flags: isinstance(flags, tuple) and all(type(flag) is bool for flag in flags),
}
"""How to recognise values of each type that metrics have."""
