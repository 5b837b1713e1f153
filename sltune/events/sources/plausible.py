"""What no camera records: times that stand still or are in another unit than µs, pixels of another sensor.

Only a source knows what is usual in it, so that every source brings its own limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sltune.events.source import Finding

UNITS = {"s": 1e6, "ms": 1e3, "ns": 1e-3}
"""Units of time in µs, in which times may be instead of µs."""
MIN_EVENTS = 10
"""Fewer events may lie anywhere in a sample, so that their times tell nothing of its length."""
MIN_FILLED = 1 / 4
"""Even a region of interest of half a side is more. A cochlea's 64 channels, read as pixels, are 4 rows of 128."""
EVENTS_LOOKED_AT = 1 << 16
"""Of a camera's events so many, spread over the recording, come from all rows and columns many times."""


@dataclass(frozen=True)
class Span:
    """The least and the most that something of a source lasts. usual: what it is and how long it usually lasts."""

    least_us: int
    most_us: int
    usual: str


ANY = Span(1, (1 << 32) - 1, "a camera's events come one after the other")
"""Of a source of which nothing is known."""


def check_duration(place: str, duration_us: int, events: int, span: Span) -> list[Finding]:
    """Say that something with so many events lasts implausibly short or long, and which unit its times may be in."""
    if events < MIN_EVENTS or span.least_us <= duration_us <= span.most_us:
        return []
    if not duration_us:
        return [Finding(place, f"lasts 0 s, as all of its {events:,} events have the same time; {span.usual}")]
    units = [unit for unit, us in UNITS.items() if span.least_us <= duration_us * us <= span.most_us]
    hint = f"; are its times in {units[0]} instead of µs?" if units else ""
    return [Finding(place, f"lasts {_shown(duration_us)}; {span.usual}{hint}")]


def check_pixels(place: str, address: NDArray[np.uint16], side: int) -> list[Finding]:
    """Say that a recording's events fill implausibly few rows or columns of a square sensor.

    address: of shape (events,), (row · side + column) · 2 + polarity; larger ones are no pixel's.
    """
    # All are looked at only where these fill too little.
    for step in (max(1, len(address) // EVENTS_LOOKED_AT), 1):
        some = address[::step]
        pixels = some[some < 2 * side**2] >> 1
        filled = {"rows": _count(pixels // side), "columns": _count(pixels % side)}
        if min(filled.values()) >= MIN_FILLED * side:
            return []
    shown = " and ".join(f"{count} of {side} {name}" for name, count in filled.items())
    text = f"its events fill {shown}; a camera's fill nearly all: was it another sensor, or are the addresses damaged?"
    # Without any, the samples are errors.
    return [Finding(place, text)] if len(pixels) else []


def _count(values: NDArray[np.integer[Any]]) -> int:
    """Return how many different numbers there are."""
    return int(np.count_nonzero(np.bincount(values)))


def _shown(duration_us: int) -> str:
    for unit, us in (("hours", 3.6e9), ("s", 1e6), ("ms", 1e3)):
        if duration_us >= us:
            return f"{duration_us / us:,.1f} {unit}"
    return f"{duration_us} µs"
