"""Warn of what no camera records: times that stand still or are not in µs, and pixels of another sensor.

Every source sets its own limits, since only it knows what is usual.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sltune.events.source import Finding

# The units that times are mistakenly in, in µs.
UNITS = {"s": 1e6, "ms": 1e3, "ns": 1e-3}
# Fewer events may lie anywhere in a sample, so their times do not tell its duration.
MIN_EVENTS = 10
# Even a region of interest of half a side fills more. A cochlea's 64 channels, read as pixels, fill 4 rows of 128.
MIN_FILLED = 1 / 4
# Spread over a camera's recording, this many events hit every row and column many times.
EVENTS_LOOKED_AT = 1 << 16


@dataclass(frozen=True)
class DurationLimits:
    """How short and how long a kind of sample or recording may be. usual: what it is and how long it usually lasts."""

    min_us: int
    max_us: int
    usual: str


# Limits for a source about which nothing is known.
ANY = DurationLimits(1, (1 << 32) - 1, "a camera's events come one after the other")


def check_duration(place: str, duration_us: int, events: int, limits: DurationLimits) -> list[Finding]:
    """Return a warning if a duration is implausible for so many events; it names the unit that would be plausible."""
    if events < MIN_EVENTS or limits.min_us <= duration_us <= limits.max_us:
        return []
    if not duration_us:
        return [Finding(place, f"lasts 0 s, as all of its {events:,} events have the same time; {limits.usual}")]
    units = [unit for unit, us in UNITS.items() if limits.min_us <= duration_us * us <= limits.max_us]
    hint = f"; are its times in {units[0]} instead of µs?" if units else ""
    return [Finding(place, f"lasts {_shown(duration_us)}; {limits.usual}{hint}")]


def check_pixels(place: str, address: NDArray[np.uint16], side: int) -> list[Finding]:
    """Return a warning if the events of a recording fill implausibly few rows or columns of a square sensor.

    address: shape (events,), (row · side + column) · 2 + polarity; larger values are special events.
    """
    # Some events are enough in nearly all recordings; only if they fill too little, all are looked at.
    for step in (max(1, len(address) // EVENTS_LOOKED_AT), 1):
        some = address[::step]
        pixels = some[some < 2 * side**2] >> 1
        filled = {"rows": _count(pixels // side), "columns": _count(pixels % side)}
        if min(filled.values()) >= MIN_FILLED * side:
            return []
    shown = " and ".join(f"{count} of {side} {name}" for name, count in filled.items())
    text = f"its events fill {shown}; a camera's fill nearly all: was it another sensor, or are the addresses damaged?"
    # If there is no pixel event at all, every sample is reported as an error instead.
    return [Finding(place, text)] if len(pixels) else []


def _count(values: NDArray[np.integer[Any]]) -> int:
    """Return how many distinct values there are."""
    return int(np.count_nonzero(np.bincount(values)))


def _shown(duration_us: int) -> str:
    for unit, us in (("hours", 3.6e9), ("s", 1e6), ("ms", 1e3)):
        if duration_us >= us:
            return f"{duration_us / us:,.1f} {unit}"
    return f"{duration_us} µs"
