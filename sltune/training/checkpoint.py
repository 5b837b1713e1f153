"""Weights to bytes and back."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import torch

from sltune.errors import DataError
from sltune.snn.network import SpikingNetwork


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
