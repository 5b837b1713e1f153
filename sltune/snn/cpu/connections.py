"""Full connections on the CPU: torch's product forward, and our own for the gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from sltune.snn.cpu.arrays import array
from sltune.snn.cpu.kernels_dense import SIDES, VECTORS, multiply
from sltune.snn.cpu.threads import share
from sltune.snn.cpu.vectors import LANES


class Connections(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spikes: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(spikes, weight)
        return functional.linear(spikes, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        spikes, weight = ctx.saved_tensors
        grad_spikes = product(grad, weight) if ctx.needs_input_grad[0] else None
        return grad_spikes, product(grad.t(), spikes), grad.sum(0)


def product(left: Tensor, right: Tensor) -> Tensor:
    """Return left · right, of shapes (rows, inner) and (inner, columns); fast for few rows and many columns."""
    result = torch.empty(len(left), right.shape[1], dtype=right.dtype)
    strips = -(-right.shape[1] // (len(VECTORS) * LANES))
    share(multiply, strips, array(left.contiguous()), array(right.contiguous()), array(result), SIDES, VECTORS)
    return result
