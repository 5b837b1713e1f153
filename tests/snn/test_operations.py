"""Effective ACs and MACs, by hand and by their laws."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sltune.snn import operations as module
from sltune.snn.operations import Operations


def counted(layer: nn.Linear | nn.Conv2d, *values: torch.Tensor) -> tuple[int, int]:
    operations = Operations()
    for one in values:
        operations.add(layer, one)
    return operations.accumulates, operations.multiply_accumulates


def test_padding_stride_and_pruned_weights_are_counted_by_hand() -> None:
    layer = nn.Conv2d(1, 2, 3, stride=2, padding=1)
    image = torch.zeros(1, 1, 4, 4)
    # Windows lie around pixels 0 and 2 of rows and columns: pixel (1, 1) is in all four of them, (0, 0) in one.
    image[0, 0, 1, 1] = 1
    assert counted(layer, image) == (4 * 2, 0)
    image[0, 0, 0, 0] = -1
    assert counted(layer, image) == ((4 + 1) * 2, 0)
    with torch.no_grad():
        # The window around (0, 0) sees that pixel by its middle weight, and (1, 1) by its last one.
        layer.weight[0, 0, 1, 1] = 0
    assert counted(layer, image) == ((4 + 1) * 2 - 1, 0)
    image[0, 0, 0, 0] = 0.5
    assert counted(layer, image) == (0, (4 + 1) * 2 - 1)


def test_each_image_or_row_is_binary_or_not_by_itself() -> None:
    rows = torch.tensor([[[1.0, 0, 1]], [[2.0, 0, 1]], [[0.0, 0, 0]], [[-1.0, 0, 0]]])
    assert counted(nn.Linear(3, 5), rows) == (2 * 5 + 5, 2 * 5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5), st.booleans(), st.integers(1, 40))
def test_counts_add_up_over_time_and_zeros_cost_nothing(seed: int, cut: int, flat: bool, at_once: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 3, (6, 2, 4, 5), generator=draw).float()
    values[torch.rand(6, generator=draw) < 0.5] = values[0].clamp(max=1)
    layer = nn.Linear(5, 3) if flat else nn.Conv2d(2, 3, (2, 3), padding=1)
    whole = counted(layer, values)
    assert counted(layer, values[:cut], values[cut:]) == whole
    assert counted(layer, values, torch.zeros_like(values)) == whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_VALUES", at_once)
        assert counted(layer, values) == whole


def test_sums_beyond_what_float32_holds_are_exact() -> None:
    layer = nn.Linear(4097, 4099)
    nn.init.ones_(layer.weight)
    assert counted(layer, torch.ones(1, 4097)) == (4097 * 4099, 0)
