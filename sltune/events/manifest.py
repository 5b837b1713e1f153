"""The manifest: what a dataset says of itself, and of its sample files without their events."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated

from sltune.errors import DataError

FORMAT = 2
MANIFEST = "manifest.json"
WARNINGS = "warnings.csv"
HINT = "import the dataset again: sltune import SRC --out DATA"
# What an address of 32 bits can tell apart.
MOST_ADDRESSES = 1 << 32


@validated(frozen=True)
class StoredFile:
    """What is known of one Parquet file without its events. file: its path below the dataset's folder."""

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

    sensor: (height, width) in pixels. warnings: what the import found and let pass; also in ``warnings.csv``.
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

    def to_json(self) -> str:
        layout = "address = (row * width + column) * 2 + polarity; time_us since start_us"
        return json.dumps({**dataclasses.asdict(self), "address_layout": layout}, indent=1)


def read_manifest(root: Path) -> Manifest:
    """Read a dataset's manifest.

    Raises:
        DataError: the folder is no dataset, or of another format.
    """
    file = root / MANIFEST
    try:
        values: dict[str, Any] = json.loads(file.read_bytes())
        if not isinstance(values, dict):
            raise ValueError("no JSON object")
        number = values["format"]
        if number != FORMAT:
            which = "newer" if number > FORMAT else "older"
            raise DataError(f"{file}: format {number} is {which} than this sltune reads ({FORMAT}); {HINT}")
        values.pop("address_layout")
        manifest = TypeAdapter(Manifest).validate_json(json.dumps(values), strict=True, extra="forbid")
    except OSError as error:
        raise DataError(f"{root}: is no dataset ({MANIFEST}: {error.strerror}); {HINT}") from error
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors()[:3])
        raise DataError(f"{file}: is damaged ({where}); {HINT}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{file}: is damaged ({error!r}); {HINT}") from error
    _check_manifest(file, manifest)
    return manifest


def _check_manifest(file: Path, manifest: Manifest) -> None:
    """Refuse a manifest that names a file or recording twice, or a file outside the dataset, or an impossible sensor.

    Raises:
        DataError: it does; names what.
    """
    height, width = manifest.sensor
    if min(height, width) < 1 or 2 * height * width > MOST_ADDRESSES:
        raise DataError(f"{file}: is damaged (sensor of {width}x{height} pixels); {HINT}")
    seen = set[str]()
    for entry in manifest.files:
        path = PurePosixPath(entry.file)
        if len(path.parts) != 2 or path.parts[0] != "recordings" or path.suffix != ".parquet":
            raise DataError(f"{file}: is damaged (names {entry.file!r}, which is no sample file below it); {HINT}")
        for name in (entry.file, *entry.recordings):
            if name in seen:
                raise DataError(f"{file}: is damaged (names {name!r} twice); {HINT}")
            seen.add(name)
