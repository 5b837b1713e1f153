"""Datasets for notebooks: samples as arrays of events, as frames, and as a torch dataset for any training loop."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from sltune.errors import UsageError
from sltune.events import dataset as stored
from sltune.events.augmentations.events import POLARITIES
from sltune.events.manifest import Manifest
from sltune.events.views.pictures import Span, find_sample, frames_picture
from sltune.events.views.summary import summarize
from sltune.settings.sections import Sampling
from sltune.system.remote import AnyPath, path_or_uri

if TYPE_CHECKING:
    from torch import Tensor

    from sltune.api.frame_dataset import FrameDataset, Part
    from sltune.api.spaces import SpaceLike
    from sltune.events.frames import FrameFormat

EVENT = np.dtype([("t", np.int64), ("x", np.uint16), ("y", np.uint16), ("p", np.bool_)])
"""An event: t in µs since the first event of the sample, x (column) and y (row) in pixels, and polarity, as stored."""
TEXT_WIDTH = 100
"""Columns of a dataset's summary, which a notebook shows without wrapping lines."""
PICTURE_SCALE = 2
"""Three frames of 128×128 pixels then fit beside each other in a notebook."""

Binning = Literal["binary", "count", "normalized", "relative"]


@dataclass(frozen=True, eq=False)
class Sample:
    """One sample of a dataset.

    events: shape (events,), of type EVENT, sorted by time. label: the number of its class.
    """

    name: str
    events: NDArray[np.void]
    label: int
    class_name: str
    subject: str
    session: str
    recording: str
    _dataset: stored.Dataset

    def __len__(self) -> int:
        return len(self.events)

    def __repr__(self) -> str:
        return f"<Sample {self.name}: {self.class_name} by {self.subject}, {len(self):,} events>"

    def _repr_html_(self) -> str:
        picture = io.BytesIO()
        frames_picture(self._dataset, self.name, Span(), PICTURE_SCALE).save(picture, "PNG")
        encoded = base64.b64encode(picture.getvalue()).decode()
        return f'<img alt="{html.escape(repr(self))}" src="data:image/png;base64,{encoded}">'


class Dataset:
    """A dataset that `import_recordings` or ``sltune import`` has made; see `open_dataset`."""

    def __init__(self, root: AnyPath) -> None:
        self._stored = stored.open_dataset(root)
        self._subjects = {one.name: one.subject for one in self._stored.samples.recordings()}

    @property
    def root(self) -> AnyPath:
        """The folder in which it lies."""
        return self._stored.root

    @property
    def manifest(self) -> Manifest:
        """What is known of the dataset as a whole: name, sensor, classes, warnings, what was left out."""
        return self._stored.manifest

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their labels."""
        return self.manifest.classes

    @cached_property
    def subjects(self) -> tuple[str, ...]:
        """The subjects, each once, in the order in which they were imported."""
        return tuple(dict.fromkeys(self._subjects.values()))

    def __len__(self) -> int:
        return len(self._stored.samples)

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, sample: int | str) -> Sample:
        """Return a sample by its place or name.

        Raises:
            IndexError: there is no such place.
            UsageError: there is no such name.
            DataError: the events are damaged.
        """
        index, samples = self._index(sample), self._stored.samples
        address, time_us = samples.events(index)
        events = np.empty(len(address), EVENT)
        pixel, events["p"] = np.divmod(address, POLARITIES)
        events["y"], events["x"] = np.divmod(pixel, self.manifest.sensor[1])
        events["t"] = time_us
        label, recording = int(samples.label[index]), samples.recording[index]
        return Sample(
            name=samples.sample_id[index],
            events=events,
            label=label,
            class_name=self.classes[label],
            subject=self._subjects[recording],
            session=samples.session[index],
            recording=recording,
            _dataset=self._stored,
        )

    def frames(  # noqa: PLR0913 - one for each setting
        self,
        sample: int | str,
        *,
        time_bin_ms: int = 30,
        start_ms: int = 0,
        length_ms: int | None = None,
        binning: Binning = "binary",
        downsample: int = 1,
        size: str = "",
    ) -> Tensor:
        """Return a sample as frames, float32 of shape (T, P, H, W), where P is the polarity.

        >>> import sltune
        >>> dataset = sltune.open_dataset("data")
        >>> dataset.frames(0, time_bin_ms=20, length_ms=100).shape
        torch.Size([5, 2, 16, 16])

        Args:
            sample: its place or name.
            time_bin_ms: the duration of a frame.
            start_ms: where the crop begins, in whole time bins.
            length_ms: how long it is, frames after the end being empty; None for the rest of the sample, of which an
                incomplete last frame is dropped.
            binning: "binary" (1 where any event falls), "count", "normalized" (counts over the largest one), or
                "relative" (counts over the mean one).
            downsample: how many pixels are merged in each direction.
            size: the frames' width x height instead, such as "64x64", as the setting sampling.size.

        Raises:
            UsageError: there is no such sample, or an argument is not allowed.
            IndexError: there is no such place.
            DataError: the events are damaged.
        """
        from sltune.api.frame_dataset import frames_of

        frames = self._format(time_bin_ms, binning, downsample, size)
        return frames_of(self._stored.samples, self._index(sample), frames, start_ms, length_ms)

    def _format(self, time_bin_ms: int, binning: str, downsample: int, size: str) -> FrameFormat:
        """Return how events become frames; raises a UsageError for what is not allowed."""
        from sltune.tuning.trial.job import frame_format

        if binning not in get_args(Binning):
            raise UsageError(f"binning must be one of {', '.join(get_args(Binning))}, but got {binning!r}")
        if not 1 <= downsample <= min(self.manifest.sensor):
            raise UsageError(f"downsample must be from 1 to {min(self.manifest.sensor)}, but got {downsample}")
        if size and downsample != 1:
            raise UsageError(f"size says how large frames are; leave out downsample = {downsample}")
        try:
            sized = frame_format(self.manifest.sensor, Sampling(size=size))
        except ValueError as error:
            raise UsageError(f'size must be a text WIDTHxHEIGHT such as "64x64", but got {size!r}') from error
        return replace(sized, time_bin_ms=time_bin_ms, binning=binning, downsample=downsample)

    def torch(self, part: Part, space: SpaceLike | None = None, *, fold: int = 0, seed: int = 0) -> FrameDataset:
        """Return a part of a fold as a torch dataset of (frames, label), as a trial with these settings has it.

        >>> import sltune
        >>> from torch.utils.data import DataLoader
        >>> training = sltune.open_dataset("data").torch("train", {"sampling": {"train_crop_ms": 90}}, fold=1)
        >>> frames, labels = next(iter(DataLoader(training, batch_size=4, shuffle=True)))
        >>> frames.shape, labels.shape  # a network of sltune's takes frames.transpose(0, 1)
        (torch.Size([4, 3, 2, 16, 16]), torch.Size([4]))

        Args:
            part: "train", "val" or "test".
            space: the settings of sampling and evaluation: a path, a dict, or what `load_space` returns; None for the
                defaults. Crops of the training part are drawn, and augmented, by torch's random numbers.
            fold: counted from 0.
            seed: draws the folds, and the validation part.

        Raises:
            ConfigError: the space is wrong, or searches something.
            UsageError: there is no such part or fold.
            DataError: there are too few subjects for the folds.
        """
        from sltune.api.frame_dataset import FrameDataset

        return FrameDataset(self._stored, part, space, fold, seed)

    def __repr__(self) -> str:
        name = f"{'SYNTHETIC ' if self.manifest.synthetic else ''}{self.manifest.name}"
        subjects = f"{len(self.subjects)} subjects, {len(self.classes)} classes"
        return f"<Dataset {name!r} in {str(self.root)!r}: {len(self)} samples of {subjects}>"

    def __str__(self) -> str:
        return summarize(self._stored).to_text(TEXT_WIDTH)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

    def _index(self, sample: int | str) -> int:
        if isinstance(sample, str):
            return find_sample(self._stored, sample)
        return range(len(self))[sample]


def open_dataset(data: str | os.PathLike[str]) -> Dataset:
    """Open a dataset that `import_recordings` or ``sltune import`` has made.

    >>> import sltune
    >>> dataset = sltune.open_dataset("data")
    >>> dataset
    <Dataset 'SYNTHETIC two sides' in 'data': 48 samples of 8 subjects, 2 classes>
    >>> sample = dataset[0]
    >>> sample.class_name, sample.subject, sample.session
    ('left', 'user00', 'S3')
    >>> sample.events.dtype.names, len(sample.events)
    (('t', 'x', 'y', 'p'), 400)

    Raises:
        DataError: the folder is not a dataset, or a file of it is absent or damaged. Damaged events are found when they
            are read.
    """
    return Dataset(path_or_uri(data))
