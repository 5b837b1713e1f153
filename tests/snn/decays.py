"""What the tests of a learned decay draw, and how they compare."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sltune.snn.neurons.backend import REFERENCE, Backend, decay_of_step
from sltune.snn.neurons.lif import Fired, LIFParameters, LIFState, lif_step
from tests.snn.drawing import draw, leaf

BFLOAT16_ERROR = 2**-7
pooled_or_not = pytest.mark.parametrize("pool", [False, True], ids=["plain", "pooled"])
per_layer_or_channel = pytest.mark.parametrize("per_channel", [False, True], ids=["per layer", "per channel"])


def draw_decay(current: Tensor, per_channel: bool, seed: int = 0) -> Tensor:
    """Draw decays between 0 and 1 for a current (T, B, C, ...): float64 for one of float64, else float32."""
    dtype = torch.float64 if current.dtype == torch.float64 else torch.float32
    return draw(current.shape[2:3] if per_channel else [], dtype, seed).sigmoid().to(current.device)


def draw_state(current: Tensor, seed: int) -> LIFState:
    values = draw([3, *current.shape[1:]], torch.float64, seed).to(current.device, draw_decay(current, False).dtype)
    return REFERENCE.layer(values, LIFParameters()).state


def fire(
    backend: Backend, pool: bool, current: Tensor, neuron: LIFParameters, state: LIFState | None, decay: Tensor | None
) -> Fired:
    return (backend.pooled_layer if pool else backend.layer)(current, neuron, state, decay)


def assert_as_torch(
    backend: Backend, pool: bool, current: Tensor, neuron: LIFParameters, state: LIFState | None, decay: Tensor
) -> None:
    """Compare with torch's differentiation of the reference: spikes and potentials bit by bit.

    Gradients by the current may differ by a share of the largest, those by the decay by a share of its terms' sizes:
    terms have either sign, so that their sum may be close to 0.
    """
    error = 1e-9 if decay.dtype == torch.float64 else 1e-5
    mine = leaf(current), leaf(decay)
    plain = leaf(current.to(decay.dtype)), leaf(decay)
    fired = fire(backend, pool, mine[0], neuron, state, mine[1])
    expected = fire(REFERENCE, pool, plain[0], neuron, state, plain[1])
    assert torch.equal(fired.spikes.to(decay.dtype), expected.spikes)
    assert torch.equal(fired.state.potential, expected.state.potential)
    assert int(fired.spike_count) == int(expected.spike_count)
    weights = draw(expected.spikes.shape, torch.bfloat16, 1).to(current.device)
    by_current, by_decay = torch.autograd.grad(fired.spikes, mine, weights.to(fired.spikes.dtype))
    wanted, wanted_by_decay = torch.autograd.grad(expected.spikes, plain, weights.to(decay.dtype))
    assert by_decay.shape == decay.shape
    largest = wanted.abs().max().item()
    own_rounding = BFLOAT16_ERROR if current.dtype == torch.bfloat16 else 0
    torch.testing.assert_close(by_current.to(decay.dtype), wanted, rtol=own_rounding, atol=error * largest)
    terms = terms_by_decay(plain[0].detach(), wanted, neuron, state, decay)
    size = terms.abs().movedim(2, 0).flatten(1).sum(1) if decay.dim() else terms.abs().sum()
    assert bool(((by_decay - wanted_by_decay).abs() <= error * size).all())


def terms_by_decay(
    current: Tensor, grad: Tensor, neuron: LIFParameters, state: LIFState | None, decay: Tensor
) -> Tensor:
    """Return dL/du(t) · u(t − 1) · (1 − o(t − 1)), whose sum is the gradient by a decay.

    grad: dL/dI(t), which is dL/du(t).
    """
    state = state or LIFState(torch.zeros_like(current[0]), torch.zeros_like(current[0]))
    own = decay_of_step(decay, current.shape, current.device, current.dtype)
    terms = []
    for step, by_potential in zip(current, grad, strict=True):
        terms.append(by_potential * state.potential * (1 - state.spikes))
        state = lif_step(step, state, neuron, own)
    return torch.stack(terms)
