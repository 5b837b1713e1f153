"""The sample store: recordings already cut into labelled samples, as Parquet files.

One row is a sample, one row group a file. Addresses and times are lists, so a whole file read into Arrow
holds all events in two flat buffers, and a sample is a slice of them that costs no copy.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sltune.errors import DataError
from sltune.events.manifest import FORMAT, FORMATS, HINT, MAX_FILE_BYTES, StoredFile
from sltune.system.files import open_plain, parse_json
from sltune.system.parquet import read_parquet
from sltune.system.remote import AnyPath, opened_file
from sltune.wording import excerpt, printable

TIME_TYPE = pa.uint32()
METADATA_KEY = b"sltune"
LONG_COLUMNS = ("address", "time_us")
MIN_CHUNK_EVENTS = 1 << 20
"""Less would end a page of the file early, and pages would be many."""
SHORT_TYPES = {
    **dict.fromkeys(("sample_id", "recording", "subject", "session", "split", "gesture"), pa.string()),
    **{"label": pa.uint8(), "start_us": pa.uint64(), "duration_us": pa.uint32()},
    **{"events": pa.uint32(), "backward_steps": pa.uint32(), "digest": pa.string()},
}
SHORT_COLUMNS = tuple(SHORT_TYPES)
PARTS = ("train", "val", "test")
"""The parts of a dataset that is published with a split."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled piece of a recording.

    address: uint16 or uint32 array of shape (events,), (row · width + column) · 2 + polarity.
    time_us: uint32 array of shape (events,), µs since start_us, in the order of the file.
    split: the official part of the dataset, train, val or test; "" if there is none.
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
    split: str = ""

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

    @property
    def digest(self) -> str:
        """A hash of events, label, subject, session and part, so that no change of these goes unnoticed."""
        # Without a part, it is the digest of format 2, so that fingerprints stay as they were.
        part = [self.split] if self.split else []
        head = json.dumps([self.label, self.subject, self.session, self.start_us, *part])
        hasher = hashlib.sha256(head.encode())
        hasher.update(np.ascontiguousarray(self.address, dtype="<u4").data)
        hasher.update(np.ascontiguousarray(self.time_us, dtype="<u4").data)
        return hasher.hexdigest()


def address_type(sensor: tuple[int, int]) -> pa.DataType:
    """Return the type that holds every address of a sensor of (height, width) pixels."""
    height, width = sensor
    return pa.uint16() if 2 * height * width <= 1 << 16 else pa.uint32()


def schema(sensor: tuple[int, int]) -> pa.Schema:
    """Return the columns of a sample file for a sensor of (height, width) pixels."""
    lists = zip(LONG_COLUMNS, (pa.list_(address_type(sensor)), pa.list_(TIME_TYPE)), strict=True)
    return pa.schema([*SHORT_TYPES.items(), *lists])


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
    return METADATA_KEY in _own_metadata(file)


def stored_metadata(file: Path) -> dict[str, str]:
    """Return the metadata of a sample file; empty where there is none of a format that can be read."""
    try:
        metadata = parse_json(_own_metadata(file)[METADATA_KEY])
    except (KeyError, ValueError):
        return {}
    is_ours = isinstance(metadata, dict) and metadata.get("format") in [str(number) for number in FORMATS]
    return metadata if is_ours and all(isinstance(value, str) for value in metadata.values()) else {}


def read_table(file: AnyPath, sha256: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a sample file into Arrow with every column in one contiguous chunk, of the type of the format.

    What the values say of each other is checked by ``verify``.

    Args:
        sha256: the file's hash in the manifest; None to leave it unchecked. Arrow reads most damage as other events,
            without an error.
        columns: None for all.

    Raises:
        DataError: the file is absent, no plain file, damaged or no sample file.
    """
    try:
        with opened_file(file, MAX_FILE_BYTES) as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(0)
            content = handle.read(size) if sha256 is not None else None
            if content is not None and hashlib.sha256(content).hexdigest() != sha256:
                raise DataError(f"{file}: is damaged: its sha256 is not the manifest's; {HINT}")
            source = handle if content is None else pa.BufferReader(content)
            table = read_parquet(source, size, columns)
        table = _with_split(table, columns)
        _check_columns(table, columns or schema((1, 1)).names)
        table = table.combine_chunks()
        table.validate(full=True)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {printable(error.strerror or str(error))}; {HINT}") from error
    except (ValueError, MemoryError, pa.ArrowException) as error:
        raise DataError(f"{file}: is damaged: {excerpt(str(error))}; {HINT}") from error
    return table


def _with_split(table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    """Return the table of a file of format 2, which knows no parts, with the column that format 3 has for them."""
    is_older = b'"format": "2"' in (table.schema.metadata or {}).get(METADATA_KEY, b"")
    if not is_older or "split" in table.column_names or (columns is not None and "split" not in columns):
        return table
    place = SHORT_COLUMNS.index("split") if columns is None else columns.index("split")
    return table.add_column(place, "split", pa.array([""] * table.num_rows, pa.string()))


def _check_columns(table: pa.Table, names: Sequence[str]) -> None:
    """Refuse a table without the columns of a sample file.

    Raises:
        ValueError: a column is missing, of another type, or lacks a value.
    """
    for name in names:
        if table.column_names.count(name) != 1:
            raise ValueError(f"not a sample file: column {name!r} is missing")
        field, right = table.schema.field(name), schema((1, 1)).field(name)
        if name in LONG_COLUMNS:
            # Addresses have 16 or 32 bits, depending on the sensor, which stands in the manifest.
            kinds = [pa.uint16(), pa.uint32()] if name == "address" else [TIME_TYPE]
            is_right = pa.types.is_list(field.type) and field.type.value_type in kinds
        else:
            is_right = field.type == right.type
        if not is_right:
            raise ValueError(f"column {name!r} is {field.type}, not {right.type}")
        chunks = table[name].chunks
        if any(chunk.null_count or (name in LONG_COLUMNS and chunk.values.null_count) for chunk in chunks):
            raise ValueError(f"column {name!r} has rows without a value")


def _own_metadata(file: Path) -> dict[bytes, bytes]:
    """Return the metadata of a Parquet file; empty for anything else."""
    try:
        with open_plain(file, MAX_FILE_BYTES) as handle:
            return dict(pq.read_schema(handle).metadata or {})
    except (OSError, ValueError, MemoryError, pa.ArrowException):
        return {}


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


def file_sha256(file: Path) -> str:
    """Hash the bytes of a file.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with open_plain(file) as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error


def _column(field: pa.Field, samples: Sequence[Sample]) -> pa.Array | pa.ChunkedArray:
    if field.name not in LONG_COLUMNS:
        return pa.array([getattr(sample, field.name) for sample in samples], field.type)
    chunks = []
    for some in _in_chunks(samples):
        parts = [getattr(sample, field.name) for sample in some]
        offsets = np.cumsum([0, *map(len, parts)]).astype(np.int32)
        # Large samples are not copied, as their events may fill the memory already.
        values = parts[0] if len(parts) == 1 else np.concatenate(parts)
        chunks.append(pa.ListArray.from_arrays(offsets, pa.array(values, field.type.value_type), type=field.type))
    return pa.chunked_array(chunks, field.type)


def _in_chunks(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    """Divide samples into lists of enough events for a page; each page costs some time."""
    chunk, events = list[Sample](), 0
    for sample in samples:
        chunk.append(sample)
        events += sample.events
        if events >= MIN_CHUNK_EVENTS:
            yield chunk
            chunk, events = [], 0
    if chunk:
        yield chunk
