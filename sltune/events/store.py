"""The sample store: recordings already cut into labelled samples, as Parquet files.

One row is a sample, one row group a file. Addresses and times are lists, so a whole file read into Arrow
holds all events in two flat buffers, and a sample is a slice of them that costs no copy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sltune.errors import DataError
from sltune.events.manifest import FORMAT, HINT, StoredFile

TIME_TYPE = pa.uint32()
METADATA_KEY = b"sltune"
LONG_COLUMNS = ("address", "time_us")


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled piece of a recording.

    address: uint16 or uint32 array of shape (events,), (row · width + column) · 2 + polarity.
    time_us: uint32 array of shape (events,), µs since start_us, in the order of the file.
    start_us: the earliest time in the sample, in the recording's unwrapped µs; modulo 2³² what the camera's clock said.
    """

    sample_id: str
    recording: str
    subject: str
    session: str
    label: int
    gesture: str
    start_us: int
    address: NDArray[np.uint16] | NDArray[np.uint32]
    time_us: NDArray[np.uint32]

    @property
    def duration_us(self) -> int:
        return int(self.time_us.max())

    @property
    def events(self) -> int:
        return len(self.time_us)

    @property
    def backward_steps(self) -> int:
        """How often time goes backwards from one event to the next."""
        return int(np.count_nonzero(self.time_us[1:] < self.time_us[:-1]))

    def digest(self) -> str:
        """Hash events, label, subject and session: what must not change without being noticed."""
        head = json.dumps([self.label, self.subject, self.session, self.start_us])
        hasher = hashlib.sha256(head.encode())
        hasher.update(np.ascontiguousarray(self.address, dtype="<u4").data)
        hasher.update(np.ascontiguousarray(self.time_us, dtype="<u4").data)
        return hasher.hexdigest()


class SampleFile:
    """A sample file as a table of which events are only read, and the file checked, when they are asked for.

    Raises:
        DataError: the file is absent, damaged or no sample file.
    """

    def __init__(self, file: Path, sha256: str) -> None:
        self._file = file
        self._sha256 = sha256
        self._short = read_table(file, columns=[name for name in schema((1, 1)).names if name not in LONG_COLUMNS])

    @property
    def num_rows(self) -> int:
        rows: int = self._short.num_rows
        return rows

    def __getitem__(self, column: str) -> pa.ChunkedArray:
        return (self._whole if column in LONG_COLUMNS else self._short)[column]

    @cached_property
    def _whole(self) -> pa.Table:
        return read_table(self._file, self._sha256)


def address_type(sensor: tuple[int, int]) -> pa.DataType:
    """Return the type that holds every address of a sensor of (height, width) pixels."""
    height, width = sensor
    return pa.uint16() if 2 * height * width <= 1 << 16 else pa.uint32()


def schema(sensor: tuple[int, int]) -> pa.Schema:
    """Return the columns of a sample file for a sensor of (height, width) pixels."""
    text = [pa.field(name, pa.string()) for name in ("sample_id", "recording", "subject", "session", "gesture")]
    numbers = [("label", pa.uint8()), ("start_us", pa.uint64()), ("duration_us", pa.uint32())]
    counts = [("events", pa.uint32()), ("backward_steps", pa.uint32())]
    lists = [
        pa.field(name, pa.list_(kind))
        for name, kind in zip(LONG_COLUMNS, (address_type(sensor), TIME_TYPE), strict=True)
    ]
    fields = [*text, *(pa.field(*number) for number in [*numbers, *counts]), pa.field("digest", pa.string()), *lists]
    return pa.schema(fields)


def encode_samples(samples: Sequence[Sample], sensor: tuple[int, int], metadata: Mapping[str, str]) -> pa.Buffer:
    """Return the bytes of a sample file; the metadata (the source's hash, findings) lie inside it.

    Raises:
        DataError: there are more events than one file can hold.
    """
    events = sum(sample.events for sample in samples)
    if events >= 1 << 31:
        raise DataError(f"{samples[0].recording}: {events} events in one file; at most {(1 << 31) - 1} fit")
    columns = schema(sensor)
    table = pa.table(
        [_column(field, samples) for field in columns],
        schema=columns.with_metadata({METADATA_KEY: json.dumps({"format": str(FORMAT), **metadata})}),
    )
    # 2.8 bytes an event on a real recording and 2.5 on a synthetic one; zstd alone leaves 5.5 and 5.2.
    encodings = {"time_us.list.element": "DELTA_BINARY_PACKED", "address.list.element": "BYTE_STREAM_SPLIT"}
    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        use_dictionary=False,
        row_group_size=max(1, len(samples)),
        column_encoding=encodings,
        write_page_checksum=True,
    )
    return sink.getvalue()


def is_sample_file(file: Path) -> bool:
    """Say whether an import wrote the file, in this format or another."""
    try:
        return METADATA_KEY in (pq.read_schema(file).metadata or {})
    except (OSError, pa.ArrowException):
        return False


def stored_metadata(file: Path) -> dict[str, str]:
    """Return the metadata of a sample file; empty where there is none of this format."""
    try:
        metadata: dict[str, str] = json.loads((pq.read_schema(file).metadata or {})[METADATA_KEY])
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return {}
    return metadata if metadata.get("format") == str(FORMAT) else {}


def read_table(file: Path, sha256: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a sample file into Arrow with every column in one contiguous chunk.

    Args:
        sha256: what the manifest says of the file. Arrow reads most damage as other events, without an error.
        columns: None for all.

    Raises:
        DataError: the file is absent, damaged or no sample file.
    """
    try:
        content = file.read_bytes() if sha256 is not None else None
        if content is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise DataError(f"{file}: is damaged: its sha256 is not the manifest's; {HINT}")
        source = file if content is None else pa.BufferReader(content)
        parquet = pq.ParquetFile(source, page_checksum_verification=True)
        table = parquet.read(columns=None if columns is None else list(columns))
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}; {HINT}") from error
    except (ValueError, pa.ArrowException) as error:
        raise DataError(f"{file}: is damaged: {error}; {HINT}") from error
    for name in columns or schema((1, 1)).names:
        if name not in table.column_names:
            raise DataError(f"{file}: no sample file: column {name!r} is missing; {HINT}")
    return table.combine_chunks()


def describe_file(root: Path, file: Path) -> StoredFile:
    """Return a sample file's manifest entry, read from the file itself.

    Raises:
        DataError: the file is absent, damaged or no sample file.
    """
    table = read_table(file, columns=["recording", "events"])
    return StoredFile(
        file=file.relative_to(root).as_posix(),
        source_sha256=stored_metadata(file).get("source_sha256", ""),
        sha256=file_sha256(file),
        recordings=tuple(dict.fromkeys(table["recording"].to_pylist())),
        samples=table.num_rows,
        events=sum(table["events"].to_pylist()),
    )


def fingerprint(digests: Sequence[str]) -> str:
    """Combine sample digests into the dataset's: independent of order, files and compression."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def file_sha256(*files: Path) -> str:
    """Hash the bytes of files, one after the other.

    Raises:
        DataError: a file cannot be read.
    """
    hasher = hashlib.sha256()
    for file in files:
        try:
            # To open a named pipe would wait for ever.
            if file.is_fifo():
                raise DataError(f"{file}: cannot be read: is no regular file")
            with open(file, "rb") as handle:
                while block := handle.read(1 << 20):
                    hasher.update(block)
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    return hasher.hexdigest()


def _column(field: pa.Field, samples: Sequence[Sample]) -> pa.Array:
    if field.name in LONG_COLUMNS:
        parts = [getattr(sample, field.name) for sample in samples]
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int32)
        values = np.concatenate(parts)
        return pa.ListArray.from_arrays(offsets, pa.array(values, field.type.value_type), type=field.type)
    if field.name == "digest":
        return pa.array([sample.digest() for sample in samples], field.type)
    return pa.array([getattr(sample, field.name) for sample in samples], field.type)
