"""Warn of what no camera records: times that stand still or are not in µs, pixels of another sensor, hot pixels.

Every source sets its own limits of durations, since only it knows what is usual. The rest is the same for all sources,
and judged by the import.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from sltune.events.augmentations.events import POLARITIES, Addresses
from sltune.events.formats.aedat import SENSOR_SIZE
from sltune.events.formats.columns import UNITS_US
from sltune.events.source import Finding
from sltune.events.store import Sample

# Fewer events may lie anywhere in a sample, so their times do not tell its duration.
MIN_EVENTS = 10
# Fewer events may all lie in a corner, or on a pixel that flickers.
MIN_EVENTS_JUDGED = 1000
# Shorter recordings of one file are judged together, as to look at each alone would slow down their import.
MIN_EVENTS_ALONE = 50_000
# At first, and closer where these look odd. Of 2048, a hot pixel has 20 or more.
EVENTS_LOOKED_AT = (1 << 11, 1 << 14)
# Even a region of interest of half a side fills more.
MIN_FILLED = 1 / 4
# A cochlea has 64 channels of 8 kinds each; read as addresses of a DVS128, they are pixels of 4 rows.
COCHLEA_ROWS = 4
SOUND = "the channels of a cochlea do so: is it a recording of sound?"
OTHER = "a camera's fill nearly all; was it another sensor, or are the addresses damaged?"
# A pixel is hot if it has more than this share of the events, and many times as many as a busy one: where there are few
# pixels, all have large shares. In N-MNIST (34×34), the busiest has up to 1.6 %, 2.3 times the 99th percentile.
HOT_SHARE, BUSY_SHARE, HOT_RATIO = 0.01, 0.99, 4
# The median of fewer recordings says little of what is usual.
MIN_RECORDINGS_COMPARED = 5
# In SL-Animals-DVS, neon light makes 7 times as many events as the sun.
MAX_RATE_RATIO = 20


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
    units = [unit for unit, us in UNITS_US.items() if limits.min_us <= duration_us * us <= limits.max_us]
    hint = f"; are its times in {units[0]} instead of µs?" if units else ""
    return [Finding(place, f"lasts {_shown(duration_us)}; {limits.usual}{hint}")]


def check_times(place: str, sample: Sample, limits: DurationLimits | None) -> list[Finding]:
    """Return warnings of a sample's times; limits: None to leave its duration unjudged."""
    findings = check_duration(place, sample.duration_us, sample.events, limits) if limits else []
    if sample.backward_steps:
        findings.append(Finding(place, f"time goes backwards {sample.backward_steps} times; sorted when read"))
    return findings


def check_events(samples: Iterable[Sample], sensor: tuple[int, int]) -> list[Finding]:
    """Return warnings of recordings whose pixels or polarities are those of another sensor, or of a broken one.

    Short recordings of a file are judged together, which costs less and tells more.

    Args:
        sensor: (height, width) of the addresses.
    """
    of_recording: dict[str, list[Addresses]] = {}
    for sample in samples:
        of_recording.setdefault(sample.recording, []).append(sample.address)
    findings, names, parts, events = list[Finding](), list[str](), list[Addresses](), 0
    for recording, addresses in of_recording.items():
        names.append(recording)
        parts += addresses
        events += sum(map(len, addresses))
        if events >= MIN_EVENTS_ALONE:
            findings += _judged(names, parts, sensor)
            names, parts, events = [], [], 0
    return findings + (_judged(names, parts, sensor) if events >= MIN_EVENTS_JUDGED else [])


def _judged(names: Sequence[str], parts: Sequence[Addresses], sensor: tuple[int, int]) -> list[Finding]:
    """Return what is odd about the events of some recordings; only if a few look odd, more are looked at."""
    texts = list[str]()
    for number in EVENTS_LOOKED_AT:
        if not (texts := list(_oddities(_drawn(parts, number), sensor))):
            break
    place = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    return [Finding(place, text) for text in texts]


def _drawn(parts: Sequence[Addresses], number: int) -> Addresses:
    """Return some events of all parts; they are drawn, as the order of events may be that of the pixels."""
    lengths = np.array([len(part) for part in parts])
    ends = np.cumsum(lengths)
    picked = np.sort(np.random.default_rng(0).integers(ends[-1], size=number))
    of_part = np.split(picked, np.searchsorted(picked, ends[:-1])) if len(parts) > 1 else [picked]
    taken = [part[places - start] for part, places, start in zip(parts, of_part, ends - lengths, strict=True)]
    return np.concatenate(taken)


def _oddities(address: Addresses, sensor: tuple[int, int]) -> Iterator[str]:
    """Say what is odd about the pixels and polarities of some events."""
    height, width = sensor
    pixel, counts = np.unique(address // POLARITIES, return_counts=True)
    row, column = np.divmod(pixel, width)
    rows, columns = (len(np.unique(lines)) for lines in (row, column))
    if rows < MIN_FILLED * height or columns < MIN_FILLED * width:
        is_sound = sensor == (SENSOR_SIZE, SENSOR_SIZE) and rows <= COCHLEA_ROWS and columns > width / 2
        hint = SOUND if is_sound else OTHER
        yield f"the events fill {rows} of {height} rows and {columns} of {width} columns; {hint}"
    ones = int(np.count_nonzero(address % POLARITIES))
    if ones in (0, len(address)):
        yield f"all events have polarity {min(ones, 1)}; was the other one lost in a conversion?"
    most = int(np.argmax(counts))
    limit = max(HOT_SHARE * len(address), HOT_RATIO * np.sort(counts)[int(BUSY_SHARE * (len(counts) - 1))])
    if counts[most] > limit:
        hot = int(np.count_nonzero(counts > limit))
        more = f", and {hot - 1} more alike" if hot > 1 else ""
        share = f"{counts[most] / len(address):.1%} of the events are of the pixel in column {column[most]}"
        yield f"{share} and row {row[most]}{more}; is it hot? `sltune show` draws it"


def check_rates(columns: pa.Table) -> list[Finding]:
    """Return warnings of recordings with far more or fewer events a second than most of their dataset.

    Args:
        columns: recording, events and duration_us of all samples.
    """
    sums = columns.group_by("recording", use_threads=False).aggregate([("events", "sum"), ("duration_us", "sum")])
    events, duration_us = (sums[f"{name}_sum"].to_numpy() for name in ("events", "duration_us"))
    judged = np.flatnonzero((events >= MIN_EVENTS) & (duration_us > 0))
    if len(judged) < MIN_RECORDINGS_COMPARED:
        return []
    rate = events[judged] / duration_us[judged] * 1e6
    median = float(np.median(rate))
    odd = np.flatnonzero((rate > MAX_RATE_RATIO * median) | (rate * MAX_RATE_RATIO < median))
    hint = "is its clock right, and was its light as for the others? `sltune show` draws it"
    return [
        Finding(
            sums["recording"][judged[index]].as_py(),
            f"{rate[index]:,.0f} events a second, the median is {median:,.0f}; {hint}",
        )
        for index in odd.tolist()
    ]


def _shown(duration_us: int) -> str:
    for unit, us in (("hours", 3.6e9), ("s", 1e6), ("ms", 1e3)):
        if duration_us >= us:
            return f"{duration_us / us:,.1f} {unit}"
    return f"{duration_us} µs"
