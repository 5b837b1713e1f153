"""Where events fall in frames: the host's half of making frames, done by binary searches and table look-ups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sltune.events.samples import Addresses, Samples

POLARITIES = 2


@dataclass(frozen=True)
class FrameFormat:
    """How events become frames.

    sensor: (height, width) of the addresses. downsample: pixels merged in each direction.
    binning: "binary" (1 where any event), "count", or "normalized" (count over the crop's largest count).
    """

    sensor: tuple[int, int]
    time_bin_ms: int
    binning: str = "binary"
    downsample: int = 1

    @property
    def size(self) -> tuple[int, int]:
        height, width = self.sensor
        return height // self.downsample, width // self.downsample

    @property
    def values(self) -> int:
        """How many values one frame has."""
        rows, columns = self.size
        return POLARITIES * rows * columns

    @cached_property
    def pixel(self) -> NDArray[np.int64]:
        """Map an address to its place (polarity, row, column) in one frame; −1 in a rest that fills no pixel."""
        height, width = self.sensor
        rows, columns = self.size
        row, column, polarity = np.unravel_index(np.arange(height * width * POLARITIES), (height, width, POLARITIES))
        row, column = row // self.downsample, column // self.downsample
        place = (polarity * rows + row) * columns + column
        return np.where((row < rows) & (column < columns), place, -1).astype(np.int64)

    @cached_property
    def has_rest(self) -> bool:
        """Whether some pixels of the sensor fill no pixel of a frame."""
        return bool((self.pixel < 0).any())


@dataclass(frozen=True)
class Window:
    """The crop of one sample: from start_bin on, as many bins as the batch has; bins is what the sample has in all."""

    index: int
    start_bin: int
    bins: int


class Augment(Protocol):
    """Changes the events of a crop at random; times count from the start of the sample."""

    def margin_us(self, crop_us: int) -> int:
        """Return how far outside a crop of that length events may lie that can come into it."""

    def __call__(
        self, address: Addresses, time_us: NDArray[np.int64], crop_start_us: int
    ) -> tuple[Addresses, NDArray[np.int64]]:
        """Return other events, in any order."""


def place_events(
    samples: Samples, windows: Sequence[Window], frames: FrameFormat, crop_bins: int, augment: Augment | None = None
) -> NDArray[np.int64]:
    """Return where each event of the windows falls in flattened frames of shape (T, B, P, H, W).

    An event's bin counts whole milliseconds since the sample's first, as the predecessor does; events after
    the sample's last whole bin are left out. Only what augment brings from before it may fall into later bins.
    """
    parts = [np.empty(0, np.int64)]
    for slot, window in enumerate(windows):
        cut = _cut if augment is None else partial(_cut_augmented, augment)
        address, bins = cut(samples, window, frames.time_bin_ms * 1000, crop_bins)
        place = frames.pixel[address]
        if frames.has_rest:
            bins, place = bins[place >= 0], place[place >= 0]
        place += (bins * len(windows) + slot) * frames.values
        parts.append(place)
    return np.concatenate(parts)


def largest_count(samples: Samples, window: Window, frames: FrameFormat, crop_bins: int) -> int:
    """Return how many events fall on the busiest place of a crop's frames; 0 where there are none."""
    places = place_events(samples, [window], frames, crop_bins)
    # Sorted, equal places stand side by side; frames of all bins would take as much memory as the crop is long.
    changes = np.flatnonzero(np.diff(np.sort(places), prepend=-1, append=-1))
    return int(np.diff(changes).max(initial=0))


def _cut(samples: Samples, window: Window, bin_us: int, crop_bins: int) -> tuple[Addresses, NDArray[np.int64]]:
    """Return address and bin in the crop of each event that lies in it."""
    address, time_us = samples.events(window.index)
    end_bin = max(window.start_bin, min(window.start_bin + crop_bins, window.bins))
    edges_us = np.arange(window.start_bin, end_bin + 1) * bin_us - samples.phase_us(window.index)
    # Numbers of another type would have all times converted.
    bounds = np.searchsorted(time_us, edges_us.clip(min=0).astype(time_us.dtype))
    return address[bounds[0] : bounds[-1]], np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))


def _cut_augmented(
    augment: Augment, samples: Samples, window: Window, bin_us: int, crop_bins: int
) -> tuple[Addresses, NDArray[np.int64]]:
    """Return address and bin of each event that augment leaves or brings into the crop."""
    address, time_us = samples.events(window.index)
    phase_us = samples.phase_us(window.index)
    start_us, end_us = (edge * bin_us - phase_us for edge in (window.start_bin, window.start_bin + crop_bins))
    margin_us = augment.margin_us(end_us - start_us)
    reach_us = np.array([start_us - margin_us, min(end_us + margin_us, window.bins * bin_us - phase_us)])
    first, last = np.searchsorted(time_us, reach_us.clip(min=0).astype(time_us.dtype))
    address, moved_us = augment(address[first:last], time_us[first:last].astype(np.int64), start_us)
    inside = (moved_us >= max(0, start_us)) & (moved_us < end_us)
    return address[inside], (moved_us[inside] + phase_us) // bin_us - window.start_bin
