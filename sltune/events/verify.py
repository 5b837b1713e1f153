"""Check sample files against their manifest, event by event.

That a file has the hash in the manifest only says that both come from the same person, who may be a stranger. The files
that trials train on are therefore checked whole before they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from sltune.errors import DataError
from sltune.events.manifest import HINT, MANIFEST, Manifest, StoredFile, read_manifest
from sltune.events.store import LONG_COLUMNS, PARTS, Sample, address_type, fingerprint, read_table
from sltune.system.remote import AnyPath
from sltune.wording import excerpt, first_of

MAX_SHOWN_FILES = 20
"""A disk that fails can damage all files of a dataset; the first say enough, and fill no more than a screen."""
MAX_SHOWN_PROBLEMS = 3
"""How much an error says of one file, as damage seldom hits one sample alone."""
SAMPLE_COLUMNS = ("sample_id", "recording", "subject", "session", "split", "label", "gesture", "start_us")


@dataclass(frozen=True)
class Verified:
    """How many files and samples were found to be in order."""

    files: int
    samples: int


def verify_dataset(root: AnyPath, done: Callable[[StoredFile], object] = lambda _: None) -> Verified:
    """Read all of a dataset, and compare it with its manifest and its events with what is stored about them.

    Args:
        done: called after each file.

    Raises:
        DataError: the folder is not a dataset, or something differs; names the first 20 bad files and what is wrong.
    """
    manifest = read_manifest(root)
    digests, bad = dict[str, str](), list[str]()
    for file in manifest.files:
        try:
            table = read_table(root / file.file, file.sha256)
            refuse(root / file.file, _check_file(table, file, manifest, digests))
        except DataError as error:
            bad.append(str(error))
        done(file)
    # If a file is bad, the fingerprint differs as well; to say so would add nothing.
    if not bad and fingerprint(list(digests.values())) != manifest.fingerprint:
        bad.append(f"{root / MANIFEST}: fingerprint {manifest.fingerprint} is not that of the samples; {HINT}")
    if bad:
        raise DataError("\n".join(first_of(bad, MAX_SHOWN_FILES)))
    return Verified(len(manifest.files), manifest.samples)


def _check_file(table: pa.Table, file: StoredFile, manifest: Manifest, digests: dict[str, str]) -> Iterator[str]:
    """Give what is wrong in a file, and add the digests of its samples, computed from their events."""
    yield from table_problems(table, manifest.classes, manifest.sensor, file)
    for row in range(table.num_rows):
        sample = _sample_at(table, row)
        digest = sample.digest
        if table["digest"][row].as_py() != digest:
            yield f"sample {sample.sample_id}: digest is not that of its events, label, subject, session and split"
        if sample.sample_id in digests:
            yield f"sample {sample.sample_id}: there is another of this name"
        digests[sample.sample_id] = digest


def _sample_at(table: pa.Table, row: int) -> Sample:
    short = {name: table[name][row].as_py() for name in SAMPLE_COLUMNS}
    address, time_us = (table[name][row].values.to_numpy(zero_copy_only=True) for name in LONG_COLUMNS)
    return Sample(**short, address=address, time_us=time_us)


def refuse(file: AnyPath, problems: Iterable[str]) -> None:
    """Raise a DataError that names a file and the first of its problems, if there are any."""
    if found := list(problems):
        raise DataError(f"{file}: {'; '.join(first_of(found, MAX_SHOWN_PROBLEMS))}; {HINT}")


def table_problems(
    table: pa.Table, classes: Sequence[str], sensor: tuple[int, int], file: StoredFile | None = None
) -> Iterator[str]:
    """Give what is wrong with a sample file, read with all columns; arguments as for the two checks it consists of."""
    yield from short_problems(table, classes, file)
    yield from event_problems(table, sensor)


def short_problems(table: pa.Table, classes: Sequence[str], file: StoredFile | None = None) -> Iterator[str]:
    """Give what is wrong with the columns of a sample file other than its events.

    Args:
        table: as ``read_table`` returns it.
        file: the file's entry in the manifest; None where there is no manifest.
    """
    names = table["recording"].to_pylist()
    found = (tuple(dict.fromkeys(names)), table.num_rows, sum(table["events"].to_pylist()))
    expected = found if file is None else (file.recordings, file.samples, file.events)
    for name, here, there in zip(("recordings", "samples", "events"), found, expected, strict=True):
        if here != there:
            yield f"{name} {_show(here)}, but {_show(there)} in {MANIFEST}"
    seen, of_recording = set[str](), dict[str, tuple[str, str, str]]()
    columns = ("sample_id", "subject", "session", "split", "label", "gesture", "events", "backward_steps")
    rows = zip(*(table[name].to_pylist() for name in columns), strict=True)
    for recording, (sample, subject, session, split, label, gesture, events, backward) in zip(names, rows, strict=True):
        where = f"sample {_show(sample)}"
        if sample in seen:
            yield f"{where}: there is another of this name"
        seen.add(sample)
        facts = (subject, session, split)
        if of_recording.setdefault(recording, facts) != facts:
            yield f"{where}: its recording {_show(recording)} has another subject, session or split in an earlier row"
        if split not in ("", *PARTS):
            yield f"{where}: split {_show(split)!r} is none of {', '.join(PARTS)}"
        if tuple(classes[label : label + 1]) != (gesture,):
            yield f"{where}: label {label} is not {_show(gesture)!r} in {MANIFEST}"
        if not backward < max(1, events):
            yield f"{where}: {events} events cannot go back in time {backward} times"


def event_problems(table: pa.Table, sensor: tuple[int, int]) -> Iterator[str]:
    """Give what is wrong with the events of a sample file, and with what its other columns say about them.

    Args:
        table: as ``read_table`` returns it, with all columns.
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
    """Give where the other columns disagree with the times of events; starts: index of each sample's first event."""
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
    return excerpt(", ".join(value) if isinstance(value, tuple) else str(value))
