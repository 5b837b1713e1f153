"""The operations of connections, by what arrives at them.

They are counted as NeuroBench's ``synaptic_operations`` are (Yik et al. 2025, Nature Communications 16, 1545).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

MAX_VALUES = 1 << 22
"""Inputs that are counted at once: in float64 these take 32 MB, where a whole stretch of time may take gigabytes."""


class Operations:
    """Effective accumulates and multiply-accumulates of layers of connections.

    Each input that is not 0 costs an operation for every weight other than 0 that it meets; biases cost nothing. One
    image of a convolution, or one row of values of full connections, takes accumulates if all its inputs are -1, 0 or
    1, and multiply-accumulates otherwise. This is one time step of one sample, so that the counts depend neither on the
    size of batches nor on stretches of time.
    """

    def __init__(self) -> None:
        self._accumulates: Tensor | float = 0.0
        self._multiplies: Tensor | float = 0.0
        self._connections: dict[tuple[int, torch.Size], Tensor] = {}

    @property
    def accumulates(self) -> int:
        """Effective ACs so far."""
        return int(self._accumulates)

    @property
    def multiply_accumulates(self) -> int:
        """Effective MACs so far."""
        return int(self._multiplies)

    def add(self, layer: nn.Linear | _ConvNd, values: Tensor) -> None:
        """Count what a layer does with these inputs, whose weights must not change from call to call."""
        shape = values.shape[-(1 if isinstance(layer, nn.Linear) else len(layer.kernel_size) + 1) :]
        key = (id(layer), shape)
        if key not in self._connections:
            self._connections[key] = _connections(layer, shape).flatten().to(values.device, torch.float64)
        for rows in torch.split(values.reshape(-1, shape.numel()), max(1, MAX_VALUES // shape.numel())):
            is_input = rows != 0
            # Sums of float64 are exact up to 2 ** 53, those of float32 only up to 16 million.
            operations = is_input.double() @ self._connections[key]
            is_binary = (~is_input | (rows.abs() == 1)).all(1)
            self._accumulates = self._accumulates + (operations * is_binary).sum()
            self._multiplies = self._multiplies + (operations * ~is_binary).sum()


def _connections(layer: nn.Linear | _ConvNd, shape: torch.Size) -> Tensor:
    """Return how many weights other than 0 each input of a layer meets."""
    used = (layer.weight != 0).float()
    return used.sum(0) if isinstance(layer, nn.Linear) else connections_of(layer, shape, used.cpu())


def connections_of(layer: _ConvNd, shape: torch.Size, weight: Tensor | None = None) -> Tensor:
    """Return how many connections each input of a convolution has.

    Args:
        shape: (C, ...) of the input.
        weight: 1 for a weight that counts and 0 for one that does not, on the CPU; by default all count.

    Returns:
        whole numbers of this shape.
    """
    # With weights of 1, the gradient of the sum of all outputs counts the outputs that an input reaches.
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        inputs = torch.zeros(1, *shape, requires_grad=True)
        weight = torch.ones(layer.weight.shape) if weight is None else weight
        if isinstance(layer, _ConvTransposeNd):
            transposed = getattr(functional, f"conv_transpose{len(shape) - 1}d")
            places = (layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
            outputs = transposed(inputs, weight, None, *places)
        else:
            outputs = layer._conv_forward(inputs, weight, None)
        return torch.autograd.grad(outputs.sum(), inputs)[0][0].round().long()
