"""Mixtures of the samples of a training batch, whose labels are mixed alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from sltune.training.batches import Batch, Clip

Mix = Literal["none", "cutmix", "eventmix"]
MAX_GAUSSIANS = 4
MIN_WIDTH, MAX_WIDTH = 0.1, 0.4
"""The standard deviations of the Gaussians, as shares of each axis: blobs that are neither specks nor everything."""


@dataclass(frozen=True)
class Mixer:
    """Mixes each sample of a batch with another one of it, in the same places for the whole batch.

    kind: "cutmix" takes a rectangle of the sensor from the other sample, of random size and at all times; labels are
    mixed by area (Yun et al. 2019, arXiv 1905.04899). "eventmix" takes what lies outside of some random blobs in space
    and time, together of a random share; labels are mixed by numbers of events (Shen et al. 2023, arXiv 2205.12054).
    probability: of a batch to be mixed. classes: how many there are. rng: the only source of chance.
    """

    kind: Mix
    probability: float
    classes: int
    rng: np.random.Generator

    def mixed(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Give the batches, some of them mixed: frames as float32, labels as shares of shape (B, classes)."""
        for batch in batches:
            if self.rng.random() >= self.probability:
                yield batch
            else:
                frames, labels = self._mix(next(batch.views), batch.labels)
                yield Batch(labels, iter([Clip.of(frames)]))

    def _mix(self, frames: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        steps, samples, _, height, width = frames.shape
        other = torch.from_numpy(self.rng.permutation(samples)).to(frames.device)
        if self.kind == "cutmix":
            mask = self._outside_of_rectangle(height, width)[None]
        else:
            mask = self._blobs(steps, height, width)
        kept = torch.from_numpy(mask).to(frames.device)[:, None, None]
        mixed = torch.where(kept, frames, frames[:, other])
        one_hot = functional.one_hot(labels, self.classes).float()
        if self.kind == "cutmix":
            share = torch.full((samples, 1), float(mask.mean()), device=frames.device)
        else:
            own, both = (part.sum((0, 2, 3, 4)) for part in (frames * kept, mixed))
            share = torch.where(both > 0, own / both, 1.0)[:, None]
        return mixed, share * one_hot + (1 - share) * one_hot[other]

    def _outside_of_rectangle(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return where a sample stays, shape (height, width): outside of a rectangle of random size and place."""
        side = np.sqrt(self.rng.random())
        mask = np.ones((height, width), bool)
        rows, columns = (
            slice(max(0, round(middle - side * length / 2)), max(0, round(middle + side * length / 2)))
            for middle, length in ((self.rng.random() * height, height), (self.rng.random() * width, width))
        )
        mask[rows, columns] = False
        return mask

    def _blobs(self, steps: int, height: int, width: int) -> NDArray[np.bool_]:
        """Return where a sample stays, shape (steps, height, width): where a mixture of Gaussians is high."""
        density = np.zeros((steps, height, width), np.float32)
        for _ in range(self.rng.integers(1, MAX_GAUSSIANS, endpoint=True)):
            middles, widths = self.rng.random(3), self.rng.uniform(MIN_WIDTH, MAX_WIDTH, 3)
            axes = [
                np.exp(-(((np.arange(length) + 0.5) / length - middle) ** 2) / (2 * std**2)).astype(np.float32)
                for length, middle, std in zip(density.shape, middles, widths, strict=True)
            ]
            density += axes[0][:, None, None] * (axes[1][:, None] * axes[2])
        cells = round(self.rng.random() * density.size)
        return density >= np.partition(density.ravel(), -cells)[-cells] if cells else np.zeros(density.shape, bool)
