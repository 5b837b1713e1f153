"""From the events of a batch to frames on the device.

The host crops events by a binary search in their times. They travel to the device as one integer each, which says where
in the frames the event falls, and become frames there: a dense frame never crosses the bus.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sltune.events.augmentations.augmenter import Augmenter
from sltune.events.augmentations.events import POLARITIES
from sltune.events.crop import TrainCrop, crop_start
from sltune.events.frames import FrameFormat, Window, place_events, scale_of
from sltune.events.samples import Samples

ASYNCHRONOUS_DEVICES = ("cuda",)
"""Kinds of devices that have memory of their own and work while the host prepares the next batch."""
BATCHES_AHEAD = 2
"""One that is ready when the device asks for it, and one in the making."""
SCALED = ("normalized", "relative")
"""Kinds of binning that divide the counts of each crop by a number of its own."""
MAX_KEPT_BYTES = 512 << 20
"""The GPU memory that may hold the events of a part; a validation part of SL-Animals takes about 100 MB."""

T = TypeVar("T")


@dataclass(frozen=True)
class Clip:
    """One crop of each sample of a batch, as frames that are made when they are asked for.

    shape: (T, B, P, H, W). make: returns the frames of time bins first … last − 1. They are valid until the next call,
    which uses the same memory again, since fresh memory costs ten times as much as the work on it.
    """

    shape: tuple[int, int, int, int, int]
    make: Callable[[int, int], Tensor]

    @classmethod
    def of(cls, frames: Tensor) -> Clip:
        """Return a clip of frames that exist already."""
        steps, batch, polarities, height, width = frames.shape
        return cls((steps, batch, polarities, height, width), lambda first, last: frames[first:last])

    def frames(self) -> Tensor:
        """Return all frames."""
        return self.make(0, self.shape[0])

    def stretches(self, values: int) -> Iterator[Tensor]:
        """Give stretches of time of at most this number of values, but of at least one time step."""
        steps = max(1, values // math.prod(self.shape[1:]))
        for first in range(0, self.shape[0], steps):
            yield self.make(first, min(first + steps, self.shape[0]))


@dataclass(frozen=True)
class Batch:
    """labels of shape (B,); clips are crops of the same samples. step_ms: how long their time steps are, shape (B,)."""

    labels: Tensor
    clips: Iterator[Clip]
    step_ms: Tensor | None = None

    @property
    def views(self) -> Iterator[Tensor]:
        """Give the whole frames of each clip."""
        return (clip.frames() for clip in self.clips)


class BatchSource:
    """The batches of one part of a split.

    Args:
        indices: the samples, in the order in which they are read without shuffling.
        crop_bins: time bins of a crop; None for the number that the longest sample has.
        is_repeated: whether the part is evaluated after every epoch, so that keeping its events on the device pays.
    """

    def __init__(
        self,
        samples: Samples,
        indices: NDArray[np.int64],
        frames: FrameFormat,
        crop_bins: int | None,
        device: torch.device,
        is_repeated: bool = False,
    ) -> None:
        self.samples = samples
        self.indices = indices
        self.frames = frames
        self.device = device
        self._keeps = is_repeated and device.type in ASYNCHRONOUS_DEVICES
        self._bins = {int(i): frames.bins_of(samples, int(i)) for i in indices}
        self.crop_bins = crop_bins or max(self._bins.values(), default=1)
        self._memory = torch.empty(0)
        self._kept: dict[tuple[tuple[Window, ...], int, int], Tensor] = {}
        self._scales: dict[tuple[Window, ...], Tensor] = {}

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def seconds(self) -> float:
        """How much recorded time the crops of all samples cover, one of each."""
        edges_us = (self.frames.edges_us(self.samples, int(i), 0, self.crop_bins) for i in self.indices)
        return sum(float(edges[-1] - edges[0]) for edges in edges_us) / 1e6

    def training(
        self,
        batch_size: int,
        crop: TrainCrop,
        starts: np.random.Generator,
        order: np.random.Generator | None,
        augment: Augmenter | None = None,
    ) -> Iterator[Batch]:
        """Give one epoch's batches; the last may be smaller. order shuffles the samples; None keeps their order."""
        indices = self.indices if order is None else order.permutation(self.indices)
        placed = (self._placed(part, crop, starts, augment) for part in _parts(indices, batch_size))
        for part, places in ahead(placed) if self.device.type in ASYNCHRONOUS_DEVICES else placed:
            shape = (self.crop_bins, len(part), POLARITIES, *self.frames.size)
            yield Batch(self._labels(part), iter([Clip(shape, partial(self._whole, places, len(part)))]))

    def crop(self, index: int, start_bin: int, augment: Augmenter | None = None) -> Tensor:
        """Return the frames of one crop of a sample of the part, shape (T, P, H, W), in memory of their own."""
        window = Window(index, start_bin, self._bins[index])
        places = self._packed(place_events(self.samples, [window], self.frames, self.crop_bins, augment))
        return self._whole(places, 1, 0, self.crop_bins)[:, 0].clone()

    def draw_start(self, index: int, crop: TrainCrop, starts: np.random.Generator) -> int:
        """Return the time bin at which the crop of a sample of the part starts."""
        return crop_start(crop, self._bins[index], self.crop_bins, starts)

    def evaluation(self, batch_size: int, crops: int = 1) -> Iterator[Batch]:
        """Give all samples once, in order: the crop at the start, or several spread evenly from start to end."""
        for part in _parts(self.indices, batch_size):
            step_ms = torch.tensor([self.frames.step_ms(self.samples, int(i)) for i in part], dtype=torch.float64)
            yield Batch(self._labels(part), self._clips(part, crops), step_ms)

    def _clips(self, part: NDArray[np.int64], crops: int) -> Iterator[Clip]:
        for crop in range(crops):
            yield self._clip(self._spread(part, crop, crops))

    def _spread(self, part: NDArray[np.int64], crop: int, crops: int) -> tuple[Window, ...]:
        windows = []
        for i in map(int, part):
            room = max(0, self._bins[i] - self.crop_bins)
            windows.append(Window(i, room * crop // max(1, crops - 1), self._bins[i]))
        return tuple(windows)

    def _labels(self, part: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.samples.label[part]).to(self.device)

    def _placed(
        self, part: NDArray[np.int64], crop: TrainCrop, starts: np.random.Generator, augment: Augmenter | None
    ) -> tuple[NDArray[np.int64], Tensor]:
        """Draw the crops of some samples, and return the samples and the places of their events."""
        windows = [Window(int(i), self.draw_start(int(i), crop, starts), self._bins[int(i)]) for i in part]
        return part, self._packed(place_events(self.samples, windows, self.frames, self.crop_bins, augment))

    def _whole(self, places: Tensor, samples: int, first: int, last: int) -> Tensor:
        frames = self._scatter(places, self.crop_bins, samples)
        if self.frames.binning in SCALED:
            frames.div_(_scales(frames, self.frames.binning))
        return frames[first:last]

    def _clip(self, windows: tuple[Window, ...]) -> Clip:
        shape = (self.crop_bins, len(windows), POLARITIES, *self.frames.size)
        return Clip(shape, partial(self._make, windows))

    def _make(self, windows: tuple[Window, ...], first: int, last: int) -> Tensor:
        frames = self._scatter(self._places(windows, first, last), last - first, len(windows))
        if self.frames.binning in SCALED:
            # By what the whole crop has, even where only a stretch of it is made.
            frames.div_(self._scales_of(windows))
        return frames

    def _places(self, windows: tuple[Window, ...], first: int, last: int) -> Tensor:
        """Return where the events of a stretch fall, which every evaluation asks for.

        A GPU would have to wait while the host finds them again, so they stay in the GPU's memory.
        """
        key = (windows, first, last)
        if key in self._kept:
            return self._kept[key]
        moved = [replace(window, start_bin=window.start_bin + first) for window in windows]
        places = self._packed(place_events(self.samples, moved, self.frames, last - first))
        if self._keeps and places.nbytes + sum(kept.nbytes for kept in self._kept.values()) <= MAX_KEPT_BYTES:
            self._kept[key] = places = places.to(self.device, non_blocking=True)
        return places

    def _scales_of(self, windows: tuple[Window, ...]) -> Tensor:
        """Return what the counts of each crop are divided by; shape (1, B, 1, 1, 1)."""
        if windows not in self._scales:
            scales = [scale_of(self.samples, window, self.frames, self.crop_bins) for window in windows]
            self._scales[windows] = torch.tensor(scales, device=self.device).view(1, -1, 1, 1, 1)
        return self._scales[windows]

    def _packed(self, places: NDArray[np.int64]) -> Tensor:
        """Return places as they travel to the device: in 32 bits where these suffice, and from pinned memory."""
        if self.device.type == "cpu":
            return torch.from_numpy(places)
        narrow = places.astype(np.int32) if places.max(initial=0) < 1 << 31 else places
        return torch.from_numpy(narrow).pin_memory()

    def _scatter(self, places: Tensor, steps: int, samples: int) -> Tensor:
        on_device = places.to(self.device, non_blocking=True).long()
        return scatter(on_device, self._buffer(steps, samples), self.frames.binning)

    def _buffer(self, steps: int, samples: int) -> Tensor:
        """Return memory for the frames of these steps and samples; it grows to the largest size asked for."""
        values = steps * samples * self.frames.values
        if len(self._memory) < values:
            self._memory = torch.empty(values, device=self.device)
        return self._memory[:values].view(steps, samples, POLARITIES, *self.frames.size)


def ahead(items: Iterable[T]) -> Iterator[T]:
    """Give the items in order while a thread makes the next few; errors of the thread are raised here."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        waiting = deque(thread.submit(next, source, end) for _ in range(BATCHES_AHEAD))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, source, end))
            yield cast(T, item)


def scatter(places: Tensor, frames: Tensor, binning: str) -> Tensor:
    """Overwrite contiguous frames of shape (T, B, P, H, W) with the events at these places; return the frames.

    binning: "binary" for 1 where any event falls, else their number.

    Raises:
        ValueError: the binning is unknown.
    """
    flat = frames.view(-1).zero_()
    if binning == "binary":
        flat.index_fill_(0, places, 1)
    elif binning == "count" or binning in SCALED:
        flat.scatter_add_(0, places, torch.ones_like(places, dtype=frames.dtype))
    else:
        raise ValueError(f"binning must be binary, count, normalized or relative, but got {binning!r}")
    return frames


def _scales(counts: Tensor, binning: str) -> Tensor:
    """Return what the counts of each sample are divided by, as scale_of does; shape (1, B, 1, 1, 1)."""
    if binning == "relative":
        steps, _, *frame = counts.shape
        return counts.sum(dim=(0, 2, 3, 4), keepdim=True).clamp(min=1) / (steps * math.prod(frame))
    return counts.amax(dim=(0, 2, 3, 4), keepdim=True).clamp(min=1)


def _parts(indices: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    for first in range(0, len(indices), size):
        yield indices[first : first + size]
