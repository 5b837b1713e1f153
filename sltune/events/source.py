"""What the import asks of a source of samples: files that can be hashed and read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sltune.errors import DataError
from sltune.events.orientation import Orientation
from sltune.events.store import Sample
from sltune.wording import and_more, first_of

MAX_FINDINGS = 200
"""How many findings of one file are kept: the manifest, which is read whole, holds those of all files."""
MAX_SHOWN_ERRORS = 20
"""A folder that was copied badly may have an error in every file; the first fill no more than a screen."""


@dataclass(frozen=True)
class Finding:
    """Something odd in a source, or unusable if it is an error, and its place: file, row or sample.

    lost: names of the samples or recordings that cannot be imported because of it.
    """

    place: str
    text: str
    is_error: bool = False
    lost: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def summarized(place: str, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings of a file; if they are too many, the first, errors before warnings, and one for the rest."""
    if len(findings) <= MAX_FINDINGS:
        return tuple(findings)
    in_order = sorted(findings, key=lambda finding: not finding.is_error)
    first, others = in_order[:MAX_FINDINGS], in_order[MAX_FINDINGS:]
    lost = tuple(dict.fromkeys(name for finding in others for name in finding.lost))
    is_error = any(finding.is_error for finding in others)
    return (*first, Finding(place, and_more(len(others)), is_error, lost))


def refuse_errors(findings: Sequence[Finding], strict: bool = False, skip_bad: bool = False) -> None:
    """Raise a DataError if there are errors that are not to be skipped; with strict, warnings count as errors."""
    errors = [str(finding) for finding in findings if finding.is_error or strict]
    if errors and (strict or not skip_bad):
        raise DataError("\n".join(first_of(errors, MAX_SHOWN_ERRORS)))


@dataclass(frozen=True)
class SourceFile:
    """The samples that go into one sample file.

    sha256 hashes all that the samples depend on; load reads them and returns what is odd, too. Both raise DataError,
    and may run in another thread, or on another machine with the same files. size: bytes to read, roughly.
    recordings: their names; empty for a single recording with the name of the file.
    """

    name: str
    sha256: Callable[[], str]
    load: Callable[[], tuple[list[Sample], list[Finding]]]
    size: int = 0
    recordings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """Recordings as found on disk, before their import.

    sensor: (height, width) of the camera in pixels. orientation, downsample: see Manifest.
    findings: what is odd in the source as a whole. check: returns what is odd in the result of the import, from the
    names of the recordings and the durations of the samples in ms.
    """

    name: str
    synthetic: bool
    sensor: tuple[int, int]
    classes: tuple[str, ...]
    files: tuple[SourceFile, ...]
    findings: tuple[Finding, ...] = ()
    check: Callable[[Sequence[str], NDArray[np.float64]], list[Finding]] | None = None
    orientation: Orientation = "upright"
    downsample: int = 1

    @property
    def stored_sensor(self) -> tuple[int, int]:
        """(height, width) of the dataset's addresses, after pixels were merged."""
        return merged_size(self.sensor, self.downsample)


def merged_size(sensor: tuple[int, int], factor: int) -> tuple[int, int]:
    """Return (height, width) of a sensor after factor × factor pixels became one; edges that fill no pixel are cut."""
    height, width = sensor
    return height // factor, width // factor
