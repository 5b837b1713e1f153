"""What the tests of layers draw, and how they compare."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hypothesis import strategies as st
from torch import Tensor

from sltune.snn.neurons.lif import LIFParameters
from sltune.snn.neurons.surrogate import WINDOWS

neurons = st.builds(
    LIFParameters,
    v_threshold=st.floats(0.05, 2),
    decay=st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]),
    surrogate=st.sampled_from(list(WINDOWS)),
    surrogate_width=st.floats(0.1, 3),
)
dtypes = st.sampled_from([torch.float32, torch.float64])
steps = st.one_of(st.integers(1, 20), st.integers(20, 300))
seeds = st.integers(0, 2**32 - 1)


def draw(shape: Sequence[int], dtype: torch.dtype, seed: int) -> Tensor:
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def with_gradients(output: Tensor, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients of a random weighted sum of the output."""
    return list(torch.autograd.grad((output * draw(output.shape, output.dtype, 1)).sum(), inputs))


def leaf(values: Tensor) -> Tensor:
    return values.clone(memory_format=torch.preserve_format).requires_grad_()


def assert_close(mine: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """Compare gradients to 1e-5 of the largest of each."""
    for grad, wanted in zip(mine, expected, strict=True):
        assert (grad - wanted).abs().max() <= 1e-5 * wanted.abs().max()
