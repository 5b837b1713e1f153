"""Events of a batch → device → frames.

Events are cropped on the host by a binary search in their times, travel to the device as one integer each
(where in the frames it falls), and become frames there: a dense frame never crosses the bus.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sltune.events.crop import TrainCrop, bins_of, crop_start
from sltune.events.frames import POLARITIES, Augment, FrameFormat, Window, place_events
from sltune.events.samples import Samples


@dataclass(frozen=True)
class Batch:
    """labels of shape (B,); views are crops of the same samples, frames of shape (T, B, P, H, W) each.

    Frames hold until the next are taken: all batches share their memory, since fresh memory costs ten times as much
    as the work on it.
    """

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
        self._kept = torch.empty(0)

    def __len__(self) -> int:
        return len(self.indices)

    def training(
        self,
        batch_size: int,
        crop: TrainCrop,
        starts: np.random.Generator,
        order: np.random.Generator | None,
        augment: Augment | None = None,
    ) -> Iterator[Batch]:
        """Give one epoch's batches; the last may be smaller. order shuffles, None keeps the order."""
        indices = self.indices if order is None else order.permutation(self.indices)
        memory = self._kept_memory(batch_size)
        for part in _parts(indices, batch_size):
            windows = [
                Window(int(i), crop_start(crop, self._bins[int(i)], self.crop_bins, starts), self._bins[int(i)])
                for i in part
            ]
            yield Batch(self._labels(part), iter([self._frames(windows, memory, augment)]))

    def evaluation(self, batch_size: int, crops: int = 1) -> Iterator[Batch]:
        """Give all samples once, in order: the crop from the start, or several spread evenly from start to end."""
        memory = self._memory(batch_size)
        for part in _parts(self.indices, batch_size):
            yield Batch(self._labels(part), self._views(part, crops, memory))

    def _views(self, part: NDArray[np.int64], crops: int, memory: Tensor) -> Iterator[Tensor]:
        for crop in range(crops):
            yield self._frames(self._spread(part, crop, crops), memory)

    def _spread(self, part: NDArray[np.int64], crop: int, crops: int) -> list[Window]:
        windows = []
        for i in map(int, part):
            room = max(0, self._bins[i] - self.crop_bins)
            windows.append(Window(i, room * crop // max(1, crops - 1), self._bins[i]))
        return windows

    def _labels(self, part: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.samples.label[part]).to(self.device)

    def _kept_memory(self, batch_size: int) -> Tensor:
        """Return memory that stays from one epoch to the next; evaluation's is larger and needed more seldom."""
        if len(self._kept) < self.crop_bins * min(batch_size, len(self)) * self.frames.values:
            self._kept = self._memory(batch_size)
        return self._kept

    def _memory(self, batch_size: int) -> Tensor:
        return torch.empty(self.crop_bins * min(batch_size, len(self)) * self.frames.values, device=self.device)

    def _frames(self, windows: Sequence[Window], memory: Tensor, augment: Augment | None = None) -> Tensor:
        places = place_events(self.samples, windows, self.frames, self.crop_bins, augment)
        frames = memory[: self.crop_bins * len(windows) * self.frames.values]
        frames = frames.view(self.crop_bins, len(windows), POLARITIES, *self.frames.size)
        return scatter(torch.from_numpy(places).to(self.device), frames, self.frames.binning)


def scatter(places: Tensor, frames: Tensor, binning: str) -> Tensor:
    """Fill contiguous frames of shape (T, B, P, H, W) from the places of events, whatever they held; return them.

    Raises:
        ValueError: the binning is unknown.
    """
    flat = frames.view(-1).zero_()
    if binning == "binary":
        flat.index_fill_(0, places, 1)
    elif binning in ("count", "normalized"):
        flat.scatter_add_(0, places, torch.ones_like(places, dtype=frames.dtype))
    else:
        raise ValueError(f"binning must be binary, count or normalized, but got {binning!r}")
    if binning == "normalized":
        # A sample without events keeps its zeros.
        frames /= frames.amax(dim=(0, 2, 3, 4), keepdim=True).clamp(min=1)
    return frames


def _parts(indices: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(indices), size):
        yield indices[first : first + size]
