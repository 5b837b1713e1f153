"""What `sltune.open_dataset` gives: arrays of events, frames, and torch datasets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import sltune
from sltune.api.frame_dataset import Part
from sltune.errors import ConfigError, DataError, UsageError
from sltune.events.dataset import open_dataset as open_stored
from sltune.events.splits.split import split_of
from sltune.runs.record import TrialKey
from sltune.tuning.trial.job import Job
from sltune.tuning.trial.trainer import Trainer
from tests.small import CLASSES, SENSOR, quick, sample

SPACE = {"sampling": {"time_bin_ms": 20, "train_crop": "start", "train_crop_ms": 200, "eval_crop_ms": "train"}}


@pytest.fixture
def opened(imported_dataset: Path) -> sltune.Dataset:
    return sltune.open_dataset(imported_dataset)


def test_a_sample_is_what_was_imported(opened: sltune.Dataset) -> None:
    written, read = sample(3, 1, 400), opened["user03_indoor_02"]
    assert (read.name, read.label, read.class_name) == ("user03_indoor_02", 1, "right")
    assert (read.subject, read.session, read.recording) == ("user03", "S3", "user03_indoor")
    pixel = read.events["y"].astype(int) * SENSOR[1] + read.events["x"]
    np.testing.assert_array_equal(pixel * 2 + read.events["p"], written.address)
    np.testing.assert_array_equal(read.events["t"], written.time_us)


def test_samples_can_be_counted_and_gone_through(opened: sltune.Dataset) -> None:
    assert [one.name for one in opened] == [opened[place].name for place in range(len(opened))]
    assert opened[-1].name == opened[47].name
    with pytest.raises(IndexError):
        opened[48]
    with pytest.raises(UsageError, match="no sample 'user03_indoor_20'; did you mean"):
        opened["user03_indoor_20"]


def test_frames_count_the_events_of_each_time_bin(opened: sltune.Dataset) -> None:
    events, frames = opened[5].events, opened.frames(5, time_bin_ms=20, start_ms=40, length_ms=100, binning="count")
    expected = np.zeros((5, 2, *SENSOR), np.float32)
    # Bins count whole milliseconds of the camera's clock, in which the sample begins within a millisecond.
    time_us = events["t"] + open_stored(opened.root).samples.phase_us(5)
    inside = (time_us >= 40_000) & (time_us < 140_000)
    place = (time_us[inside] // 20_000 - 2, *(events[name][inside].astype(int) for name in ("p", "y", "x")))
    np.add.at(expected, place, 1)
    np.testing.assert_array_equal(frames.numpy(), expected)


def test_frames_are_binary_or_normalised_where_that_is_asked_for(opened: sltune.Dataset) -> None:
    counts = opened.frames(0, binning="count")
    assert torch.equal(opened.frames(0), (counts > 0).float())
    assert torch.equal(opened.frames(0, binning="normalized"), counts / counts.max())
    assert opened.frames(0, downsample=2).shape[1:] == (2, 8, 8)
    assert opened.frames(0, size="8x5").shape[1:] == (2, 5, 8)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"binning": "sum"}, "binning must be one of binary, count, normalized, relative, but got 'sum'"),
        ({"downsample": 17}, "downsample must be from 1 to 16, but got 17"),
        ({"size": "8"}, "size must be a text WIDTHxHEIGHT such as \"64x64\", but got '8'"),
        ({"size": "8x8", "downsample": 2}, "size says how large frames are; leave out downsample = 2"),
        ({"size": "17x16"}, r"sampling\.size = 17x16: is larger than the sensor of 16x16 pixels"),
        ({"time_bin_ms": 0}, "but got 0 and 0"),
        ({"start_ms": 50}, "start_ms must be a multiple of time_bin_ms, but got 50 and 30"),
        ({"start_ms": 3000}, "no frame of 30 ms is left: start_ms = 3000"),
        ({"length_ms": 20}, "length_ms = 20"),
    ],
)
def test_a_crop_that_cannot_be_made_is_refused(opened: sltune.Dataset, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        opened.frames(0, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_part_of_a_fold_is_what_a_trial_sees_of_it(opened: sltune.Dataset, part: Part) -> None:
    samples = open_stored(opened.root).samples
    configuration = quick()
    trainer = Trainer(
        Job(TrialKey("c0000", 7, 2), configuration, SENSOR, len(CLASSES)),
        samples,
        split_of(configuration, samples.recordings(), 2, 7),
        torch.device("cpu"),
    )
    batches = {
        "train": lambda: trainer.train_batches(1),
        "val": lambda: trainer.val.evaluation(8),
        "test": lambda: trainer.test.evaluation(8),
    }
    of_trial = [(next(batch.views).clone(), batch.labels) for batch in batches[part]()]
    given = list(DataLoader(opened.torch(part, SPACE, fold=2, seed=7), batch_size=8))
    assert len(given) == len(of_trial)
    for (frames, labels), (expected, expected_labels) in zip(given, of_trial, strict=True):
        assert torch.equal(frames.transpose(0, 1), expected)
        assert torch.equal(labels, expected_labels)


def test_random_crops_and_augmentation_follow_the_seed_of_torch(opened: sltune.Dataset) -> None:
    sampling = {
        "time_bin_ms": 10,
        "train_crop": "random",
        "train_crop_ms": 50,
        "augment": ["event_drop(probability=0.5)"],
    }
    training = opened.torch("train", {"sampling": sampling})
    torch.manual_seed(1)
    first = training[0][0]
    assert not torch.equal(training[0][0], first)
    torch.manual_seed(1)
    assert torch.equal(training[0][0], first)
    assert first.shape == (5, 2, *SENSOR)


def test_workers_of_a_data_loader_read_the_same(opened: sltune.Dataset) -> None:
    part = opened.torch("test", SPACE)
    alone, workers = (list(DataLoader(part, batch_size=4, num_workers=count)) for count in (0, 2))
    assert all(
        torch.equal(one, other) for pair in zip(alone, workers, strict=True) for one, other in zip(*pair, strict=True)
    )


@pytest.mark.parametrize(
    ("part", "space", "fold", "kind", "said"),
    [
        ("all", None, 0, UsageError, "part must be one of train, val, test, but got 'all'"),
        ("train", None, 4, UsageError, "fold must be from 0 to 3, but got 4"),
        ("val", {"evaluation": {"protocol": "train-test"}}, 0, UsageError, "has no part 'val'"),
        ("train", {"evaluation": {"folds": 9}}, 0, DataError, "9 folds need at least 9 subjects"),
        ("train", {"neuron": {"decay": {"low": 0.1, "high": 0.2}}}, 0, ConfigError, "is searched"),
        ("train", {"sampling": {"time_bin_ms": "long"}}, 0, ConfigError, "sampling.time_bin_ms"),
    ],
)
def test_a_part_that_is_not_there_is_refused(
    opened: sltune.Dataset, part: Part, space: dict[str, object] | None, fold: int, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        opened.torch(part, space, fold=fold)


def test_a_notebook_shows_a_picture_of_a_sample_and_the_summary_of_a_dataset(opened: sltune.Dataset) -> None:
    assert '<img alt="&lt;Sample user00_indoor_01: left by user00, 400 events&gt;"' in opened[0]._repr_html_()
    assert opened._repr_html_().startswith("<pre>")
    assert str(opened).startswith("two sides, SYNTHETIC data")
    assert "12 samples of 2 recordings, 10 frames of" in repr(opened.torch("test", SPACE))


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not a dataset"):
        sltune.open_dataset(str(tmp_path))
