"""Full connections and their gradients against torch's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from sltune.snn.cpu import backend as backend_cpu
from sltune.snn.cpu.backend import MIN_INPUTS, NumbaBackend
from tests.snn.drawing import assert_close, draw, leaf, with_gradients

DENSE = NumbaBackend().dense


@pytest.mark.parametrize("has_wide_vectors", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("samples", "inputs", "units"),
    [(1, MIN_INPUTS, 1), (7, MIN_INPUTS + 37, 5), (18, MIN_INPUTS, 200), (4, 60, 9)],
)
def test_gradients_equal_torchs(
    samples: int,
    inputs: int,
    units: int,
    dtype: torch.dtype,
    has_wide_vectors: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With more and fewer rows than are computed at once, and columns that fill no vector."""
    monkeypatch.setattr(backend_cpu, "HAS_WIDE_VECTORS", has_wide_vectors)
    parts = [draw([samples, inputs], dtype, 0), draw([units, inputs], dtype, 1), draw([units], dtype, 2)]
    mine, plain = [leaf(part) for part in parts], [leaf(part) for part in parts]
    current, expected = DENSE(*mine), functional.linear(*plain)
    assert torch.equal(current, expected)
    assert_close(with_gradients(current, mine), with_gradients(expected, plain))


def test_inputs_that_lie_otherwise_in_memory_and_need_no_gradient() -> None:
    spikes = draw([MIN_INPUTS, 6], torch.float32, 0).t()
    parts = [draw([5, MIN_INPUTS], torch.float32, 1), draw([5], torch.float32, 2)]
    mine, plain = [leaf(part) for part in parts], [leaf(part) for part in parts]
    assert_close(with_gradients(DENSE(spikes, *mine), mine), with_gradients(functional.linear(spikes, *plain), plain))


def test_bfloat16_is_left_to_torch() -> None:
    parts = [leaf(draw(shape, torch.float32, 0)) for shape in ([3, MIN_INPUTS], [5, MIN_INPUTS], [5])]
    with torch.autocast("cpu", torch.bfloat16):
        current = DENSE(*parts)
    assert current.dtype == torch.bfloat16
    assert all(bool(grad.isfinite().all()) for grad in with_gradients(current, parts))
