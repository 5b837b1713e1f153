"""Convolutions of sparse images and pooling by the maximum: the compiled kernels against torch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sltune.snn import Conv, MaxPool
from sltune.snn.cpu import backend as cpu
from sltune.snn.cpu.backend import NumbaBackend
from sltune.snn.cpu.images import SparseConvolution
from sltune.snn.neurons.backend import REFERENCE
from tests.snn.drawing import draw, leaf, seeds, with_gradients

NUMBA = NumbaBackend()
sizes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(3, 70), st.integers(3, 70))


def sparse(shape: tuple[int, ...], seed: int, share: float, layout: str) -> Tensor:
    """Return images of which a share is not 0."""
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(shape, generator=generator) < share
    images = torch.where(kept, draw(list(shape), torch.float64, seed), 0.0)
    return images.movedim(-3, -1).contiguous().movedim(-1, -3) if layout == "channels last" else images


@settings(max_examples=60, deadline=None)
@given(
    shape=sizes,
    # Each number of vectors is compiled anew.
    channels=st.sampled_from([1, 5, 32]),
    padding=st.sampled_from([0, 1]),
    share=st.sampled_from([0.0, 0.05, 0.34]),
    layout=st.sampled_from(["contiguous", "channels last"]),
    seed=seeds,
)
def test_sparse_convolutions_and_their_gradients_are_torchs(
    shape: tuple[int, int, int, int, int], channels: int, padding: int, share: float, layout: str, seed: int
) -> None:
    images = sparse(shape, seed, share, layout)
    weight, bias = draw([channels, shape[2], 3, 3], torch.float64, seed + 1), draw([channels], torch.float64, seed + 2)
    found = []
    for convolve in (SparseConvolution.apply, REFERENCE.convolve):
        inputs = [leaf(weight), leaf(bias)]
        currents = convolve(images, *inputs, padding)
        found.append((currents.detach(), with_gradients(currents, inputs)))
    torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-10, atol=1e-10)
    for mine, expected in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-10, atol=1e-10)


def test_a_convolution_of_the_frames_skips_zeros_and_that_of_images_with_gradients_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = list[str]()
    monkeypatch.setattr(cpu.SparseConvolution, "apply", lambda *given: calls.append("sparse") or torch.zeros(1))
    conv = Conv(2, 4, padding=1)
    frames = (torch.rand(4, 2, 2, 9, 9) < 0.1).float()
    conv(frames)
    assert calls == ["sparse"]
    for images, layer in (
        (frames.clone().requires_grad_(), conv),
        # Too many are not 0.
        (torch.ones(4, 2, 2, 9, 9), conv),
        (frames, Conv(2, 4, padding=2)),
        (frames, Conv(2, 4, 5)),
    ):
        assert layer(images).shape[:3] == (4, 2, 4)
    assert calls == ["sparse"]


def test_threads_change_nothing_in_a_sparse_convolution() -> None:
    images, weight, bias = sparse((3, 5, 2, 20, 33), 0, 0.2, "contiguous"), torch.randn(24, 2, 3, 3), torch.randn(24)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            inputs = [leaf(weight), leaf(bias)]
            currents = SparseConvolution.apply(images.float(), *inputs, 1)
            found.append([currents.detach(), *with_gradients(currents, inputs)])
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, found[0], found[1]))
    assert all(map(torch.equal, found[0], found[2]))


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 40), st.integers(2, 11), st.integers(2, 11)),
    layout=st.sampled_from(["contiguous", "channels last"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    seed=seeds,
)
def test_pooling_is_torchs_to_the_bit_also_where_values_are_equal(
    shape: tuple[int, int, int, int, int], layout: str, dtype: torch.dtype, seed: int
) -> None:
    """Spikes and their sums are whole numbers, of which several are the largest; the gradient goes to the first."""
    images = torch.randint(-1, 3, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    if layout == "channels last":
        images = images.movedim(-3, -1).contiguous().movedim(-1, -3)
    mine, expected = leaf(images), leaf(images)
    pooled = MaxPool()(mine)
    plain = nn.functional.max_pool2d(expected.flatten(0, 1), 2)
    assert torch.equal(pooled.flatten(0, 1), plain)
    (gradient,), (of_plain,) = with_gradients(pooled, [mine]), with_gradients(plain, [expected])
    assert torch.equal(gradient, of_plain)


@pytest.mark.parametrize("shape", [(2, 2, 3, 1, 4), (2, 3, 4, 4)])
def test_pooling_refuses_what_it_cannot_pool(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"MaxPool takes \(T, B, C, H, W\), with H and W of at least 2, but got"):
        MaxPool()(torch.zeros(shape))
