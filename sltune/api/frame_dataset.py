"""Frames as tensors: of one sample, and of a part of a fold as a trial trains on it or is tested on it."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils import data

from sltune.api.spaces import SpaceLike, load_space
from sltune.errors import UsageError
from sltune.events.augmentations.augmenter import Augmenter
from sltune.events.crop import bins_of
from sltune.events.dataset import Dataset
from sltune.events.frames import FrameFormat
from sltune.events.samples import Samples
from sltune.events.splits.split import bound, lists_of, split_of
from sltune.extensions.kinds import KINDS, named
from sltune.settings.configuration import Configuration
from sltune.settings.space import Space
from sltune.training.batches import BatchSource
from sltune.tuning.trial.job import frame_format

Part = Literal["train", "val", "test"]
MAX_SEED = 1 << 62
"""Seeds for numpy's random numbers are drawn from torch's below this, which fits the 64 bits of a tensor."""


def frames_of(samples: Samples, index: int, frames: FrameFormat, start_ms: int, length_ms: int | None) -> Tensor:
    """Return a crop of a sample, shape (T, P, H, W), as Dataset.frames describes it.

    Raises:
        UsageError: the crop does not consist of whole time bins, or has none.
    """
    bin_ms = frames.time_bin_ms
    if bin_ms < 1 or start_ms < 0 or start_ms % bin_ms:
        raise UsageError(f"start_ms must be a multiple of time_bin_ms, but got {start_ms} and {bin_ms}")
    start, left = start_ms // bin_ms, bins_of(samples.last_ms(index), bin_ms) - start_ms // bin_ms
    bins = left if length_ms is None else length_ms // bin_ms
    if bins < 1:
        raise UsageError(f"no frame of {bin_ms} ms is left: start_ms = {start_ms}, length_ms = {length_ms}")
    return BatchSource(samples, np.array([index]), frames, bins, torch.device("cpu")).crop(index, start)


class FrameDataset(data.Dataset[tuple[Tensor, int]]):
    """The samples of a part as (frames of shape (T, P, H, W), label); T is the same for all of them.

    recordings: the names of those in this part.

    Raises:
        UsageError, ConfigError, DataError: as Dataset.torch says.
    """

    def __init__(self, dataset: Dataset, part: Part, space: SpaceLike | None, fold: int, seed: int) -> None:
        space = Space.of(Configuration()) if space is None else load_space(space)
        samples = dataset.samples
        recordings = samples.recordings()
        space = bound(space, recordings)
        configuration = space.configuration()
        evaluation, sampling = configuration.evaluation, configuration.sampling
        if part not in get_args(Part):
            raise UsageError(f"part must be one of {', '.join(get_args(Part))}, but got {part!r}")
        if fold not in range(evaluation.folds):
            raise UsageError(f"fold must be from 0 to {evaluation.folds - 1}, but got {fold}")
        split = split_of(configuration, recordings, fold, seed, lists=lists_of(space))
        self.recordings: tuple[str, ...] = getattr(split, part)
        if not self.recordings:
            raise UsageError(f'evaluation.protocol = "{evaluation.protocol}" has no part {part!r}')
        self._crop = sampling.train_crop if part == "train" else "start"
        texts = sampling.augment if part == "train" else ()
        self._augmentations = [named(KINDS["sampling.augment"], text, space.code) for text in texts]
        bins = sampling.train_bins if part == "train" else sampling.eval_bins
        frames = frame_format(dataset.manifest.sensor, sampling)
        indices = samples.indices_of(self.recordings)
        self._source = BatchSource(samples, indices, frames, bins, torch.device("cpu"))

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        index = int(self._source.indices[place])
        # From torch's random numbers, which a DataLoader seeds anew in each of its workers.
        rng = np.random.default_rng(int(torch.randint(MAX_SEED, ())))
        start = self._source.draw_start(index, self._crop, rng)
        augment = Augmenter(self._augmentations, rng) if self._augmentations else None
        return self._source.crop(index, start, augment), int(self._source.samples.label[index])

    def __repr__(self) -> str:
        steps, size = self._source.crop_bins, self._source.frames.size
        return f"<FrameDataset: {len(self)} samples of {len(self.recordings)} recordings, {steps} frames of {size}>"
