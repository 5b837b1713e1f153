"""A dataset on disk, open for reading; events are read, and their files checked, only when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from sltune.errors import DataError
from sltune.events.manifest import HINT, MANIFEST, Manifest, StoredFile, read_manifest
from sltune.events.samples import Samples
from sltune.events.store import LONG_COLUMNS, SHORT_COLUMNS, read_table
from sltune.events.verify import refuse, short_problems, table_problems
from sltune.system.remote import AnyPath

READERS = 16
"""Files of an object store that are asked for at the same time."""


@dataclass(frozen=True)
class Dataset:
    """A manifest, and all samples in its order."""

    root: AnyPath
    manifest: Manifest
    samples: Samples


def open_dataset(root: AnyPath) -> Dataset:
    """Open a dataset; a file's events stay in memory once they are read.

    Raises:
        DataError: the folder is not a dataset, or a file of it is absent, damaged or not what the manifest says.
            Damaged events are found later, when they are read.
    """
    manifest = read_manifest(root)
    samples = Samples(list(_opened(root, manifest)))
    if len(set(samples.sample_id)) < len(samples):
        raise DataError(f"{root / MANIFEST}: is damaged (two of its files have a sample of the same name); {HINT}")
    return Dataset(root, manifest, samples)


def _opened(root: AnyPath, manifest: Manifest) -> Iterator[SampleFile]:
    if isinstance(root, Path):
        yield from (SampleFile(root, file, manifest) for file in manifest.files)
        return
    # A file that lies elsewhere takes the time of a few requests, and little of this machine's.
    with ThreadPoolExecutor(READERS, thread_name_prefix="files") as threads:
        yield from threads.map(lambda file: SampleFile(root, file, manifest), manifest.files)


class SampleFile:
    """A sample file as a table; its events are read, and checked with its hash, when they are first asked for.

    Raises:
        DataError: the file is absent, damaged, or not what the manifest says.
    """

    def __init__(self, root: AnyPath, file: StoredFile, manifest: Manifest) -> None:
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


def read_samples(root: AnyPath, file: StoredFile, manifest: Manifest) -> pa.Table:
    """Read a whole sample file of a dataset, with its events.

    Raises:
        DataError: it is absent, damaged, or not what the manifest says.
    """
    table = read_table(root / file.file, file.sha256)
    refuse(root / file.file, table_problems(table, manifest.classes, manifest.sensor, file))
    return table
