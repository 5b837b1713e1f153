"""Crop windows: which time bins of a sample a network sees."""

from __future__ import annotations

from typing import Literal

import numpy as np

TrainCrop = Literal["start", "random", "whole", "random-predecessor"]


def bins_of(last_ms: int, time_bin_ms: int) -> int:
    """Return how many whole time bins a sample has, at least 1; an incomplete last bin is dropped.

    last_ms: the millisecond of the latest event, counted from that of the first.
    """
    return max(1, last_ms // time_bin_ms)


def crop_start(mode: TrainCrop, bins: int, crop_bins: int, rng: np.random.Generator) -> int:
    """Return the bin at which the crop starts; 0 if the sample is not longer than the crop.

    ``random-predecessor`` draws as the predecessor does, which never picks the last possible start.
    """
    room = bins - crop_bins
    if room <= 0 or mode in ("start", "whole"):
        return 0
    return int(rng.integers(room if mode == "random-predecessor" else room + 1))
