"""Events of a batch → device → frames.

Events are cropped on the host by a binary search in their times, travel to the device as one integer each
(where in the frames it falls), and become frames there: a dense frame never crosses the bus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sltune.events.crop import TrainCrop, bins_of, crop_start
from sltune.events.samples import Samples

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

    @cached_property
    def pixel(self) -> NDArray[np.int32]:
        """Map an address to its place (polarity, row, column) in one frame; −1 in a rest that fills no pixel."""
        height, width = self.sensor
        rows, columns = self.size
        row, column, polarity = np.unravel_index(np.arange(height * width * POLARITIES), (height, width, POLARITIES))
        row, column = row // self.downsample, column // self.downsample
        place = (polarity * rows + row) * columns + column
        return np.where((row < rows) & (column < columns), place, -1).astype(np.int32)


@dataclass(frozen=True)
class Window:
    """The crop of one sample: from start_bin on, as many bins as the batch has; bins is what the sample has in all."""

    index: int
    start_bin: int
    bins: int


@dataclass(frozen=True)
class Batch:
    """labels of shape (B,); views are crops of the same samples, frames of shape (T, B, P, H, W) each."""

    labels: Tensor
    views: Iterator[Tensor]


class BatchSource:
    """The batches of one part of a split.

    Args:
        indices: the samples, in the order in which they are read without shuffling.
        crop_bins: time bins of a crop; None for as many as the longest of the samples has.
    """

    def __init__(
        self,
        samples: Samples,
        indices: NDArray[np.int64],
        frames: FrameFormat,
        crop_bins: int | None,
        device: torch.device,
    ) -> None:
        self.samples = samples
        self.indices = indices
        self.frames = frames
        self.device = device
        self._bins = {int(i): bins_of(samples.last_ms(int(i)), frames.time_bin_ms) for i in indices}
        self.crop_bins = crop_bins or max(self._bins.values())

    def __len__(self) -> int:
        return len(self.indices)

    def training(
        self, batch_size: int, crop: TrainCrop, starts: np.random.Generator, order: np.random.Generator | None
    ) -> Iterator[Batch]:
        """Give one epoch's batches; the last may be smaller. order shuffles, None keeps the order."""
        indices = self.indices if order is None else order.permutation(self.indices)
        for part in _parts(indices, batch_size):
            windows = [
                Window(int(i), crop_start(crop, self._bins[int(i)], self.crop_bins, starts), self._bins[int(i)])
                for i in part
            ]
            yield Batch(self._labels(part), iter([self._frames(windows)]))

    def evaluation(self, batch_size: int, crops: int = 1) -> Iterator[Batch]:
        """Give all samples once, in order: the crop from the start, or several spread evenly from start to end."""
        for part in _parts(self.indices, batch_size):
            yield Batch(self._labels(part), self._views(part, crops))

    def _views(self, part: NDArray[np.int64], crops: int) -> Iterator[Tensor]:
        for crop in range(crops):
            yield self._frames(self._spread(part, crop, crops))

    def _spread(self, part: NDArray[np.int64], crop: int, crops: int) -> list[Window]:
        windows = []
        for i in map(int, part):
            room = max(0, self._bins[i] - self.crop_bins)
            windows.append(Window(i, room * crop // max(1, crops - 1), self._bins[i]))
        return windows

    def _labels(self, part: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.samples.label[part]).to(self.device)

    def _frames(self, windows: Sequence[Window]) -> Tensor:
        shape = (self.crop_bins, len(windows), POLARITIES, *self.frames.size)
        places = place_events(self.samples, windows, self.frames, self.crop_bins)
        return scatter(torch.from_numpy(places).to(self.device), shape, self.frames.binning)


def place_events(samples: Samples, windows: Sequence[Window], frames: FrameFormat, crop_bins: int) -> NDArray[np.int64]:
    """Return where each event of the windows falls in flattened frames of shape (T, B, P, H, W).

    An event's bin counts whole milliseconds since the sample's first, as the predecessor does; events after
    the sample's last whole bin are left out.
    """
    frame_values = POLARITIES * frames.size[0] * frames.size[1]
    parts = [np.empty(0, np.int64)]
    for slot, window in enumerate(windows):
        address, time_us = samples.events(window.index)
        phase_us = samples.phase_us(window.index)
        bin_us = frames.time_bin_ms * 1000
        end_bin = min(window.start_bin + crop_bins, window.bins)
        edges_us = np.array([window.start_bin, end_bin]) * bin_us - phase_us
        first, last = np.searchsorted(time_us, edges_us.clip(min=0).astype(np.uint32))
        bins = (time_us[first:last].astype(np.int64) + phase_us) // bin_us - window.start_bin
        place = frames.pixel[address[first:last]]
        inside = place >= 0
        parts.append(((bins * len(windows) + slot) * frame_values + place)[inside])
    return np.concatenate(parts)


def scatter(places: Tensor, shape: tuple[int, ...], binning: str) -> Tensor:
    """Make float32 frames of shape (T, B, P, H, W) from the places of events.

    Raises:
        ValueError: the binning is unknown.
    """
    frames = torch.zeros(shape, dtype=torch.float32, device=places.device)
    if binning == "binary":
        frames.view(-1)[places] = 1
    elif binning in ("count", "normalized"):
        frames.view(-1).index_add_(0, places, torch.ones_like(places, dtype=torch.float32))
    else:
        raise ValueError(f"binning must be binary, count or normalized, but got {binning!r}")
    if binning == "normalized":
        # A sample without events keeps its zeros.
        frames /= frames.amax(dim=(0, 2, 3, 4), keepdim=True).clamp(min=1)
    return frames


def _parts(indices: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(indices), size):
        yield indices[first : first + size]
