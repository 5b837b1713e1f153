"""LIF layers, forward and gradient, against the loop with torch's own differentiation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sltune.snn.backends import backend_of
from sltune.snn.neurons.lif import LIFParameters
from tests import reference_impl as reference

MARGIN = 1e-6
every_surrogate = pytest.mark.parametrize("surrogate", list(reference.WINDOWS))
every_neuron = pytest.mark.parametrize(
    ("v_threshold", "decay", "width"), [(0.3, 0.3, 0.5), (0.75, 0.9, 0.2)], ids=["paper", "other"]
)


def draw_current(shape: tuple[int, ...], neuron: reference.Neuron, seed: int) -> Tensor:
    """Draw a float64 current of shape (T, ...) whose potentials keep off threshold and window edges.

    Values are exact in float32. There rounding may tip a potential that lies on an edge either way.
    """
    current = (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 1.5 - 0.5).double()
    potential = spikes = torch.zeros(shape[1:], dtype=torch.float64)
    for step in range(shape[0]):
        rest = neuron.decay * potential * (1 - spikes)
        while near_edge(rest + current[step], neuron).any():
            current[step] += near_edge(rest + current[step], neuron) * 2**-16
        potential = rest + current[step]
        spikes = (potential > neuron.v_threshold).double()
    assert torch.equal(current.float().double(), current)
    return current


def near_edge(potential: Tensor, neuron: reference.Neuron) -> Tensor:
    x = (potential - neuron.v_threshold).abs()
    edges = [0.0, neuron.width / 2, 2 / neuron.width**0.5]
    return torch.stack([(x - edge).abs() < MARGIN for edge in edges]).any(dim=0)


def of(neuron: reference.Neuron) -> LIFParameters:
    return LIFParameters(neuron.v_threshold, neuron.decay, neuron.surrogate, neuron.width)


def outputs(current: Tensor, neuron: reference.Neuron) -> tuple[list[Tensor], list[Tensor]]:
    """Return (spikes, gradient) of both implementations for a weighted sum of all spikes; time comes first."""
    weights = torch.randn(current.shape, generator=torch.Generator().manual_seed(1)).to(current.dtype)
    mine, plain = (current.clone().requires_grad_() for _ in range(2))
    spikes, _, _ = backend_of(mine).layer(mine, of(neuron))
    expected = reference.lif(plain.movedim(0, -1), neuron).movedim(-1, 0)
    gradients = []
    for output, start in ((spikes, mine), (expected, plain)):
        torch.autograd.backward((output * weights).sum())
        assert start.grad is not None
        gradients.append(start.grad)
    return [spikes, expected], gradients


@every_surrogate
@every_neuron
@pytest.mark.parametrize("steps", [1, 2, 17, 50])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_spikes_and_gradients_equal_the_plain_loops(
    surrogate: str, v_threshold: float, decay: float, width: float, steps: int, dtype: torch.dtype
) -> None:
    neuron = reference.Neuron(v_threshold, decay, width, surrogate)
    for seed, neurons in enumerate([(3, 7), (1, 2, 5, 3)]):
        current = draw_current((steps, *neurons), neuron, seed).to(dtype)
        (spikes, expected), gradients = outputs(current, neuron)
        assert torch.equal(spikes, expected)
        assert 0 < spikes.mean() < 1 or steps < 17
        exact = dtype == torch.float64
        torch.testing.assert_close(*gradients, rtol=1e-12 if exact else 1e-5, atol=1e-14 if exact else 1e-6)


@every_surrogate
def test_a_potential_on_the_threshold_does_not_spike(surrogate: str) -> None:
    neuron = reference.Neuron(0.5, 0.5, 0.5, surrogate)
    # u is 0.5 (no spike), 0.5·0.5 + 0.25 = 0.5 (none), then 0.25 + 0.5 = 0.75 (a spike), then 0.5 after the reset.
    current = torch.tensor([0.5, 0.25, 0.5, 0.5]).unsqueeze(1)
    (spikes, expected), gradients = outputs(current, neuron)
    assert spikes.squeeze(1).tolist() == [0, 0, 1, 0]
    assert torch.equal(spikes, expected)
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("current", [0.25, 0.75])
def test_the_rectangular_window_is_closed_at_half_its_width(current: float) -> None:
    neuron = reference.Neuron(0.5, 0.5, 0.5, "rectangular")
    _, gradients = outputs(torch.full((1, 1), current), neuron)
    assert [gradient.item() for gradient in gradients] == [0, 0]


def test_the_gradient_flows_through_the_reset() -> None:
    neuron = reference.Neuron(0.5, 0.5, 1.0, "rectangular")
    current = torch.tensor([0.75, 0.25], dtype=torch.float64, requires_grad=True)
    spikes, _, _ = backend_of(current).layer(current.unsqueeze(1), of(neuron))
    torch.autograd.backward(spikes[1].sum())
    assert current.grad is not None
    # do2/du2 = 1; du2/du1 = 0.5·(1 − o1) − 0.5·u1·do1/du1 = 0 − 0.375.
    assert current.grad.tolist() == [-0.375, 1.0]


def test_the_layout_in_memory_does_not_matter() -> None:
    neuron = reference.Neuron()
    current = draw_current((17, 3, 4), neuron, seed=4).float()
    scattered = current.movedim(0, -1).contiguous().movedim(-1, 0)
    assert not scattered.is_contiguous()
    results = [outputs(layout, neuron) for layout in (current, scattered)]
    assert torch.equal(results[0][0][0], results[1][0][0])
    assert torch.equal(results[0][1][0], results[1][1][0])


def test_a_stretch_that_goes_on_from_a_state_equals_one_piece() -> None:
    neuron = reference.Neuron(decay=0.9)
    current = draw_current((20, 3, 4), neuron, seed=6)
    whole, end, _ = backend_of(current).layer(current, of(neuron))
    early, state, _ = backend_of(current[:7]).layer(current[:7], of(neuron))
    late, last, _ = backend_of(current[7:]).layer(current[7:], of(neuron), state)
    assert torch.equal(torch.cat([early, late]), whole)
    assert torch.equal(last.potential, end.potential)


def test_a_layer_without_neurons_gives_no_spikes() -> None:
    empty = torch.zeros(5, 2, 0)
    spikes, _, _ = backend_of(empty).layer(empty, LIFParameters())
    assert spikes.shape == (5, 2, 0)
