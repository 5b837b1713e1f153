"""What ``predict`` classifies: samples of a dataset, tagged parts of a recording, or windows over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sltune.errors import DataError, UsageError
from sltune.events.augmentations.events import POLARITIES, Addresses
from sltune.events.dataset import open_dataset
from sltune.events.formats.aedat import SENSOR_SIZE, read_aedat
from sltune.events.formats.event_file import open_event_file
from sltune.events.formats.members import Member
from sltune.events.frames import FrameFormat, merged_pixels
from sltune.events.importing import merge_pixels
from sltune.events.orientation import SLANIMALS, on_polarity
from sltune.events.samples import Samples
from sltune.events.source import merged_size
from sltune.events.sources.slanimals.source import cut_recording
from sltune.events.sources.slanimals.tags import GESTURES, check_tags, first_usable, read_tags, recording_name
from sltune.events.store import address_type, encode_samples
from sltune.system.remote import AnyPath
from sltune.tuning.final.loading import Predictor
from sltune.tuning.trial.job import frame_format

Say = Callable[[str], object]

WINDOWS_AT_ONCE = 32
"""Windows that overlap repeat events, so that only a few are in memory at the same time."""


@dataclass(frozen=True)
class Inputs:
    """Some samples in memory, or in files.

    indices: those that are asked for. truths: the true class of each of these; None where it is unknown. frames: how
    their events become frames. crop_bins: time bins of a crop, None for as many as the longest sample has. crops: how
    many there are of each sample.
    """

    samples: Samples
    frames: FrameFormat
    indices: NDArray[np.int64]
    truths: Sequence[str | None]
    crop_bins: int | None
    crops: int = 1


def samples_of_dataset(predictor: Predictor, data: AnyPath, part: str = "", say: Say = lambda _: None) -> Inputs:
    """Return the samples of a dataset.

    Args:
        part: only those that the trial has trained, validated or tested on: "train", "val" or "test".
        say: is told if its sensor, or how it is stored, is not as in the dataset that the networks were trained on.

    Raises:
        DataError: the dataset cannot be read, has a sensor that does not fit, or lacks recordings of the part.
        UsageError: the networks are not those of a trial, which alone has parts.
    """
    dataset = open_dataset(data)
    samples, manifest = dataset.samples, dataset.manifest
    frames = _frames(predictor, manifest.sensor, str(data), say)
    if on_polarity(manifest.name) != on_polarity(predictor.dataset):
        text = f"{SLANIMALS} alone is stored upside down and with 0 for ON"
        say(f"{data}: holds {manifest.name}, and MODEL was trained on {predictor.dataset}; {text}")
    indices = np.arange(len(samples))
    if part:
        if not predictor.splits.get(part):
            raise UsageError(f"--part {part}: MODEL has none; name a trial, such as results/RUN/trials/c0000-f0-s0")
        missing = set(predictor.splits[part]) - set(samples.recording)
        if missing:
            raise DataError(f"{data}: has no recording {min(missing)}, which belongs to the {part} part of the trial")
        indices = samples.indices_of(predictor.splits[part])
    truths = [manifest.classes[samples.label[index]] for index in indices]
    return _evaluated(predictor, samples, frames, indices, truths)


def samples_of_tags(predictor: Predictor, file: Path, tags: Path, say: Say) -> Inputs:
    """Return the samples that a tag file cuts out of a recording, as an import would.

    Args:
        tags: the tag file, or the folder that holds one of the recording's name. say: is told what is odd.

    Raises:
        DataError: a file cannot be read, or no sample can be cut out.
    """
    sensor = merged_size((SENSOR_SIZE, SENSOR_SIZE), predictor.downsample)
    frames = _frames(predictor, sensor, str(file), say)
    recording = read_aedat(file)
    member = Member.of(tags / f"{file.name.split('.')[0]}.csv" if tags.is_dir() else tags)
    rows, findings = read_tags(member)
    for finding in [*findings, *check_tags(member, rows, len(recording))]:
        say(f"warning: {finding}")
    cut = cut_recording(recording, first_usable(rows, len(recording)), recording_name(recording.member), "")
    whole = [sample for sample in cut if sample.events]
    usable, _ = merge_pixels(str(file), whole, (SENSOR_SIZE, SENSOR_SIZE), predictor.downsample)
    if not usable:
        raise DataError(f"{member}: no row cuts a sample out of {file}")
    content = encode_samples(usable, sensor, {})
    samples = Samples([pq.read_table(pa.BufferReader(content)).combine_chunks()])
    return _evaluated(predictor, samples, frames, np.arange(len(samples)), [GESTURES[label] for label in samples.label])


def windows_of(
    predictor: Predictor,
    file: Path,
    window_ms: int | None,
    step_ms: int | None,
    say: Say = lambda _: None,
    time_unit: str | None = None,
) -> Iterator[Inputs]:
    """Give the windows over a recording of any format, some at a time.

    Args:
        window_ms: their length, cut to whole time bins; None for that of an evaluation crop. step_ms: from the start of
            one to that of the next; None for their length. say: as in samples_of_dataset. time_unit: s, ms, us or ns,
            for formats that do not define it.

    Raises:
        UsageError: no length is named, and evaluation takes whole samples; or it is shorter than a time bin.
        DataError: the recording cannot be read.
    """
    sampling = predictor.configuration.sampling
    bins = sampling.eval_bins if window_ms is None else sampling.bins or window_ms // sampling.time_bin_ms
    if bins is None or (sampling.bins and window_ms is None):
        raise UsageError('sampling.eval_crop_ms = "whole": a window needs a length; name it with --window-ms')
    if bins < 1:
        raise UsageError(f"--window-ms {window_ms}: is shorter than a time bin of {sampling.time_bin_ms} ms")
    sensor, address, time_us = _sorted_events(predictor, file, time_unit)
    frames = _frames(predictor, sensor, str(file), say)
    length_us = 1000 * (window_ms if sampling.bins and window_ms else bins * sampling.time_bin_ms)
    step_us = length_us if step_ms is None else 1000 * step_ms
    count = 1 + max(0, int(time_us[-1] - time_us[0]) + 1 - length_us) // step_us
    for first in range(0, count, WINDOWS_AT_ONCE):
        numbers = range(first, min(count, first + WINDOWS_AT_ONCE))
        starts = [int(time_us[0]) + number * step_us for number in numbers]
        parts = [slice(*np.searchsorted(time_us, [start, start + length_us])) for start in starts]
        events = [
            (address[part], (time_us[part] - start).astype(np.uint32))
            for start, part in zip(starts, parts, strict=True)
        ]
        table = _table(recording_name(Member.of(file)), numbers, starts, events, length_us)
        yield Inputs(Samples([table]), frames, np.arange(len(numbers)), [None] * len(numbers), bins)


def _sorted_events(
    predictor: Predictor, file: Path, time_unit: str | None
) -> tuple[tuple[int, int], Addresses, NDArray[np.int64]]:
    """Return (height, width) of a recording's sensor, and its addresses and times in µs, sorted by time.

    Pixels are merged as in the dataset that the networks were trained on. If the format does not state the sensor, it
    is that of the networks.

    Raises:
        DataError: the recording cannot be read, or has a pixel outside of that sensor.
    """
    opened = open_event_file(file, time_unit)
    blocks = list(opened.blocks())
    x, y, time_us, on = (
        np.concatenate([getattr(block, name) for block in blocks]) for name in ("x", "y", "t_us", "on")
    )
    factor, (height, width) = predictor.downsample, _camera(predictor, opened.sensor)
    if x.max() >= width or y.max() >= height:
        pixel = f"pixel x={x.max()} or y={y.max()}"
        raise DataError(f"{file}: {pixel} lies outside the {width}×{height} sensor of MODEL")
    if predictor.dataset == SLANIMALS:
        # Its samples are stored by the DVS128's own addresses: from the lower right, and 0 is ON.
        x, y, on = width - 1 - x, height - 1 - y, ~on
    sensor = merged_size((height, width), factor)
    merged = merged_pixels((height, width), sensor, (sensor[0] * factor, sensor[1] * factor))
    pixel = merged[y.astype(np.int64) * width + x]
    if not (inside := pixel >= 0).any():
        raise DataError(f"{file}: all events lie at the edges that fill no whole pixel of {factor}×{factor}")
    address, time_us = (pixel * POLARITIES + on)[inside], time_us[inside]
    order = np.argsort(time_us, kind="stable")
    return sensor, address[order].astype(address_type(sensor).to_pandas_dtype()), time_us[order]


def _camera(predictor: Predictor, stated: tuple[int, int] | None) -> tuple[int, int]:
    """Return (height, width) of the camera of a recording, or the largest that fits if its format does not state it."""
    if predictor.dataset == SLANIMALS:
        return stated or (SENSOR_SIZE, SENSOR_SIZE)
    height, width = (side * predictor.downsample + predictor.downsample - 1 for side in predictor.sensor)
    return stated or (height, width)


def _evaluated(
    predictor: Predictor, samples: Samples, frames: FrameFormat, indices: NDArray[np.int64], truths: Sequence[str]
) -> Inputs:
    """Return samples as the configuration evaluates them, with labels of the networks' own numbers."""
    numbers = {name: number for number, name in enumerate(predictor.classes)}
    labels = np.zeros(len(samples), np.int64)
    # What the networks do not know gets any number, as the loss is not looked at.
    labels[indices] = [numbers.get(name, 0) for name in truths]
    samples.label = labels
    sampling = predictor.configuration.sampling
    return Inputs(samples, frames, indices, truths, sampling.eval_bins, sampling.eval_crops)


def _frames(predictor: Predictor, sensor: tuple[int, int], place: str, say: Say) -> FrameFormat:
    """Return how events of a sensor become the frames that the networks take; say it if they were trained on another.

    Raises:
        DataError: the networks take frames of their own sensor only, or frames larger than this sensor.
    """
    sampling = predictor.configuration.sampling
    (height, width), (own_height, own_width) = sensor, predictor.sensor
    if sensor != predictor.sensor:
        text = f"{place}: has a sensor of {width}×{height} pixels"
        if not sampling.size:
            hint = "networks trained with a sampling.size take any"
            raise DataError(f"{text}; MODEL takes {own_width}×{own_height} ({hint})")
        say(f"{text}; MODEL was trained on {own_width}×{own_height}, and takes frames of {sampling.size} of either")
    try:
        return frame_format(sensor, sampling)
    except UsageError as error:
        raise DataError(f"{place}: {error}") from error


def _table(
    name: str,
    numbers: Sequence[int],
    starts: Sequence[int],
    events: Sequence[tuple[Addresses, NDArray[np.uint32]]],
    length_us: int,
) -> pa.Table:
    """Return windows as a table of samples, each of which lasts for the whole window."""
    offsets = np.concatenate([[0], np.cumsum([len(time_us) for _, time_us in events])]).astype(np.int32)
    address, time_us = (np.concatenate([part[place] for part in events]) for place in (0, 1))
    texts = {"recording": name, "subject": name, "session": "", "split": ""}
    same = {"label": (0, pa.uint8()), "duration_us": (length_us, pa.uint32()), "backward_steps": (0, pa.uint32())}
    return pa.table(
        {
            "sample_id": [f"{name}_{number:04d}" for number in numbers],
            **{column: [text] * len(numbers) for column, text in texts.items()},
            **{column: pa.array([value] * len(numbers), kind) for column, (value, kind) in same.items()},
            # A sample's start cannot be negative; of it, only the part of a millisecond counts.
            "start_us": pa.array([max(start, 0) for start in starts], pa.uint64()),
            "events": pa.array(np.diff(offsets), pa.uint32()),
            "address": pa.ListArray.from_arrays(offsets, pa.array(address)),
            "time_us": pa.ListArray.from_arrays(offsets, pa.array(time_us, pa.uint32())),
        }
    )
