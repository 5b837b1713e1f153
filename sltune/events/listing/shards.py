"""Pack samples that each lie in a file or array of their own into shards of about 64 MB."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sltune.errors import DataError
from sltune.events.formats.columns import FIELDS
from sltune.events.manifest import file_size, is_addressable
from sltune.events.plausible import ANY, DurationLimits, check_times
from sltune.events.source import Finding, SourceFile
from sltune.events.store import Sample, address_type
from sltune.system.files import is_unicode

SHARD_BYTES = 64 << 20
BYTES_PER_BIN_EVENT = 5

Whole = NDArray[np.int64] | NDArray[np.uint64]


@dataclass(frozen=True, eq=False, slots=True)
class Item:
    """One sample of a source, not yet read; it is a recording of its own.

    place: its name in a finding. size: bytes, roughly. split: the official part that it is in; "" if there is none.
    read: returns a structured array with the fields x, y, t (in µs) and p. sha256: hashes that array or its file.
    Both raise a DataError whose text begins with the place.
    """

    place: str
    sample_id: str
    subject: str
    label: int
    gesture: str
    size: int
    read: Callable[[], NDArray[Any]]
    sha256: Callable[[], str]
    split: str = ""


def pack(items: Sequence[Item], sensor: tuple[int, int], limits: DurationLimits = ANY) -> tuple[SourceFile, ...]:
    """Return shards of items in their order; an item that cannot be read does not affect the others of its shard.

    Args:
        sensor: (height, width) in pixels.
        limits: how long samples of the source may last.

    Raises:
        DataError: the name of a file is not UTF-8.
    """
    if odd := [item.place for item in items if not is_unicode(item.place)]:
        raise DataError(f"{odd[0]!r}: its name is not UTF-8; rename it")
    shards: list[list[Item]] = [[]]
    filled = 0
    for item in items:
        if shards[-1] and filled + item.size > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append(item)
        filled += item.size
    return tuple(
        SourceFile(
            name=f"shard-{number:04d}",
            sha256=partial(_sha256, shard, sensor),
            load=partial(_load, shard, sensor, limits),
            size=sum(item.size for item in shard),
            recordings=tuple(item.sample_id for item in shard),
        )
        for number, shard in enumerate(shards)
    )


def read_sample(item: Item, sensor: tuple[int, int]) -> Sample:
    """Read an item; y gives the row, x the column. start_us is the earliest time, or 0 if that is negative.

    Raises:
        DataError: the item cannot be read, has no events, a pixel outside the sensor of (height, width) pixels, a
            polarity that is neither 0/1 nor −1/1, a number that is not whole, or times more than 2³² µs apart.
    """
    x, y, times, polarity = read_events(item)
    height, width = sensor
    outside = (x < 0) | (x >= width) | (y < 0) | (y >= height)
    if outside.any():
        first = int(np.argmax(outside))
        pixel = f"pixel x={x[first]}, y={y[first]} of event {first}"
        raise DataError(f"{item.place}: {pixel} lies outside the {width}x{height} sensor")
    start_us, end_us = int(times.min()), int(times.max())
    if end_us - start_us >= 1 << 32:
        raise DataError(f"{item.place}: lasts {end_us - start_us} µs; at most 2³² − 1 (71 minutes) can be stored")
    address = (y.astype(np.int64) * width + x.astype(np.int64)) * 2 + polarity
    return Sample(
        sample_id=item.sample_id,
        recording=item.sample_id,
        subject=item.subject,
        session="",
        label=item.label,
        gesture=item.gesture,
        start_us=max(start_us, 0),
        address=address.astype(address_type(sensor).to_pandas_dtype()),
        time_us=(times - times.min()).astype(np.uint32),
        split=item.split,
    )


def read_events(item: Item) -> tuple[Whole, Whole, Whole, NDArray[np.int64]]:
    """Return x, y, times in µs and polarity (0 or 1) of an item, each of shape (events,), in stored order.

    Raises:
        DataError: the item cannot be read, or does not hold events.
    """
    events = item.read()
    names = getattr(getattr(events, "dtype", None), "names", None) or ()
    if not set(FIELDS) <= set(names):
        raise DataError(f"{item.place}: holds no events with {', '.join(FIELDS)}, but {type(events).__name__} {names}")
    if not events.size:
        raise DataError(f"{item.place}: holds no events")
    x, y, times, polarity = (_whole(item.place, name, np.ravel(events[name])) for name in FIELDS)
    # Some sets write −1 and 1; a mixture of −1 and 0 is refused.
    low = -1 if (polarity == -1).any() else 0
    wrong = (polarity != low) & (polarity != 1)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(f"{item.place}: polarity {polarity[first]} of event {first} is neither 0 or 1 nor -1 or 1")
    return x, y, times, (polarity == 1).astype(np.int64)


def find_sensor(items: Sequence[Item]) -> tuple[int, int]:
    """Return the smallest (height, width) that contains every event; reads all items, one at a time.

    Raises:
        DataError: no item can be read, or the sensor has more pixels than there are addresses.
    """
    height = width = 0
    problems = []
    for item in items:
        try:
            x, y, _, _ = read_events(item)
        except DataError as error:
            # The import reads the item again and reports the error.
            problems.append(error)
            continue
        height, width = max(height, int(y.max()) + 1), max(width, int(x.max()) + 1)
    if len(problems) == len(items):
        raise problems[0]
    if not is_addressable((height, width)):
        raise DataError(f"the events need a sensor of {width}x{height} pixels, more than addresses of 32 bits can tell")
    return max(height, 1), max(width, 1)


def check_bin(file: Path) -> None:
    """Refuse a truncated file in the format of N-MNIST; Tonic silently ignores an incomplete last event.

    Raises:
        DataError: the file is absent, empty or cut within an event.
    """
    if not file.is_file():
        raise DataError(f"{file}: cannot be read: no such file")
    size = file_size(file)
    if size == 0 or size % BYTES_PER_BIN_EVENT:
        raise DataError(f"{file}: truncated: {size} bytes are no positive multiple of {BYTES_PER_BIN_EVENT}")


def _whole(place: str, name: str, values: NDArray[Any]) -> Whole:
    """Return a field as whole numbers of 64 bits."""
    if values.dtype.kind == "u":
        return values.astype(np.uint64)
    if values.dtype.kind in "ib":
        return values.astype(np.int64)
    if values.dtype.kind != "f":
        raise DataError(f"{place}: {name} has numbers of type {values.dtype}")
    wrong = ~(np.isfinite(values) & (np.abs(values) < 2.0**63))
    wrong[~wrong] = values[~wrong] != np.rint(values[~wrong])
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(f"{place}: {name} of event {first} is {values[first]}, no whole number of 64 bits")
    return values.astype(np.int64)


def _load(items: Sequence[Item], sensor: tuple[int, int], limits: DurationLimits) -> tuple[list[Sample], list[Finding]]:
    samples, findings = [], []
    for item in items:
        try:
            sample = read_sample(item, sensor)
        except DataError as error:
            text = str(error).removeprefix(f"{item.place}: ")
            findings.append(Finding(item.place, text, is_error=True, lost=(item.sample_id,)))
            continue
        samples.append(sample)
        findings += check_times(item.place, sample, limits)
    return samples, findings


def _sha256(items: Sequence[Item], sensor: tuple[int, int]) -> str:
    """Hash all that the samples depend on; this includes the sensor, whose size may come from other shards."""
    lines = [
        json.dumps([item.sample_id, item.subject, item.label, item.gesture, _sha256_of(item), *sensor, *_part(item)])
        for item in items
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _part(item: Item) -> list[str]:
    # Without a part, the hash is that of earlier versions, whose files need not be imported again.
    return [item.split] if item.split else []


def _sha256_of(item: Item) -> str:
    try:
        return item.sha256()
    except DataError:
        # Loading the shard reports the error, and keeps the other samples.
        return "unreadable"
