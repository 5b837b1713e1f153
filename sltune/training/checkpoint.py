"""Weights, and the whole state of a training, to bytes and back."""

from __future__ import annotations

import io
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from sltune.errors import DataError
from sltune.snn.network import SpikingNetwork
from sltune.training.fit import EpochMetrics, Evaluation, Learner


def weights_to_bytes(network: SpikingNetwork) -> bytes:
    """Return the weights as the content of a ``.pt`` file, on the CPU whatever device they are on."""
    buffer = io.BytesIO()
    torch.save({name: value.detach().cpu() for name, value in network.state_dict().items()}, buffer)
    return buffer.getvalue()


def weights_from_bytes(network: SpikingNetwork, data: bytes) -> None:
    """Load what weights_to_bytes returned for a network of the same shape."""
    network.load_state_dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))


def load_weights(network: SpikingNetwork, data: bytes, source: str) -> None:
    """Load the content of a ``.pt`` file that sltune wrote; source is what errors call it.

    Raises:
        DataError: it is no weights file, or of a network of another shape; says which parameter.
    """
    try:
        weights_from_bytes(network, data)
    except (pickle.UnpicklingError, EOFError, ValueError, AttributeError) as error:
        raise DataError(f"{source}: is no weights file: {error}") from error
    except RuntimeError as error:
        raise DataError(f"{source}: weights do not fit the network: {error}") from error


def read_weights(file: Path) -> bytes:
    """Return the content of a weights file.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: weights cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{str(file)!r}: weights cannot be read: {error}") from error


def learner_to_bytes(learner: Learner, metrics: dict[str, EpochMetrics | None], more: dict[str, Any]) -> bytes:
    """Return the state of a training after an epoch: weights, optimizer, learning rate, and what the caller keeps.

    Random streams need no place in it, since each epoch derives its own.

    Args:
        more: tensors, texts and numbers, and bytes as tensors.
    """
    state = {
        "network": learner.network.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "schedule": learner.schedule.state_dict() if learner.schedule else None,
        "metrics": {name: asdict(values) if values else None for name, values in metrics.items()},
        "more": more,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def learner_from_bytes(learner: Learner, data: bytes) -> tuple[dict[str, EpochMetrics | None], dict[str, Any]]:
    """Load what learner_to_bytes returned for a like learner, and return metrics and more.

    Raises:
        ValueError: the data are none such, or of an unlike learner, which may then be half-loaded.
    """
    device = next(learner.network.parameters()).device
    try:
        state = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
        learner.network.load_state_dict(state["network"])
        learner.optimizer.load_state_dict(state["optimizer"])
        if learner.schedule:
            learner.schedule.load_state_dict(state["schedule"])
        metrics = {name: _metrics(values) if values else None for name, values in state["metrics"].items()}
        more: dict[str, Any] = state["more"]
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"no checkpoint of this training: {error}") from error
    return metrics, more


def _metrics(values: dict[str, Any]) -> EpochMetrics:
    return EpochMetrics(**{**values, "evaluation": Evaluation(**values["evaluation"])})
