"""A decay that is learned, on the GPU or in Triton's interpreter, against torch's own differentiation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sltune.snn.neurons.lif import LIFParameters
from tests.snn.cuda.interpreter import DEVICE
from tests.snn.decays import assert_as_torch, draw_decay, draw_state, fire, per_layer_or_channel, pooled_or_not
from tests.snn.drawing import draw, leaf, neurons, seeds

from sltune.snn.cuda.backend import TritonBackend  # isort: skip  (imports Triton)

TRITON = TritonBackend()
SHAPE = (6, 2, 3, 5, 6)


@settings(max_examples=25)
@given(
    neuron=neurons,
    shape=st.tuples(st.integers(1, 8), st.integers(1, 3), st.integers(1, 5), st.integers(2, 7), st.integers(2, 7)),
    kind=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    axis=st.sampled_from([0, 2, 4]),
    seed=seeds,
)
def test_gradients_by_a_decay_equal_those_of_torch(
    neuron: LIFParameters, shape: tuple[int, ...], kind: tuple[bool, bool, bool], axis: int, seed: int
) -> None:
    """axis: which lies last in memory."""
    pool, per_channel, goes_on = kind
    current = draw(shape, torch.float32, seed).movedim(axis, -1).contiguous().movedim(-1, axis)
    current = current.to(DEVICE)
    state = draw_state(current, seed + 1) if goes_on else None
    assert_as_torch(TRITON, pool, current, neuron, state, draw_decay(current, per_channel, seed))


@per_layer_or_channel
@pytest.mark.parametrize("shape", [(7, 3, 150), (3, 2, 4, 9, 9)])
def test_every_program_has_the_decays_of_its_neurons(shape: tuple[int, ...], per_channel: bool) -> None:
    current = draw(shape, torch.float32, 0).to(DEVICE)
    assert_as_torch(TRITON, False, current, LIFParameters(), draw_state(current, 1), draw_decay(current, per_channel))


@pooled_or_not
@per_layer_or_channel
def test_bfloat16_currents_have_a_float32_decay(pool: bool, per_channel: bool) -> None:
    current = draw(SHAPE, torch.bfloat16, 0).to(DEVICE)
    assert_as_torch(TRITON, pool, current, LIFParameters(), None, draw_decay(current, per_channel))


@pooled_or_not
def test_float64_takes_the_reference(pool: bool) -> None:
    current = draw(SHAPE, torch.float64, 0).to(DEVICE)
    assert_as_torch(TRITON, pool, current, LIFParameters(), draw_state(current, 1), draw_decay(current, True))


@pooled_or_not
@per_layer_or_channel
def test_a_decay_of_the_fixed_ones_value_changes_no_bit(pool: bool, per_channel: bool) -> None:
    fixed, learned = (leaf(draw(SHAPE, torch.float32, 0).to(DEVICE)) for _ in range(2))
    decay = torch.full([SHAPE[2]] if per_channel else [], 0.7, device=DEVICE)
    expected = fire(TRITON, pool, fixed, LIFParameters(decay=0.7), None, None)
    fired = fire(TRITON, pool, learned, LIFParameters(decay=0.1), None, decay)
    assert torch.equal(fired.spikes, expected.spikes)
    gradient = torch.autograd.grad(fired.spikes.sum(), learned)[0]
    assert torch.equal(gradient, torch.autograd.grad(expected.spikes.sum(), fixed)[0])


def test_a_decay_may_lie_anywhere_in_memory() -> None:
    current = draw(SHAPE, torch.float32, 0).to(DEVICE)
    sparse = torch.tensor([0.5, 9, 0.25, 9, 0.75, 9], dtype=torch.float64, device=DEVICE)[::2]
    spread = torch.tensor(0.5).expand(3)
    for decay, same in ((sparse, sparse.float().clone()), (spread, torch.tensor(0.5))):
        pair = [TRITON.layer(current, LIFParameters(), None, one).spikes for one in (decay, same)]
        assert torch.equal(*pair)


def test_a_decay_of_another_shape_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"decay must have shape \(\) or, with one of each channel, \(3,\), but got \("
    ):
        TRITON.pooled_layer(torch.zeros(SHAPE, device=DEVICE), LIFParameters(), None, torch.zeros(2))
