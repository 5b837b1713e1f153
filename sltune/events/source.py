"""What every source of samples offers to the import: files that can be hashed and read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sltune.events.store import Sample


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


@dataclass(frozen=True)
class SourceFile:
    """One file's worth of samples.

    sha256 hashes all that the samples depend on; load reads them and says what is odd. Both raise DataError,
    and may run in another thread or on another machine that has the same files. size: about how many bytes it has.
    """

    name: str
    sha256: Callable[[], str]
    load: Callable[[], tuple[list[Sample], list[Finding]]]
    size: int = 0


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
