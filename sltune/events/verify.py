"""Verification: whether a dataset on disk is, file by file and event by event, what its manifest says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sltune.errors import DataError
from sltune.events.manifest import HINT, MANIFEST, Manifest, StoredFile, read_manifest
from sltune.events.sample_file import event_problems, short_problems, shorten
from sltune.events.store import LONG_COLUMNS, Sample, fingerprint, read_table
from sltune.wording import first_of

SHOWN_FILES = 20
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
            bad += [f"{root / file.file}: {shorten(problems)}; {HINT}"] if problems else []
        done(file)
    # Where a file is bad, the fingerprint differs as well, which would tell nothing new.
    if not bad and fingerprint(list(digests.values())) != manifest.fingerprint:
        bad.append(f"{root / MANIFEST}: fingerprint {manifest.fingerprint} is not that of the samples; {HINT}")
    if bad:
        raise DataError("\n".join(first_of(bad, SHOWN_FILES, "more files")))
    return Verified(len(manifest.files), manifest.samples)


def _check_file(table: pa.Table, file: StoredFile, manifest: Manifest, digests: dict[str, str]) -> Iterator[str]:
    """Give what is wrong in a file, and add the digests of its samples, computed from their events."""
    yield from short_problems(table, manifest.classes, file)
    yield from event_problems(table, manifest.sensor)
    for row in range(table.num_rows):
        sample = _sample_at(table, row)
        digest = sample.digest()
        if table["digest"][row].as_py() != digest:
            yield f"sample {sample.sample_id}: digest is not that of its events, label, subject and session"
        if sample.sample_id in digests:
            yield f"sample {sample.sample_id}: there is another of this name"
        digests[sample.sample_id] = digest


def _sample_at(table: pa.Table, row: int) -> Sample:
    short = {name: table[name][row].as_py() for name in SAMPLE_COLUMNS}
    address, time_us = (table[name][row].values.to_numpy(zero_copy_only=True) for name in LONG_COLUMNS)
    return Sample(**short, address=address, time_us=time_us)
