"""Neurons behind batch normalisation: the compiled kernels against torch's batch normalisation and the reference."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sltune.snn.cpu.backend import NumbaBackend
from sltune.snn.layers import LIF, ThresholdBatchNorm
from sltune.snn.neurons.backend import REFERENCE, Backend, Norm
from sltune.snn.neurons.lif import LIFParameters
from tests.snn.decays import draw_decay, draw_state
from tests.snn.drawing import assert_close, draw, leaf, neurons, seeds, with_gradients

NUMBA = NumbaBackend()


def norm_for(images: Tensor, seed: int, fixed: bool) -> Norm:
    channels = images.shape[2]
    weight, bias, mean = (draw([channels], images.dtype, seed + number) for number in range(3))
    var = draw([channels], images.dtype, seed + 3).abs() + 0.1
    return Norm(leaf(weight), leaf(bias), mean if fixed else None, var if fixed else None, 1e-5)


def outcome(
    backend: Backend, images: Tensor, norm: Norm, lif: LIFParameters, goes_on: bool, decay: Tensor | None
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return what comes out, and the gradients by images, weight, bias and a decay."""
    inputs = [leaf(images), leaf(norm.weight.detach()), leaf(norm.bias.detach())]
    own = norm._replace(weight=inputs[1], bias=inputs[2])
    state = draw_state(images, 5) if goes_on else None
    if decay is not None:
        inputs.append(leaf(decay.detach()))
    fired, mean, var = backend.normed_layer(inputs[0], own, lif, state, inputs[3] if decay is not None else None)
    outputs = [fired.spikes, fired.state.potential, fired.state.spikes, fired.spike_count, mean, var]
    return outputs, with_gradients(fired.spikes, inputs)


def assert_as_reference(
    images: Tensor, norm: Norm, lif: LIFParameters, goes_on: bool = False, decay: Tensor | None = None
) -> None:
    mine, my_gradients = outcome(NUMBA, images, norm, lif, goes_on, decay)
    expected, gradients = outcome(REFERENCE, images, norm, lif, goes_on, decay)
    for one, other in zip(mine, expected, strict=True):
        torch.testing.assert_close(one.detach(), other.detach(), rtol=1e-9, atol=1e-9, check_dtype=False)
    assert_close(my_gradients, gradients)


@settings(max_examples=60)
@given(
    lif=neurons,
    # Of two values of a channel, normalised to the same distance from 0, gradients are nothing but rounding.
    shape=st.tuples(st.integers(2, 12), st.integers(1, 3), st.integers(1, 6), st.integers(2, 9), st.integers(2, 9)),
    kind=st.tuples(st.booleans(), st.booleans(), st.sampled_from(["no", "layer", "channel"])),
    layout=st.sampled_from(["contiguous", "channels last", "time last"]),
    seed=seeds,
)
def test_neurons_behind_a_normalisation_equal_the_reference(
    lif: LIFParameters, shape: tuple[int, ...], kind: tuple[bool, bool, str], layout: str, seed: int
) -> None:
    (fixed, goes_on, learned), images = kind, draw(shape, torch.float64, seed)
    axis = {"contiguous": 4, "channels last": 2, "time last": 0}[layout]
    images = images.movedim(axis, -1).contiguous().movedim(-1, axis)
    decay = None if learned == "no" else draw_decay(images, learned == "channel", seed)
    assert_as_reference(images, norm_for(images, seed % 1000, fixed), lif, goes_on, decay)


@pytest.mark.parametrize("channels", [1, 7, 32, 5000])
@pytest.mark.parametrize("fixed", [False, True])
def test_more_neurons_than_a_block_equal_the_reference(channels: int, fixed: bool) -> None:
    """A block of 4096 neurons is never divided within a pixel; the last one is smaller."""
    images = draw((3, 2, channels, 3, 20_000 // (3 * channels) + 2), torch.float64, 0)
    assert_as_reference(images, norm_for(images, 1, fixed), LIFParameters())


def test_statistics_far_from_zero_lose_no_digits() -> None:
    """In float32 a variance by the mean of squares would be nothing but rounding here."""
    images = draw((5, 3, 4, 9, 9), torch.float32, 0) + 10_000
    _, mean, var = NUMBA.normed_layer(images, norm_for(images, 0, False), LIFParameters())
    flat = images.double().transpose(0, 2).flatten(1)
    torch.testing.assert_close(mean.double(), flat.mean(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(var.double(), flat.var(1, correction=0), rtol=1e-3, atol=0)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    images = draw((6, 4, 8, 20, 20), torch.float32, 0)
    norm = norm_for(images, 0, False)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(outcome(NUMBA, images, norm, LIFParameters(), False, draw_decay(images, True, 0)))
    finally:
        torch.set_num_threads(before)
    for outputs, gradients in found[1:]:
        assert all(map(torch.equal, outputs, found[0][0]))
        assert all(map(torch.equal, gradients, found[0][1]))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_are_kept_as_torch_keeps_them(momentum: float | None) -> None:
    lif, norm = LIF(), ThresholdBatchNorm(3)
    plain = nn.BatchNorm2d(3, momentum=momentum)
    norm.momentum = momentum  # type: ignore[assignment]
    for seed in range(3):
        images = draw((4, 2, 3, 5, 5), torch.float32, seed)
        lif(images, norm)
        plain(images.flatten(0, 1))
    torch.testing.assert_close(norm.running_mean, plain.running_mean)
    torch.testing.assert_close(norm.running_var, plain.running_var)
    assert norm.num_batches_tracked == plain.num_batches_tracked
    norm.eval()
    kept = norm.running_mean.clone()  # type: ignore[union-attr]
    images = draw((4, 2, 3, 5, 5), torch.float32, 9)
    torch.testing.assert_close(lif(images, norm), LIF()(norm(images)))
    assert torch.equal(norm.running_mean, kept)  # type: ignore[arg-type]
