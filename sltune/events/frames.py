"""Find where events fall in frames, by binary search and table look-up; the device makes the frames from that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from sltune.events.augmentations.augmenter import Augmenter
from sltune.events.augmentations.events import POLARITIES, Addresses, Events
from sltune.events.crop import bins_of
from sltune.events.samples import Samples


def merged_pixels(sensor: tuple[int, int], size: tuple[int, int], covered: tuple[int, int]) -> NDArray[np.int64]:
    """Return, for each pixel of a sensor row by row, the number of the pixel that it becomes part of in a smaller grid.

    Args:
        sensor, size: (height, width) of both. covered: the rows and columns of the sensor that the grid divides evenly;
            pixels beyond them get −1.
    """
    row, column = (
        np.where(pixel < part, pixel * number // max(1, part), -1)
        for pixel, number, part in zip(map(np.arange, sensor), size, covered, strict=True)
    )
    inside = (row >= 0)[:, None] & (column >= 0)
    return np.where(inside, row[:, None] * size[1] + column, -1).ravel()


@dataclass(frozen=True)
class FrameFormat:
    """How events become frames.

    sensor: (height, width) of the addresses. binning: "binary" (1 where any event), "count", "normalized" (count over
    the crop's largest count), or "relative" (count over the crop's mean count). downsample: pixels merged in each
    direction. resized: (height, width) of the frames instead, at most the sensor's; a pixel's row goes to row · height
    // height of the sensor, and its column alike. bins: so many time bins of equal length for every sample, whatever
    its length; 0 for bins of time_bin_ms.
    """

    sensor: tuple[int, int]
    time_bin_ms: int
    binning: str = "binary"
    downsample: int = 1
    resized: tuple[int, int] | None = None
    bins: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a frame."""
        if self.resized is not None:
            return self.resized
        height, width = self.sensor
        return height // self.downsample, width // self.downsample

    @property
    def values(self) -> int:
        """The number of values in one frame."""
        rows, columns = self.size
        return POLARITIES * rows * columns

    @cached_property
    def pixel(self) -> NDArray[np.int64]:
        """For each address, its index in a flat frame (polarity, row, column); −1 at edges that fill no whole pixel."""
        rows, columns = self.size
        whole = rows * self.downsample, columns * self.downsample
        merged = merged_pixels(self.sensor, self.size, self.sensor if self.resized else whole)[:, None]
        return np.where(merged < 0, -1, merged + rows * columns * np.arange(POLARITIES)).ravel()

    @cached_property
    def has_rest(self) -> bool:
        """Whether pixels at the edges of the sensor fill no whole pixel of a frame."""
        return bool((self.pixel < 0).any())

    def bins_of(self, samples: Samples, index: int) -> int:
        """Return how many time bins a sample has."""
        return self.bins or bins_of(samples.last_ms(index), self.time_bin_ms)

    def step_ms(self, samples: Samples, index: int) -> float:
        """Return how long a time bin of a sample is."""
        return (samples.duration_us(index) + 1) / self.bins / 1000 if self.bins else self.time_bin_ms

    def edges_us(self, samples: Samples, index: int, first: int, last: int) -> NDArray[np.int64]:
        """Return when bins first … last − 1 of a sample begin, and when the last ends, in µs since the sample's start.

        The first bin begins before its first event, as bins count whole milliseconds of the camera's clock; with a
        number of bins, it begins with the event.
        """
        edges = np.arange(first, last + 1)
        if not self.bins:
            return edges * (self.time_bin_ms * 1000) - samples.phase_us(index)
        # Rounded up to whole µs: an event at t_us is in bin t_us · bins // (duration_us + 1).
        return -(-edges * (samples.duration_us(index) + 1) // self.bins)


@dataclass(frozen=True)
class Window:
    """The crop of one sample, from start_bin on, as long as the batch. bins: the number of bins of the whole sample."""

    index: int
    start_bin: int
    bins: int


def place_events(
    samples: Samples, windows: Sequence[Window], frames: FrameFormat, crop_bins: int, augment: Augmenter | None = None
) -> NDArray[np.int64]:
    """Return the index of each event of the windows in flattened frames of shape (T, B, P, H, W).

    Bins of time_bin_ms count whole milliseconds since the first event of the sample, as the predecessor does. Events
    after the last whole bin of a sample are left out; augment may move earlier events into later bins.
    """
    parts = [np.empty(0, np.int64)]
    for slot, window in enumerate(windows):
        cut = _cut if augment is None else partial(_cut_augmented, augment)
        address, bins = cut(samples, window, frames, crop_bins)
        place = frames.pixel[address]
        if frames.has_rest:
            bins, place = bins[place >= 0], place[place >= 0]
        place += (bins * len(windows) + slot) * frames.values
        parts.append(place)
    return np.concatenate(parts)


def scale_of(samples: Samples, window: Window, frames: FrameFormat, crop_bins: int) -> float:
    """Return what the counts of a crop are divided by: its largest count, at least 1, or its mean count."""
    places = place_events(samples, [window], frames, crop_bins)
    if frames.binning == "relative":
        return max(1, len(places)) / (crop_bins * frames.values)
    # Runs of equal places are counted after sorting: frames would take memory in proportion to the crop's length.
    changes = np.flatnonzero(np.diff(np.sort(places), prepend=-1, append=-1))
    return float(np.diff(changes).max(initial=1))


def _cut(samples: Samples, window: Window, frames: FrameFormat, crop_bins: int) -> tuple[Addresses, NDArray[np.int64]]:
    """Return address and bin in the crop of each event that lies in it."""
    address, time_us = samples.events(window.index)
    end_bin = max(window.start_bin, min(window.start_bin + crop_bins, window.bins))
    edges_us = frames.edges_us(samples, window.index, window.start_bin, end_bin)
    return _in_order(address, time_us, edges_us.clip(min=0))


def _cut_augmented(
    augment: Augmenter, samples: Samples, window: Window, frames: FrameFormat, crop_bins: int
) -> tuple[Addresses, NDArray[np.int64]]:
    """Return address and bin of each event that lies in the crop after augmentation."""
    address, time_us = samples.events(window.index)
    edges_us = frames.edges_us(samples, window.index, window.start_bin, window.start_bin + crop_bins)
    start_us, end_us = int(edges_us[0]), int(edges_us[-1])
    sample_end_us = int(frames.edges_us(samples, window.index, window.bins, window.bins)[0])
    margin_us = augment.margin_us(end_us - start_us)
    reach_us = np.array([start_us - margin_us, min(end_us + margin_us, sample_end_us)])
    first, last = np.searchsorted(time_us, reach_us.clip(min=0).astype(time_us.dtype))
    since_us = np.subtract(time_us[first:last], start_us, dtype=np.int64)
    events = augment(Events(since_us, address[first:last], frames.sensor, end_us - start_us))
    # The first bin of a sample has room before its first event.
    edges_us = (edges_us - start_us).clip(min=max(0, -start_us))
    if (events.t_us[:-1] <= events.t_us[1:]).all():
        return _in_order(events.address, events.t_us, edges_us)
    inside = (events.t_us >= edges_us[0]) & (events.t_us < edges_us[-1])
    return events.address[inside], np.searchsorted(edges_us, events.t_us[inside], side="right") - 1


def _in_order(
    address: Addresses, time_us: NDArray[np.integer], edges_us: NDArray[np.int64]
) -> tuple[Addresses, NDArray[np.int64]]:
    """Return address and bin of each event that lies between the edges; events are in order of time."""
    # With edges of another type, searchsorted would first convert all times.
    bounds = np.searchsorted(time_us, edges_us.astype(time_us.dtype))
    return address[bounds[0] : bounds[-1]], np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
