"""A dataset on disk, open for reading; events are read, and their files checked, only when they are asked for."""

from __future__ import annotations

import mmap
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock

import pyarrow as pa

from sltune.errors import DataError
from sltune.events.manifest import HINT, MANIFEST, Manifest, StoredFile, read_manifest
from sltune.events.samples import Samples
from sltune.events.store import LONG_COLUMNS, SHORT_COLUMNS, TIME_TYPE, address_type, read_table
from sltune.events.verify import refuse, short_problems, table_problems
from sltune.system.limits import is_on_disk
from sltune.system.remote import AnyPath

READERS = 16
"""Files of an object store that are asked for at the same time."""
FREE_SHARE = 0.2
"""Of a disk, which stays free for others when files are unpacked on it."""
MEMORY_BYTES = 512 << 20
"""What a process may take for files that it has unpacked where there is no disk, but memory only."""


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
    samples = Samples(list(opened_files(root, manifest)))
    if len(set(samples.sample_id)) < len(samples):
        raise DataError(f"{root / MANIFEST}: is damaged (two of its files have a sample of the same name); {HINT}")
    return Dataset(root, manifest, samples)


def opened_files(root: AnyPath, manifest: Manifest) -> Iterator[SampleFile]:
    """Give the sample files of a dataset; raises as SampleFile does."""
    if isinstance(root, Path):
        yield from (SampleFile(root, file, manifest) for file in manifest.files)
        return
    # A file that lies elsewhere takes the time of a few requests, and little of this machine's.
    with ThreadPoolExecutor(READERS, thread_name_prefix="files") as threads:
        yield from threads.map(lambda file: SampleFile(root, file, manifest), manifest.files)


@dataclass(frozen=True)
class StreamedDataset:
    """A dataset whose events are read file by file, by processes that have all that is known of its samples already."""

    root: AnyPath
    manifest: Manifest

    def samples(self, short: Sequence[pa.Table], unpacked: UnpackedFiles) -> Samples:
        """Return the samples, as ``open_dataset`` does.

        Args:
            short: the columns other than events, of each file. unpacked: holds the events of files that were read.
        """
        files = zip(self.manifest.files, short, strict=True)
        return Samples([SampleFile(self.root, file, self.manifest, table, unpacked) for file, table in files])


class SampleFile:
    """A sample file as a table; its events are read, and checked with its hash, when they are first asked for.

    Args:
        short: its columns other than events; None to read them.
        unpacked: holds its events; None to keep them in memory once they are read.

    Raises:
        DataError: the file is absent, damaged, or not what the manifest says.
    """

    def __init__(
        self,
        root: AnyPath,
        file: StoredFile,
        manifest: Manifest,
        short: pa.Table | None = None,
        unpacked: UnpackedFiles | None = None,
    ) -> None:
        self._root, self._entry, self._manifest, self._unpacked = root, file, manifest, unpacked
        self.short = read_table(root / file.file, columns=SHORT_COLUMNS) if short is None else short
        refuse(root / file.file, short_problems(self.short, manifest.classes, file))

    @property
    def num_rows(self) -> int:
        rows: int = self.short.num_rows
        return rows

    @property
    def keeps_events(self) -> bool:
        """Whether events stay where they are once they are read, so that views of them may be kept."""
        return self._unpacked is None

    def __getitem__(self, column: str) -> pa.ChunkedArray:
        if column not in LONG_COLUMNS:
            return self.short[column]
        whole = self._whole if self._unpacked is None else self._unpacked.table(self._entry.file, self._read)
        return whole[column]

    @cached_property
    def _whole(self) -> pa.Table:
        return self._read()

    def _read(self) -> pa.Table:
        table = read_samples(self._root, self._entry, self._manifest)
        if not table.select(SHORT_COLUMNS).equals(self.short):
            raise DataError(f"{self._root / self._entry.file}: has changed since it was opened")
        return table


class UnpackedFiles:
    """The events of the files that were read last, unpacked on this machine's disk and mapped into memory.

    To unpack a file takes some hundred times as long as to look at a sample of it. The system drops from memory what
    it needs the room for. The files have no names, so that nothing is left of a process that was killed.

    Args:
        limit_bytes: how much they may take; None for what the disk has, less a fifth of it.
    """

    def __init__(self, limit_bytes: int | None = None) -> None:
        self._folder = next((place for place in (tempfile.gettempdir(), "/var/tmp") if is_on_disk(Path(place))), None)
        self._limit_bytes = limit_bytes if self._folder or limit_bytes else MEMORY_BYTES
        self._tables: OrderedDict[str, pa.Table] = OrderedDict()
        # Batches are made by a thread.
        self._lock = Lock()

    def table(self, name: str, read: Callable[[], pa.Table]) -> pa.Table:
        """Return the events of a file, which ``read`` reads with all columns if they are not there."""
        with self._lock:
            if name not in self._tables:
                table = read().select(LONG_COLUMNS)
                while self._tables and not self._has_room(table.nbytes):
                    self._tables.popitem(last=False)
                self._tables[name] = self._on_disk(table)
            self._tables.move_to_end(name)
            return self._tables[name]

    def _has_room(self, more: int) -> bool:
        if self._limit_bytes is not None:
            kept: int = sum(table.nbytes for table in self._tables.values())
            return kept + more <= self._limit_bytes
        assert self._folder is not None
        disk = shutil.disk_usage(self._folder)
        return disk.free - more >= FREE_SHARE * disk.total

    def _on_disk(self, table: pa.Table) -> pa.Table:
        """Return the table as one in an unnamed file; the table itself where there is no room for that."""
        if self._folder is None:
            return table
        try:
            with tempfile.TemporaryFile(dir=self._folder) as file:
                with pa.ipc.new_file(file, table.schema) as writer:
                    writer.write_table(table)
                file.flush()
                mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        except OSError:
            return table
        return pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped))).read_all()


def read_samples(root: AnyPath, file: StoredFile, manifest: Manifest) -> pa.Table:
    """Read a whole sample file of a dataset, with its events.

    Raises:
        DataError: it is absent, damaged, or not what the manifest says.
    """
    table = read_table(root / file.file, file.sha256)
    refuse(root / file.file, table_problems(table, manifest.classes, manifest.sensor, file))
    return table


def data_bytes(manifest: Manifest) -> int:
    """Return about how much memory the dataset takes in memory."""
    bits_per_event: int = address_type(manifest.sensor).bit_width + TIME_TYPE.bit_width
    return bits_per_event // 8 * manifest.events
