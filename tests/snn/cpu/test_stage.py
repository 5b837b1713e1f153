"""Stages that skip zeros against torch's convolution, the reference layer and torch's pooling."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from sltune.snn.activity import Meter
from sltune.snn.cpu import backend as backend_cpu
from sltune.snn.cpu import stage as stage_cpu
from sltune.snn.cpu.backend import NumbaBackend
from sltune.snn.neurons.backend import REFERENCE
from sltune.snn.neurons.lif import Fired, LIFParameters, LIFState
from tests.networks import NETWORKS
from tests.snn.drawing import assert_close, draw, leaf, neurons, seeds, with_gradients

NUMBA = NumbaBackend()


def dense_stage(
    images: Tensor, weight: Tensor, bias: Tensor, neuron: LIFParameters, state: LIFState | None = None
) -> Fired:
    current = functional.conv2d(images.flatten(0, 1), weight, bias)
    return REFERENCE.pooled_layer(current.unflatten(0, images.shape[:2]), neuron, state)  # type: ignore[no-untyped-call]


def draw_images(shape: tuple[int, ...], density: float, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return images of zeros and quarters up to 3/4 and more, which neither sum up nor multiply exactly."""
    generator = torch.Generator().manual_seed(seed)
    images = (torch.rand(shape, generator=generator) < density).to(dtype)
    return images * torch.randint(1, 9, shape, generator=generator) * 0.25


def in_layout(images: Tensor, layout: str) -> Tensor:
    """Return the same images (T, B, P, H, W), lying otherwise in memory."""
    if layout == "channels last":
        return images.movedim(2, -1).contiguous().movedim(-1, 2)
    if layout == "time last":
        return images.movedim(0, -1).contiguous().movedim(-1, 0)
    return images


@settings(max_examples=100)
@given(
    neuron=neurons,
    steps=st.one_of(st.integers(1, 20), st.integers(20, 100)),
    batch=st.integers(1, 3),
    # Lines of fewer, as many and more values than are looked at in one go.
    size=st.tuples(st.integers(1, 9), st.integers(4, 12), st.integers(4, 40), st.sampled_from([1, 5, 20, 21, 50])),
    density=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    drawn=st.tuples(st.sampled_from(["channels first", "channels last", "time last"]), seeds),
)
def test_a_stage_equals_a_convolution_and_the_reference(
    neuron: LIFParameters,
    steps: int,
    batch: int,
    size: tuple[int, int, int, int],
    density: float,
    drawn: tuple[str, int],
) -> None:
    """In float64, where a potential all but never rounds to the other side of the threshold."""
    (*image, channels), (layout, seed) = size, drawn
    images = in_layout(draw_images((steps, batch, *image), density, seed), layout)
    given_ = [images, draw([channels, image[0], 3, 3], torch.float64, seed), draw([channels], torch.float64, seed + 1)]
    mine, plain = [leaf(part) for part in given_], [leaf(part) for part in given_]
    fired, expected = NUMBA.stage(*mine, neuron), dense_stage(*plain, neuron)
    assert torch.equal(fired.spikes, expected.spikes)
    assert torch.equal(fired.state.spikes, expected.state.spikes)
    assert int(fired.spike_count) == int(expected.spike_count)
    torch.testing.assert_close(fired.state.potential, expected.state.potential, rtol=0, atol=1e-9)
    assert_close(with_gradients(fired.spikes, mine), with_gradients(expected.spikes, plain))


@pytest.mark.parametrize(("planes", "channels", "layout"), [(2, 20, "channels first"), (20, 50, "channels last")])
def test_of_100_000_spikes_of_a_stage_at_most_one_differs_in_float32(planes: int, channels: int, layout: str) -> None:
    images = in_layout(draw_images((17, 2, planes, 128, 128), 0.3 / planes, 0, torch.float32), layout)
    weight, bias = draw([channels, planes, 3, 3], torch.float32, 1) / 3, draw([channels], torch.float32, 2) / 10
    fired, expected = (
        NUMBA.stage(images, weight, bias, LIFParameters()),
        dense_stage(images, weight, bias, LIFParameters()),
    )
    count = int(expected.spike_count)
    assert count > 500_000
    # Spikes are averaged over 2×2 neurons, so a quarter is one of them.
    assert float((fired.spikes - expected.spikes).abs().sum()) * 4 <= count / 100_000


def test_gradients_of_a_stretch_that_starts_from_a_state_equal_the_references() -> None:
    neuron, image = LIFParameters(decay=0.9), (3, 9, 10)
    weights = [draw([8, 3, 3, 3], torch.float64, 1) / 3, draw([8], torch.float64, 2) / 3]
    state = dense_stage(draw_images((3, 2, *image), 0.3, 3), *weights, neuron).state
    given_ = [draw_images((9, 2, *image), 0.3, 4), *weights]
    mine, plain = [leaf(part) for part in given_], [leaf(part) for part in given_]
    fired, expected = NUMBA.stage(*mine, neuron, state), dense_stage(*plain, neuron, state)
    assert torch.equal(fired.spikes, expected.spikes)
    assert_close(with_gradients(fired.spikes, mine), with_gradients(expected.spikes, plain))


def test_the_gradient_by_images_is_the_same_without_vectors_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    given_ = [draw_images((5, 2, 20, 9, 11), 0.2, 0), draw([50, 20, 3, 3], torch.float64, 1), torch.zeros(50).double()]
    results = []
    for has_wide_vectors in (True, False):
        monkeypatch.setattr(stage_cpu, "HAS_WIDE_VECTORS", has_wide_vectors)
        parts = [leaf(part) for part in given_]
        results.append(with_gradients(NUMBA.stage(*parts, LIFParameters()).spikes, parts))
    assert_close(results[0], results[1])


@pytest.mark.parametrize("threads", [2, 3])
def test_the_outcome_does_not_depend_on_the_threads(threads: int) -> None:
    images = draw_images((6, 3, 20, 20, 20), 0.2, 0, torch.float32)
    before = torch.get_num_threads()
    results = []
    for count in (1, threads):
        torch.set_num_threads(count)
        parts = [leaf(images), leaf(draw([50, 20, 3, 3], torch.float32, 1)), leaf(draw([50], torch.float32, 2))]
        fired = NUMBA.stage(*parts, LIFParameters())
        results.append([fired.spikes, *with_gradients(fired.spikes, parts)])
    torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize(
    ("images", "weight", "bias", "message"),
    [
        ((1, 1, 3, 5, 5), (4, 2, 3, 3), (4,), r"do not fit together: \(1, 1, 3, 5, 5\), \(4, 2, 3, 3\), \(4,\)"),
        ((1, 1, 2, 5, 5), (4, 2, 5, 5), (4,), "do not fit together"),
        ((1, 1, 2, 5, 5), (4, 2, 3, 3), (5,), "do not fit together"),
        ((1, 1, 2, 5, 3), (4, 2, 3, 3), (4,), "do not fit together"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    images: tuple[int, ...], weight: tuple[int, ...], bias: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        NUMBA.stage(torch.ones(images), torch.ones(weight), torch.ones(bias), LIFParameters())


def test_types_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be of one type, but are of torch.float64, torch.float32 and"):
        NUMBA.stage(torch.ones(1, 1, 2, 5, 5).double(), torch.ones(4, 2, 3, 3), torch.ones(4), LIFParameters())


def test_images_with_few_values_are_sparse() -> None:
    assert NUMBA.prefers_stage(draw_images((5, 2, 2, 30, 30), 0.1, 0))
    assert not NUMBA.prefers_stage(draw_images((5, 2, 2, 30, 30), 0.9, 0))


@pytest.mark.parametrize("size", [(34, 34), (33, 70)])
def test_a_network_computes_the_same_whether_it_skips_zeros_or_not(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = NETWORKS["slanimals"]((2, *size), 5).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    frames = draw_images((12, 3, 2, *size), 0.1, 1)
    staged, results = [], []
    stage = NumbaBackend.stage
    monkeypatch.setattr(NumbaBackend, "stage", lambda *arguments: staged.append(1) or stage(*arguments))
    for most in (1.1, 0.0):
        monkeypatch.setattr(backend_cpu, "MAX_NONZERO", most)
        with Meter(network) as meter:
            output = network(frames)
        grads = torch.autograd.grad(output.mean(0).square().sum(), list(network.parameters()))
        results.append((output, meter.spikes(), meter.operations(), grads))
    assert len(staged) == 2, "both convolutional layers, the first time only"
    (one, *counts, mine), (other, *expected_counts, expected) = results
    assert torch.equal(one, other)
    assert counts == expected_counts
    assert max(float(grad.abs().max()) for grad in expected) > 0
    assert_close(mine, expected)
