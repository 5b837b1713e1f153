"""What every source of samples offers to the import: files that can be hashed and read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sltune.events.store import Sample

MAX_FINDINGS = 200
"""Of one file; a manifest lists them all."""


@dataclass(frozen=True)
class Finding:
    """Something odd (or, as an error, unusable) in a source, with the place: file, row or sample.

    lost: names of the samples or recordings that cannot be had because of it.
    """

    place: str
    text: str
    is_error: bool = False
    lost: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


def summarized(place: str, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings of a file; of many the first, errors before warnings, and one that stands for the others."""
    if len(findings) <= MAX_FINDINGS:
        return tuple(findings)
    in_order = sorted(findings, key=lambda finding: not finding.is_error)
    first, others = in_order[:MAX_FINDINGS], in_order[MAX_FINDINGS:]
    lost = tuple(dict.fromkeys(name for finding in others for name in finding.lost))
    is_error = any(finding.is_error for finding in others)
    return (*first, Finding(place, f"… and {len(others)} more", is_error, lost))


@dataclass(frozen=True)
class SourceFile:
    """One file's worth of samples.

    sha256 hashes all that the samples depend on; load reads them and says what is odd. Both raise DataError,
    and may run in another thread or on another machine that has the same files. size: about how many bytes it has.
    recordings: their names, where there is not one alone of the file's name.
    """

    name: str
    sha256: Callable[[], str]
    load: Callable[[], tuple[list[Sample], list[Finding]]]
    size: int = 0
    recordings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """A dataset as found on disk. sensor: (height, width) in pixels; findings concern it as a whole.

    check: says what is odd in the outcome, from the recordings and the samples' durations in ms.
    """

    name: str
    synthetic: bool
    sensor: tuple[int, int]
    classes: tuple[str, ...]
    files: tuple[SourceFile, ...]
    findings: tuple[Finding, ...] = ()
    check: Callable[[Sequence[str], NDArray[np.float64]], list[Finding]] | None = None
