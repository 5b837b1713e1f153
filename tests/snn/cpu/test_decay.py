"""A decay that is learned, per layer or channel: compiled kernels of the CPU against torch's own differentiation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sltune.snn.cpu.backend import NumbaBackend
from sltune.snn.neurons.backend import REFERENCE, Backend
from sltune.snn.neurons.lif import LIFParameters
from tests.snn.decays import assert_as_torch, draw_decay, draw_state, fire, per_layer_or_channel, pooled_or_not
from tests.snn.drawing import draw, leaf, neurons, seeds, with_gradients

NUMBA = NumbaBackend()
SHAPE = (9, 2, 3, 7, 6)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@settings(max_examples=50)
@given(
    neuron=neurons,
    shape=st.tuples(st.integers(1, 20), st.integers(1, 3), st.integers(1, 6), st.integers(2, 9), st.integers(2, 9)),
    kind=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    layout=st.sampled_from(["contiguous", "channels last", "time last"]),
    seed=seeds,
)
def test_gradients_by_a_decay_equal_those_of_torch(
    neuron: LIFParameters, shape: tuple[int, ...], kind: tuple[bool, bool, bool], layout: str, seed: int
) -> None:
    (pool, per_channel, goes_on), current = kind, draw(shape, torch.float64, seed)
    axis = {"contiguous": 4, "channels last": 2, "time last": 0}[layout]
    current = current.movedim(axis, -1).contiguous().movedim(-1, axis)
    state = draw_state(current, seed + 1) if goes_on else None
    assert_as_torch(NUMBA, pool, current, neuron, state, draw_decay(current, per_channel, seed))


@per_layer_or_channel
@pytest.mark.parametrize("shape", [(7, 3, 5000), (7, 2, 3, 41, 40)])
def test_more_neurons_than_a_block_have_their_decays_too(shape: tuple[int, ...], per_channel: bool) -> None:
    current = draw(shape, torch.float64, 0)
    assert_as_torch(NUMBA, False, current, LIFParameters(), draw_state(current, 1), draw_decay(current, per_channel))


@pooled_or_not
@per_layer_or_channel
def test_float32_has_a_decay_of_its_own_type(pool: bool, per_channel: bool) -> None:
    current = draw(SHAPE, torch.float32, 0)
    assert_as_torch(NUMBA, pool, current, LIFParameters(), None, draw_decay(current, per_channel))


@pytest.mark.parametrize("backend", [NUMBA, REFERENCE])
def test_the_gradient_is_what_it_is_by_hand(backend: Backend) -> None:
    # u is 0.2, 0.5·0.2 + 0.1 = 0.2 and 0.5·0.2 + 0.5 = 0.6, a spike; the window is 1 at each.
    # By u(3): 1. By u(2), past the spike that may reset it and through that: 0.5·1 − 0.5·0.2·1 = 0.4.
    # So by the decay 1·u(2) + 0.4·u(1) = 0.28.
    current, decay = torch.tensor([0.2, 0.1, 0.5]).view(3, 1, 1), torch.tensor(0.5, requires_grad=True)
    fired = backend.layer(current, LIFParameters(v_threshold=0.3, surrogate_width=1.0), None, decay)
    (gradient,) = torch.autograd.grad(fired.spikes[2].sum(), decay)
    assert fired.spikes.flatten().tolist() == [0, 0, 1]
    assert gradient.item() == pytest.approx(0.28)


@pooled_or_not
@per_layer_or_channel
def test_a_decay_of_the_fixed_ones_value_changes_no_bit(pool: bool, per_channel: bool) -> None:
    neuron = LIFParameters(decay=0.7)
    fixed, learned = (leaf(draw(SHAPE, torch.float32, 0)) for _ in range(2))
    state = draw_state(fixed, 1)
    decay = torch.full([SHAPE[2]] if per_channel else [], 0.7)
    expected = fire(NUMBA, pool, fixed, neuron, state, None)
    # Another decay of the parameters must not matter.
    fired = fire(NUMBA, pool, learned, LIFParameters(decay=0.1), state, decay)
    assert torch.equal(fired.spikes, expected.spikes)
    assert torch.equal(fired.state.potential, expected.state.potential)
    assert torch.equal(*with_gradients(fired.spikes, [learned]), *with_gradients(expected.spikes, [fixed]))


@pooled_or_not
@per_layer_or_channel
def test_gradients_by_a_decay_do_not_depend_on_the_number_of_threads(
    pool: bool, per_channel: bool, threads: None
) -> None:
    current = draw((5, 3, 7, 61, 60), torch.float32, 0)
    decay = draw_decay(current, per_channel)
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        inputs = leaf(current), leaf(decay)
        found.append(with_gradients(fire(NUMBA, pool, inputs[0], LIFParameters(), None, inputs[1]).spikes, inputs))
    for other in found[1:]:
        assert all(torch.equal(*pair) for pair in zip(found[0], other, strict=True))


@pytest.mark.parametrize("backend", [NUMBA, REFERENCE])
def test_a_decay_may_be_of_another_type_and_lie_anywhere_in_memory(backend: Backend) -> None:
    current = draw(SHAPE, torch.float32, 0)
    sparse = torch.tensor([0.5, 9, 0.25, 9, 0.75, 9], dtype=torch.float64, requires_grad=True)
    dense = sparse.detach()[::2].float().requires_grad_()
    fired, expected = (backend.layer(current, LIFParameters(), None, decay) for decay in (sparse[::2], dense))
    assert torch.equal(fired.spikes, expected.spikes)
    mine, wanted = with_gradients(fired.spikes, [sparse]) + with_gradients(expected.spikes, [dense])
    assert mine.dtype == torch.float64
    assert torch.equal(mine[::2].float(), wanted)
    same = (torch.tensor(0.5), torch.tensor(0.5).expand(3))
    assert torch.equal(*(backend.layer(current, LIFParameters(), None, decay).spikes for decay in same))


@pooled_or_not
@pytest.mark.parametrize("backend", [NUMBA, REFERENCE])
@pytest.mark.parametrize("shape", [(2,), (1,), (1, 3), (3, 1, 1)])
def test_a_decay_of_another_shape_is_refused(backend: Backend, pool: bool, shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"decay must have shape \(\) or, with one of each channel, \(3,\), but got \("
    ):
        fire(backend, pool, torch.zeros(SHAPE), LIFParameters(), None, torch.zeros(shape))


@settings(max_examples=25)
@given(
    neuron=neurons,
    shape=st.tuples(st.integers(1, 12), st.integers(1, 3), st.integers(1, 3), st.integers(4, 11), st.integers(4, 11)),
    channels=st.sampled_from([1, 5, 21]),
    kind=st.tuples(st.booleans(), st.booleans()),
    seed=seeds,
)
def test_gradients_by_a_decay_of_a_stage_equal_those_of_torch(
    neuron: LIFParameters, shape: tuple[int, ...], channels: int, kind: tuple[bool, bool], seed: int
) -> None:
    """In float64, where a potential all but never rounds to the other side of the threshold."""
    per_channel, goes_on = kind
    images, weight = draw(shape, torch.float64, seed).relu(), draw([channels, shape[2], 3, 3], torch.float64, seed + 1)
    bias = draw([channels], torch.float64, seed + 2)
    current = torch.empty(1, shape[1], channels, shape[3] - 2, shape[4] - 2, dtype=torch.float64)
    state, decay = draw_state(current, seed + 3) if goes_on else None, draw_decay(current, per_channel, seed)
    found = []
    for backend in (NUMBA, REFERENCE):
        inputs = [leaf(values) for values in (images, weight, bias, decay)]
        fired = backend.stage(*inputs[:3], neuron, state, inputs[3])
        found.append([fired.spikes, *with_gradients(fired.spikes, inputs)])
    for mine, wanted in zip(*found, strict=True):
        assert mine.shape == wanted.shape
        assert (mine - wanted).abs().max() <= 1e-9 * max(1, wanted.abs().max())


@per_layer_or_channel
def test_gradients_by_a_decay_of_a_stage_do_not_depend_on_the_number_of_threads(
    per_channel: bool, threads: None
) -> None:
    images, weight = draw((5, 3, 2, 35, 36), torch.float32, 0).relu(), draw((20, 2, 3, 3), torch.float32, 1)
    decay = draw_decay(torch.empty(1, 1, 20), per_channel).requires_grad_()
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        fired = NUMBA.stage(images, weight, torch.zeros(20), LIFParameters(), None, decay)
        found.append(torch.autograd.grad(fired.spikes.sum(), decay)[0])
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_a_batch_without_samples_gives_a_gradient_of_0() -> None:
    decay = torch.rand(3, requires_grad=True)
    for pool in (False, True):
        fired = fire(NUMBA, pool, torch.zeros(5, 0, 3, 4, 4), LIFParameters(), None, decay)
        assert torch.autograd.grad(fired.spikes.sum(), decay)[0].tolist() == [0, 0, 0]
