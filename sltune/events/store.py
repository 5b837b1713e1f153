"""The sample store: recordings already cut into labelled samples, as Parquet files and a manifest.

One row is a sample, one row group a file. Addresses and times are lists, so a whole file read into Arrow
holds all events in two flat buffers, and a sample is a slice of them that costs no copy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sltune.errors import DataError
from sltune.files import whole_file

FORMAT = 1
MANIFEST = "manifest.json"
TIME_TYPE = pa.uint32()
METADATA_KEY = b"sltune"


@dataclass(frozen=True, eq=False)
class Sample:
    """One labelled piece of a recording.

    address: uint16 or uint32 array of shape (events,), (row · width + column) · 2 + polarity.
    time_us: uint32 array of shape (events,), µs since start_us, in the order of the file.
    start_us: the earliest time in the sample, in the recording's unwrapped µs.
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


@dataclass(frozen=True)
class StoredFile:
    """What is known of one Parquet file without its events."""

    file: str
    source_sha256: str
    sha256: str
    recordings: tuple[str, ...]
    samples: int
    events: int


@dataclass(frozen=True)
class Manifest:
    """What ``manifest.json`` says of a dataset.

    sensor: (height, width) in pixels. warnings: what the import found and let pass.
    """

    name: str
    synthetic: bool
    sensor: tuple[int, int]
    classes: tuple[str, ...]
    fingerprint: str
    files: tuple[StoredFile, ...]
    durations_ms: Mapping[str, float]
    warnings: tuple[str, ...]
    sltune: str
    format: int = FORMAT

    def to_json(self) -> str:
        layout = "address = (row * width + column) * 2 + polarity; time_us since start_us"
        return json.dumps({**_plain(self), "address_layout": layout}, indent=1)


def address_type(sensor: tuple[int, int]) -> pa.DataType:
    """Return the type that holds every address of a sensor of (height, width) pixels."""
    height, width = sensor
    return pa.uint16() if 2 * height * width <= 1 << 16 else pa.uint32()


def schema(sensor: tuple[int, int]) -> pa.Schema:
    """Return the columns of a sample file for a sensor of (height, width) pixels."""
    text = [pa.field(name, pa.string()) for name in ("sample_id", "recording", "subject", "session", "gesture")]
    numbers = [("label", pa.uint8()), ("start_us", pa.uint64()), ("duration_us", pa.uint32())]
    lists = [
        pa.field(name, pa.list_(kind)) for name, kind in (("address", address_type(sensor)), ("time_us", TIME_TYPE))
    ]
    checks = [pa.field("backward_steps", pa.uint32()), pa.field("digest", pa.string())]
    return pa.schema([*text, *(pa.field(*number) for number in numbers), *checks, *lists])


def write_samples(file: Path, samples: Sequence[Sample], sensor: tuple[int, int], metadata: Mapping[str, str]) -> None:
    """Write one sample file whole or not at all; the metadata (the source's hash, findings) lie inside it."""
    columns = schema(sensor)
    table = pa.table(
        [_column(field, samples) for field in columns],
        schema=columns.with_metadata({METADATA_KEY: json.dumps({"format": str(FORMAT), **metadata})}),
    )
    # 2.8 bytes an event on a real recording and 2.5 on a synthetic one; zstd alone leaves 5.5 and 5.2.
    encodings = {"time_us.list.element": "DELTA_BINARY_PACKED", "address.list.element": "BYTE_STREAM_SPLIT"}
    with whole_file(file) as temporary:
        pq.write_table(
            table,
            temporary,
            compression="zstd",
            use_dictionary=False,
            row_group_size=max(1, len(samples)),
            column_encoding=encodings,
        )


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
    if sha256 is not None and file_sha256(file) != sha256:
        raise DataError(f"{file}: is damaged: its sha256 is not the manifest's; import the dataset again")
    try:
        table = pq.read_table(file, columns=columns, memory_map=False).combine_chunks()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{file}: cannot be read: {error}; import the dataset again") from error
    for name in columns or schema((1, 1)).names:
        if name not in table.column_names:
            raise DataError(f"{file}: no sample file: column {name!r} is missing; import the dataset again")
    return table


def describe_file(root: Path, file: Path) -> StoredFile:
    """Return a sample file's manifest entry, read from the file itself.

    Raises:
        DataError: the file is absent, damaged or no sample file.
    """
    table = read_table(file, columns=["recording"])
    events = pq.read_metadata(file).row_group(0)
    names = [events.column(index).path_in_schema for index in range(events.num_columns)]
    return StoredFile(
        file=str(file.relative_to(root)),
        source_sha256=stored_metadata(file).get("source_sha256", ""),
        sha256=file_sha256(file),
        recordings=tuple(dict.fromkeys(table["recording"].to_pylist())),
        samples=table.num_rows,
        events=events.column(names.index("address.list.element")).num_values,
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
            with open(file, "rb") as handle:
                while block := handle.read(1 << 20):
                    hasher.update(block)
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from error
    return hasher.hexdigest()


def read_manifest(root: Path) -> Manifest:
    """Read a dataset's manifest.

    Raises:
        DataError: the folder is no dataset, or of a newer format.
    """
    file = root / MANIFEST
    hint = "make a dataset with `sltune import SRC --out DATA`"
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("no JSON object")
        if values["format"] > FORMAT:
            raise DataError(f"{file}: format {values['format']} is newer than this sltune reads ({FORMAT})")
        values.pop("address_layout")
        files = tuple(StoredFile(**{**entry, "recordings": tuple(entry["recordings"])}) for entry in values["files"])
        lists = {name: tuple(values[name]) for name in ("sensor", "classes", "warnings")}
        return Manifest(**{**values, **lists, "files": files})
    except OSError as error:
        raise DataError(f"{root}: is no dataset ({MANIFEST}: {error.strerror}); {hint}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: is damaged ({error!r}); {hint}") from error


def _column(field: pa.Field, samples: Sequence[Sample]) -> pa.Array:
    if field.name in ("address", "time_us"):
        parts = [getattr(sample, field.name) for sample in samples]
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int32)
        values = np.concatenate(parts) if parts else np.empty(0)
        return pa.ListArray.from_arrays(offsets, pa.array(values, field.type.value_type), type=field.type)
    if field.name == "digest":
        return pa.array([sample.digest() for sample in samples], field.type)
    return pa.array([getattr(sample, field.name) for sample in samples], field.type)


def _plain(manifest: Manifest) -> dict[str, Any]:
    return {**vars(manifest), "files": [vars(file) for file in manifest.files]}
