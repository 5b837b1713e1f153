"""Neurons behind batch normalisation on the GPU, or in Triton's interpreter, against plain torch."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from sltune.snn.layers import LIF, ThresholdBatchNorm
from sltune.snn.neurons.backend import REFERENCE
from sltune.snn.neurons.lif import LIFParameters, LIFState
from tests.snn.cuda.interpreter import DEVICE
from tests.snn.cuda.normed import assert_as_torch, norm_for
from tests.snn.decays import draw_decay, draw_state
from tests.snn.drawing import draw, leaf, neurons, seeds, with_gradients

from sltune.snn.cuda.backend import TritonBackend  # isort: skip  (imports Triton)

TRITON = TritonBackend()
SHAPE = (6, 2, 3, 5, 6)
own_or_fixed = pytest.mark.parametrize("fixed", [False, True], ids=["own statistics", "fixed statistics"])


@settings(max_examples=25)
@given(
    lif=neurons,
    shape=st.tuples(st.integers(2, 8), st.integers(1, 3), st.integers(1, 5), st.integers(2, 7), st.integers(2, 7)),
    kind=st.tuples(st.booleans(), st.booleans(), st.sampled_from(["no", "layer", "channel"])),
    axis=st.sampled_from([0, 2, 4]),
    seed=seeds,
)
def test_neurons_behind_a_normalisation_equal_those_of_torch(
    lif: LIFParameters, shape: tuple[int, ...], kind: tuple[bool, bool, str], axis: int, seed: int
) -> None:
    """axis: which lies last in memory."""
    fixed, goes_on, learned = kind
    images = draw(shape, torch.float32, seed).movedim(axis, -1).contiguous().movedim(-1, axis).to(DEVICE)
    state = draw_state(images, seed + 1) if goes_on else None
    decay = None if learned == "no" else draw_decay(images, learned == "channel", seed)
    assert_as_torch(TRITON, images, norm_for(images, fixed, seed % 1000), lif, state, decay)


@own_or_fixed
@pytest.mark.parametrize("channels", [1, 7, 40])
@pytest.mark.parametrize("axis", [2, 4])
def test_every_program_has_the_normalisation_of_its_neurons(channels: int, axis: int, fixed: bool) -> None:
    images = draw((2, 2, channels, 5, 4), torch.float32, 0).movedim(axis, -1).contiguous().movedim(-1, axis).to(DEVICE)
    assert_as_torch(TRITON, images, norm_for(images, fixed), LIFParameters(), None, draw_decay(images, True))


@own_or_fixed
def test_torchs_own_batch_normalisation_gives_the_same(fixed: bool) -> None:
    """It rounds otherwise, which tips none of these potentials."""
    images = draw((7, 3, 4, 6, 5), torch.float32, 3).to(DEVICE)
    norm, found = norm_for(images, fixed), []
    for backend in (TRITON, REFERENCE):
        inputs = [leaf(images), leaf(norm.weight), leaf(norm.bias)]
        fired, mean, var = backend.normed_layer(
            inputs[0], norm._replace(weight=inputs[1], bias=inputs[2]), LIFParameters()
        )
        found.append([fired.spikes, mean, var, *with_gradients(fired.spikes.cpu(), inputs)])
    for mine, expected in zip(*found, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-4)


def test_statistics_far_from_zero_lose_no_digits() -> None:
    """Neurons are the same however far all values are moved; scale · x + shift would be nothing but rounding here."""
    images = (draw((5, 3, 4, 9, 9), torch.float32, 0) * 8).round() / 8
    norm = norm_for(images.to(DEVICE), False)
    near, far = (TRITON.normed_layer(one.to(DEVICE), norm, LIFParameters())[0] for one in (images, images + 2**16))
    assert (near.spikes != far.spikes).float().mean() < 0.01


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_types_are_normalised_by_torch(dtype: torch.dtype) -> None:
    images = draw(SHAPE, dtype, 0).to(DEVICE)
    norm = norm_for(images, False)
    norm = norm._replace(weight=norm.weight.to(dtype), bias=norm.bias.to(dtype))
    mine, expected = (backend.normed_layer(images, norm, LIFParameters())[0] for backend in (TRITON, REFERENCE))
    if dtype == torch.float64:
        assert torch.equal(mine.spikes, expected.spikes)
    assert mine.spikes.dtype == dtype


def test_a_batch_without_samples_gives_no_spikes() -> None:
    images = torch.zeros((5, 0, 3, 4, 5), device=DEVICE)
    assert TRITON.normed_layer(images, norm_for(images, True), LIFParameters())[0].spikes.shape == images.shape


def test_a_state_of_another_shape_is_refused() -> None:
    images = draw(SHAPE, torch.float32, 0).to(DEVICE)
    state = LIFState(images[0, :1], images[0, :1])
    with pytest.raises(ValueError, match="the state must have the shape and device"):
        TRITON.normed_layer(images, norm_for(images, False), LIFParameters(), state)


@pytest.mark.parametrize("learn_decay", [False, "layer", "channel"])
def test_a_layer_with_a_normalisation_takes_the_kernels(monkeypatch: pytest.MonkeyPatch, learn_decay: str) -> None:
    """It trains and keeps its statistics as the reference does."""

    def trained(backend: str) -> list[Tensor]:
        monkeypatch.setenv("SLTUNE_LIF_BACKEND", backend)
        lif = LIF(learn_decay=learn_decay, channels=3 if learn_decay == "channel" else None)  # type: ignore[arg-type]
        lif, norm = lif.to(DEVICE), ThresholdBatchNorm(3).to(DEVICE)
        for seed in range(2):
            torch.autograd.backward(lif(draw(SHAPE, torch.float32, seed).to(DEVICE), norm).sum())
        found = [*lif.parameters(), *norm.parameters()]
        gradients = [one.grad for one in found if one.grad is not None]
        assert len(gradients) == len(found)
        return [*gradients, *norm.buffers(), lif.eval()(draw(SHAPE, torch.float32, 9).to(DEVICE), norm.eval())]

    expected = trained("reference")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("torch was asked to normalise")

    monkeypatch.setattr(functional, "batch_norm", refuse)
    for one, other in zip(trained("triton"), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_backward_can_run_twice_and_takes_a_gradient_of_any_layout() -> None:
    images = leaf(draw(SHAPE, torch.float32, 0).to(DEVICE))
    spikes = TRITON.normed_layer(images, norm_for(images.detach(), False), LIFParameters())[0].spikes
    again = partial(torch.autograd.grad, spikes, images, retain_graph=True)
    ones = torch.ones_like(spikes)
    first, spread = again(ones)[0], again(ones[:, :, :1, :1, :1].expand_as(ones))[0]
    assert first.any()
    assert torch.equal(first, spread)
