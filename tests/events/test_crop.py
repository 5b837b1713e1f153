"""Crop windows in whole time bins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sltune.events.crop import TrainCrop, bins_of, crop_start


@pytest.mark.parametrize(
    ("last_ms", "time_bin_ms", "bins"), [(0, 30, 1), (29, 30, 1), (59, 30, 1), (60, 30, 2), (4360, 30, 145)]
)
def test_the_last_incomplete_bin_is_dropped_but_one_is_kept(last_ms: int, time_bin_ms: int, bins: int) -> None:
    assert bins_of(last_ms, time_bin_ms) == bins


@pytest.mark.parametrize("mode", ["start", "whole"])
def test_crops_from_the_start_begin_at_0_and_draw_nothing(mode: TrainCrop) -> None:
    rng = np.random.default_rng(0)
    assert crop_start(mode, 100, 17, rng) == 0
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize("mode", ["random", "random-predecessor"])
@given(bins=st.integers(1, 20), longer=st.integers(0, 20), seed=st.integers(0, 99))
def test_a_sample_no_longer_than_the_crop_is_taken_from_its_start(
    mode: TrainCrop, bins: int, longer: int, seed: int
) -> None:
    assert crop_start(mode, bins, bins + longer, np.random.default_rng(seed)) == 0


@pytest.mark.parametrize(("mode", "starts"), [("random", {0, 1, 2, 3}), ("random-predecessor", {0, 1, 2})])
def test_a_random_crop_has_every_start_and_the_predecessors_never_the_last(mode: TrainCrop, starts: set[int]) -> None:
    """7 bins and a crop of 4 leave the starts 0 to 3."""
    rng = np.random.default_rng(1)
    drawn = [crop_start(mode, 7, 4, rng) for _ in range(400)]
    assert set(drawn) == starts
    assert min(drawn.count(start) for start in starts) > 400 / len(starts) / 2


def test_the_predecessors_only_start_of_a_sample_one_bin_longer_is_0() -> None:
    assert {crop_start("random-predecessor", 5, 4, np.random.default_rng(seed)) for seed in range(20)} == {0}


def test_the_same_seed_gives_the_same_starts() -> None:
    one, other = (np.random.default_rng(5) for _ in range(2))
    assert [crop_start("random", 90, 17, one) for _ in range(9)] == [
        crop_start("random", 90, 17, other) for _ in range(9)
    ]
