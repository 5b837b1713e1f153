"""The manifest: what is known of a dataset and its sample files without reading them."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from sltune.errors import DataError
from sltune.events.orientation import SLANIMALS, Orientation
from sltune.system.files import MAX_TEXT_BYTES, max_unpacked_bytes, parse_json, sibling
from sltune.system.remote import AnyPath, RemotePath, opened_file, sizes_in
from sltune.wording import as_argument, excerpt, printable

FORMAT = 3
FORMATS = (2, FORMAT)
"""Those that can be read. Format 2 knows no parts, orientation and downsampling: what was fixed then holds for it."""
MANIFEST = "manifest.json"
WARNINGS = "warnings.csv"
RECORDINGS = "recordings"
HINT = "import the dataset again: sltune import SRC --out DATA"
# An address has at most 32 bits, a label 8.
MAX_ADDRESSES = 1 << 32
MAX_CLASSES = 256
# The sample file of a recording of an hour has some 2 GB; shards have 64 MB.
MAX_FILE_BYTES = 8 << 30
# In memory, an event takes at least 2 bytes for its address and 4 for its time.
BYTES_PER_EVENT = 6
MAX_SHOWN_PROBLEMS = 3
"""A broken manifest can have thousands of errors; the first few say enough."""


@validated(frozen=True)
class StoredFile:
    """A sample file, described without its events. file: its path below the dataset's folder."""

    file: str
    source_sha256: str
    sha256: str
    recordings: tuple[str, ...]
    samples: int
    events: int


@validated(frozen=True)
class LeftOut:
    """A sample or a whole recording of the source that is not in the dataset, and why."""

    name: str
    reason: str


@validated(frozen=True)
class Manifest:
    """What ``manifest.json`` says of a dataset.

    sensor: (height, width) in pixels, after pixels were merged. orientation: which way is up in the stored frames.
    downsample: how many pixels of the camera, in each direction, were merged into one. warnings: what the import found
    but did not refuse; also in ``warnings.csv``.
    """

    name: str
    synthetic: bool
    sensor: tuple[int, int]
    classes: tuple[str, ...]
    fingerprint: str
    files: tuple[StoredFile, ...]
    durations_ms: dict[str, float]
    warnings: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    sltune: str
    orientation: Orientation = "upright"
    downsample: int = 1
    format: int = FORMAT

    @property
    def samples(self) -> int:
        return sum(file.samples for file in self.files)

    @property
    def events(self) -> int:
        return sum(file.events for file in self.files)

    @property
    def recordings(self) -> int:
        return sum(len(file.recordings) for file in self.files)

    @property
    def recording_order(self) -> str:
        """A hash of the order of the recordings, from which folds are drawn; the fingerprint does not depend on it."""
        names = [name for file in self.files for name in file.recordings]
        return hashlib.sha256("\n".join(names).encode()).hexdigest()

    def to_json(self) -> str:
        layout = "address = (row * width + column) * 2 + polarity; time_us since start_us"
        return json.dumps({**dataclasses.asdict(self), "address_layout": layout}, indent=1)


def read_manifest(root: AnyPath) -> Manifest:
    """Read a dataset's manifest.

    Raises:
        DataError: the folder is not a dataset, or of another format.
    """
    file = root / MANIFEST
    try:
        values: dict[str, Any] = parse_json(_read(file))
        if not isinstance(values, dict):
            raise ValueError("not a JSON object")
        number = values["format"]
        if number not in FORMATS:
            which = "newer" if number > FORMAT else "older"
            text = f"format {excerpt(str(number))} is {which} than this sltune reads ({FORMATS[0]} to {FORMAT})"
            raise DataError(f"{file}: {text}; {HINT}")
        values.pop("address_layout")
        if number < FORMAT and values["name"] == SLANIMALS:
            values["orientation"] = "upside-down"
        manifest = TypeAdapter(Manifest).validate_json(json.dumps(values), strict=True, extra="forbid")
        _check_manifest(file, manifest, sizes_in(root / RECORDINGS))
    except OSError as error:
        if isinstance(root, RemotePath) and error.errno != errno.ENOENT:
            raise DataError(f"{root}: cannot be read: {error.strerror or error}") from error
        if isinstance(root, Path) and not root.exists():
            raise DataError(f"{root}: is not a dataset, as there is no such folder{sibling(root)}") from error
        text = f"is not a dataset ({MANIFEST}: {error.strerror}); if it holds recordings, import them"
        raise DataError(f"{root}: {text}: sltune import {as_argument(root)} --out DATA") from error
    except ValidationError as error:
        parts = [(".".join(map(str, part["loc"])), part["msg"]) for part in error.errors()[:MAX_SHOWN_PROBLEMS]]
        where = "; ".join(f"{excerpt(place)}: {excerpt(text)}" for place, text in parts)
        raise _damaged(file, where) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MemoryError) as error:
        raise _damaged(file, excerpt(repr(error))) from error
    return manifest


def _read(file: AnyPath) -> bytes:
    with opened_file(file, MAX_TEXT_BYTES) as handle:
        return handle.read(MAX_TEXT_BYTES)


def _check_manifest(file: AnyPath, manifest: Manifest, sizes: Mapping[str, int]) -> None:
    """Refuse what no import writes, and numbers that would cost much memory if they were believed.

    Args:
        sizes: bytes of sample files, by their names.

    Raises:
        DataError: there is such a value; names it.
    """
    height, width = manifest.sensor
    if min(height, width) < 1 or not is_addressable(manifest.sensor):
        raise _damaged(file, f"sensor of {width}x{height} pixels")
    if manifest.downsample < 1:
        raise _damaged(file, f"downsample is {manifest.downsample}")
    if len(manifest.classes) > MAX_CLASSES:
        raise _damaged(file, f"{len(manifest.classes)} classes; at most {MAX_CLASSES} are possible")
    if len(set(manifest.classes)) < len(manifest.classes):
        raise _damaged(file, "names a class twice")
    if not all(math.isfinite(value) for value in manifest.durations_ms.values()):
        raise _damaged(file, "a duration is not a finite number")
    seen = set[str]()
    for entry in manifest.files:
        path = PurePosixPath(entry.file)
        is_plain = str(path) == entry.file == printable(entry.file)
        if not is_plain or len(path.parts) != 2 or path.parts[0] != RECORDINGS or path.suffix != ".parquet":
            raise _damaged(file, f"names {excerpt(repr(entry.file))}, which is not a sample file below it")
        for name in (entry.file, *entry.recordings):
            if name in seen:
                raise _damaged(file, f"names {excerpt(repr(name))} twice")
            seen.add(name)
        if min(entry.samples, entry.events) < 0 or entry.samples > entry.events:
            raise _damaged(file, f"{entry.file} has {entry.samples} samples of {entry.events} events")
        # Ray's memory is sized by the number of events in the manifest, before any file is read.
        if BYTES_PER_EVENT * entry.events > max_unpacked_bytes(size := sizes.get(path.name, 0)):
            raise _damaged(file, f"{entry.file} has {size:,} bytes, which cannot be {entry.events:,} events")


def is_addressable(sensor: tuple[int, int]) -> bool:
    """Say whether each pixel of (height, width) pixels, in each polarity, has an address of 32 bits."""
    height, width = sensor
    return 2 * height * width <= MAX_ADDRESSES


def file_size(file: Path) -> int:
    """Return the size of a file in bytes, or 0 if there is no file; reading it then reports that."""
    with suppress(OSError):
        return file.stat().st_size
    return 0


def _damaged(file: AnyPath, reason: str) -> DataError:
    return DataError(f"{file}: is damaged ({printable(reason)}); {HINT}")
