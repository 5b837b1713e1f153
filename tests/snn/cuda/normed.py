"""Neurons behind batch normalisation in plain torch, rounded as the kernels round, and how the two are compared."""

from __future__ import annotations

import torch
from torch import Tensor

from sltune.snn.neurons.backend import REFERENCE, Backend, Norm
from sltune.snn.neurons.lif import LIFParameters, LIFState
from tests.snn.drawing import draw, leaf


def norm_for(images: Tensor, fixed: bool, seed: int = 0) -> Norm:
    """Draw a normalisation, with statistics of its own if they are fixed."""
    values = [draw([images.shape[2]], torch.float32, seed + number).to(images.device) for number in range(4)]
    weight, bias, mean, var = *values[:3], values[3].abs() + 0.1
    return Norm(weight, bias, mean, var, 1e-5) if fixed else Norm(weight, bias, None, None, 1e-5)


def assert_as_torch(
    backend: Backend, images: Tensor, norm: Norm, lif: LIFParameters, state: LIFState | None, decay: Tensor | None
) -> None:
    """Compare spikes, state and statistics bit by bit, and gradients by what may be rounded of their terms."""
    given = [images, norm.weight, norm.bias, *([] if decay is None else [decay])]
    mine, plain = ([leaf(one) for one in given] for _ in range(2))
    fired, mean, var = backend.normed_layer(
        mine[0], norm._replace(weight=mine[1], bias=mine[2]), lif, state, mine[3] if decay is not None else None
    )
    own_var, own_mean = torch.var_mean(plain[0], (0, 1, 3, 4), correction=0)
    if norm.mean is not None and norm.var is not None:
        own_mean, own_var = norm.mean, norm.var
    mean_of, scale, bias = (one[:, None, None] for one in (own_mean, plain[1] / (own_var + norm.eps).sqrt(), plain[2]))
    current = (plain[0] - mean_of) * scale + bias
    expected = REFERENCE.layer(current, lif, state, plain[3] if decay is not None else None)
    for one, other in (
        (fired.spikes, expected.spikes),
        (fired.state.potential, expected.state.potential),
        (fired.state.spikes, expected.state.spikes),
        (mean, own_mean),
        (var, own_var),
    ):
        assert torch.equal(one, other.detach())
    assert int(fired.spike_count) == int(expected.spike_count)
    weights = draw(fired.spikes.shape, torch.float32, 1).to(images.device)
    gradients = torch.autograd.grad(fired.spikes, mine, weights)
    by_current, *wanted = torch.autograd.grad(expected.spikes, [current, *plain], weights)
    # A sum of N terms of either sign is known to a share of N times the largest.
    normed = ((images - mean_of) / (own_var + norm.eps).sqrt()[:, None, None]).abs().max().item()
    count, largest = images.numel() // images.shape[2], by_current.abs().max().item()
    sizes = [largest * scale.abs().max().item() * (1 + normed) ** 2, count * largest * normed, count * largest]
    potentials = 1 + current.abs().max().item() * len(images)
    for gradient, other, size in zip(gradients, wanted, [*sizes, images.numel() * largest * potentials], strict=False):
        assert gradient.shape == other.shape
        assert (gradient - other).abs().max().item() <= 1e-5 * size
