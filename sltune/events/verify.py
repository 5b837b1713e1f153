"""Verification: whether a dataset on disk is, file by file and event by event, what its manifest says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from sltune.errors import DataError
from sltune.events.manifest import HINT, MANIFEST, Manifest, StoredFile, read_manifest
from sltune.events.store import LONG_COLUMNS, Sample, fingerprint, read_table, schema

SHOWN_FILES = 20
SHOWN_PROBLEMS = 3
"""Of one file; damage seldom hits one sample alone."""
SAMPLE_COLUMNS = ("sample_id", "recording", "subject", "session", "label", "gesture", "start_us")


@dataclass(frozen=True)
class Verified:
    """How much was found to be in order."""

    files: int
    samples: int


def verify_dataset(root: Path, done: Callable[[StoredFile], object] = lambda _: None) -> Verified:
    """Read all of a dataset and compare it with its manifest and with its own short columns.

    Args:
        done: called after each file.

    Raises:
        DataError: the folder is no dataset, or something differs; names every bad file, at most 20, and what is bad.
    """
    manifest = read_manifest(root)
    digests, bad = dict[str, str](), list[str]()
    for file in manifest.files:
        try:
            table = read_table(root / file.file, file.sha256)
            problems = list(_check_file(table, file, manifest, digests))
        except DataError as error:
            bad.append(str(error))
        else:
            bad += [f"{root / file.file}: {_shorten(problems)}; {HINT}"] if problems else []
        done(file)
    # Where a file is bad, the fingerprint differs as well, which would tell nothing new.
    if not bad and fingerprint(list(digests.values())) != manifest.fingerprint:
        bad.append(f"{root / MANIFEST}: fingerprint {manifest.fingerprint} is not that of the samples; {HINT}")
    if bad:
        more = len(bad) - SHOWN_FILES
        raise DataError("\n".join([*bad[:SHOWN_FILES], *([f"… and {more} more files"] if more > 0 else [])]))
    return Verified(len(manifest.files), manifest.samples)


def _check_file(table: pa.Table, file: StoredFile, manifest: Manifest, digests: dict[str, str]) -> Iterator[str]:
    """Give what is wrong in a file, and add the digests of its samples, computed from their events."""
    columns = schema(manifest.sensor)
    wrong = [name for name in columns.names if table.schema.field(name).type != columns.field(name).type]
    if wrong:
        yield f"column {wrong[0]!r} is {table.schema.field(wrong[0]).type}, not {columns.field(wrong[0]).type}"
        return
    empty = [name for name in columns.names if table[name].null_count]
    if empty:
        yield f"column {empty[0]!r} has rows without a value"
        return
    found = (tuple(dict.fromkeys(table["recording"].to_pylist())), table.num_rows, sum(table["events"].to_pylist()))
    expected = (file.recordings, file.samples, file.events)
    for name, here, there in zip(("recordings", "samples", "events"), found, expected, strict=True):
        if here != there:
            yield f"{name} {_show(here)}, but {_show(there)} in {MANIFEST}"
    for row in range(table.num_rows):
        sample = _sample_at(table, row)
        digest = sample.digest()
        for problem in _check_sample(sample, table, row, manifest):
            yield f"sample {sample.sample_id}: {problem}"
        if table["digest"][row].as_py() != digest:
            yield f"sample {sample.sample_id}: digest is not that of its events, label, subject and session"
        if sample.sample_id in digests:
            yield f"sample {sample.sample_id}: there is another of this name"
        digests[sample.sample_id] = digest


def _sample_at(table: pa.Table, row: int) -> Sample:
    short = {name: table[name][row].as_py() for name in SAMPLE_COLUMNS}
    address, time_us = (table[name][row].values.to_numpy(zero_copy_only=True) for name in LONG_COLUMNS)
    return Sample(**short, address=address, time_us=time_us)


def _check_sample(sample: Sample, table: pa.Table, row: int, manifest: Manifest) -> Iterator[str]:
    """Give what is wrong with one sample."""
    if not len(sample.time_us) == len(sample.address) > 0:
        yield f"{len(sample.address)} addresses and {len(sample.time_us)} times"
        return
    if sample.time_us.min():
        yield f"its first event lies {sample.time_us.min()} µs after start_us"
    for name in ("events", "duration_us", "backward_steps"):
        stored, counted = table[name][row].as_py(), getattr(sample, name)
        if stored != counted:
            yield f"{name} is {stored}, but its events give {counted}"
    height, width = manifest.sensor
    outside = sample.address >= 2 * height * width
    if outside.any():
        first = int(np.argmax(outside))
        yield f"event {first} has address {sample.address[first]}, outside the {width}x{height} sensor"
    if manifest.classes[sample.label : sample.label + 1] != (sample.gesture,):
        yield f"label {sample.label} is not {sample.gesture!r} in {MANIFEST}"


def _show(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _shorten(problems: list[str]) -> str:
    more = len(problems) - SHOWN_PROBLEMS
    return "; ".join([*problems[:SHOWN_PROBLEMS], *([f"… and {more} more"] if more > 0 else [])])
