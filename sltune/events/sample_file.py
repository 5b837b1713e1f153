"""Sample files as a manifest describes them: read, and checked whole, so that what is past here can be trusted.

That a file's hash is the manifest's says only that both come from the same hand, which may be a stranger's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sltune.errors import DataError
from sltune.events.manifest import HINT, MANIFEST, Manifest, StoredFile
from sltune.events.store import LONG_COLUMNS, SHORT_COLUMNS, address_type, read_table
from sltune.wording import first_of, printable, shortened

SHOWN_PROBLEMS = 3
"""Of one file; damage seldom hits one sample alone."""
SHOWN_TEXT = 100


class SampleFile:
    """A sample file as a table; its events are only read, and checked with its hash, when they are asked for.

    Raises:
        DataError: the file is absent, damaged, or not what the manifest says.
    """

    def __init__(self, root: Path, file: StoredFile, manifest: Manifest) -> None:
        self._root, self._entry, self._manifest = root, file, manifest
        self._short = read_table(root / file.file, columns=SHORT_COLUMNS)
        refuse(root / file.file, short_problems(self._short, manifest.classes, file))

    @property
    def num_rows(self) -> int:
        rows: int = self._short.num_rows
        return rows

    def __getitem__(self, column: str) -> pa.ChunkedArray:
        return (self._whole if column in LONG_COLUMNS else self._short)[column]

    @cached_property
    def _whole(self) -> pa.Table:
        table = read_samples(self._root, self._entry, self._manifest)
        if not table.select(SHORT_COLUMNS).equals(self._short):
            raise DataError(f"{self._root / self._entry.file}: has changed since it was opened")
        return table


def read_samples(root: Path, file: StoredFile, manifest: Manifest) -> pa.Table:
    """Read a whole sample file of a dataset, with its events.

    Raises:
        DataError: it is absent, damaged, or not what the manifest says.
    """
    table = read_table(root / file.file, file.sha256)
    refuse(root / file.file, short_problems(table, manifest.classes, file))
    refuse(root / file.file, event_problems(table, manifest.sensor))
    return table


def refuse(file: Path, problems: Iterable[str]) -> None:
    """Raise a DataError that names a file and the first of its problems, if there are any."""
    if found := list(problems):
        raise DataError(f"{file}: {shorten(found)}; {HINT}")


def shorten(problems: Sequence[str]) -> str:
    """Return the first problems of a file in a line."""
    return "; ".join(first_of(problems, SHOWN_PROBLEMS))


def short_problems(table: pa.Table, classes: Sequence[str], file: StoredFile | None = None) -> Iterator[str]:
    """Give what is wrong with a sample file's columns other than events.

    Args:
        table: as read_table returns it.
        file: what the manifest says of the file; None where nothing does.
    """
    names = table["recording"].to_pylist()
    found = (tuple(dict.fromkeys(names)), table.num_rows, sum(table["events"].to_pylist()))
    expected = found if file is None else (file.recordings, file.samples, file.events)
    for name, here, there in zip(("recordings", "samples", "events"), found, expected, strict=True):
        if here != there:
            yield f"{name} {_show(here)}, but {_show(there)} in {MANIFEST}"
    seen, people = set[str](), dict[str, tuple[str, str]]()
    columns = ("sample_id", "subject", "session", "label", "gesture", "events", "backward_steps")
    rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
    for recording, (sample, subject, session, label, gesture, events, backward) in zip(names, rows, strict=True):
        where = f"sample {_show(sample)}"
        if sample in seen:
            yield f"{where}: there is another of this name"
        seen.add(sample)
        if people.setdefault(recording, (subject, session)) != (subject, session):
            yield f"{where}: its recording {_show(recording)} has another subject or session in an earlier sample"
        if tuple(classes[label : label + 1]) != (gesture,):
            yield f"{where}: label {label} is not {_show(gesture)!r} in {MANIFEST}"
        if not backward < max(1, events):
            yield f"{where}: {events} events cannot go back in time {backward} times"


def event_problems(table: pa.Table, sensor: tuple[int, int]) -> Iterator[str]:
    """Give what is wrong with a sample file's events, and with what its other columns say of them.

    Args:
        table: as read_table returns it, with all columns.
        sensor: (height, width) in pixels.
    """
    here, right = table.schema.field("address").type.value_type, address_type(sensor)
    if here != right:
        yield f"column 'address' is list<{here}>, not list<{right}>"
        return
    if not table.num_rows:
        return
    lists = [table[name].combine_chunks() for name in LONG_COLUMNS]
    lists = [column.chunk(0) if isinstance(column, pa.ChunkedArray) else column for column in lists]
    lengths = [np.diff(column.offsets.to_numpy()) for column in lists]
    uneven = (lengths[0] != lengths[1]) | (lengths[0] == 0)
    if uneven.any():
        for row in np.flatnonzero(uneven).tolist():
            yield f"sample {_name(table, row)}: {lengths[0][row]} addresses and {lengths[1][row]} times"
        return
    addresses, times = (column.flatten().to_numpy() for column in lists)
    ends = np.cumsum(lengths[0])
    yield from _time_problems(table, times, ends - lengths[0], lengths[0])
    height, width = sensor
    if int(addresses.max()) >= 2 * height * width:
        event = int(np.argmax(addresses >= 2 * height * width))
        row = int(np.searchsorted(ends, event, side="right"))
        place = event - int(ends[row] - lengths[0][row])
        text = f"event {place} has address {addresses[event]}, outside the {width}x{height} sensor"
        yield f"sample {_name(table, row)}: {text}"


def _time_problems(
    table: pa.Table, times_us: NDArray[np.uint32], starts: NDArray[Any], lengths: NDArray[Any]
) -> Iterator[str]:
    """Give what the short columns say of events that their times do not; starts: of samples among all events."""
    first_us = np.minimum.reduceat(times_us, starts)
    for row in np.flatnonzero(first_us).tolist():
        yield f"sample {_name(table, row)}: its first event lies {first_us[row]} µs after start_us"
    back = times_us[1:] < times_us[:-1]
    back[starts[1:] - 1] = False
    samples = np.searchsorted(starts, np.flatnonzero(back) + 1, side="right") - 1
    counted = {
        "events": lengths,
        "duration_us": np.maximum.reduceat(times_us, starts),
        "backward_steps": np.bincount(samples, minlength=len(starts)),
    }
    for column, values in counted.items():
        stored = table[column].to_numpy()
        for row in np.flatnonzero(stored != values).tolist():
            yield f"sample {_name(table, row)}: {column} is {stored[row]}, but its events give {values[row]}"


def _name(table: pa.Table, row: int) -> str:
    return _show(table["sample_id"][row].as_py())


def _show(value: object) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return printable(shortened(text, SHOWN_TEXT))
