"""What every source of samples offers to the import: files that can be hashed and read one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sltune.events.store import Sample


@dataclass(frozen=True)
class Finding:
    """Something odd (or, as an error, unusable) in a source, with the place: file, row or sample."""

    place: str
    text: str
    is_error: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(frozen=True)
class SourceFile:
    """One file's worth of samples.

    sha256 hashes all that the samples depend on; load reads them and says what is odd. Both raise DataError.
    """

    name: str
    sha256: Callable[[], str]
    load: Callable[[], tuple[list[Sample], list[Finding]]]


@dataclass(frozen=True)
class Source:
    """A dataset as found on disk. sensor: (height, width) in pixels; findings concern it as a whole."""

    name: str
    synthetic: bool
    sensor: tuple[int, int]
    classes: tuple[str, ...]
    files: tuple[SourceFile, ...]
    findings: tuple[Finding, ...] = ()
