"""Cut recordings into listed samples: each file is decoded once, and only the events of samples stay in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sltune.errors import DataError
from sltune.events.formats.event_file import Block, open_event_file
from sltune.events.formats.members import Member, sha256_of
from sltune.events.listing.rows import Cut
from sltune.events.plausible import ANY, check_times
from sltune.events.source import Finding
from sltune.events.store import Sample, address_type

MAX_KEPT_EVENTS = 1 << 29
"""The events of one sample file lie in memory until it is written: these take 6 GB."""
MAX_BEYOND_US = 1_000_000
"""A row may end this much later than the recording, as nothing need happen at its end."""
DAMAGE_STEP_US = 100_000
"""Samples that end this much before damage are whole, unless the clock went back by more right there."""
CLOCK_STEP_US = 10_000_000
"""Clocks of cameras go back by milliseconds. When a block is this much later than a row, the row is complete."""


@dataclass(frozen=True)
class Wanted:
    """A sample that is to be cut out of a file. place: its row in the listing."""

    place: str
    sample_id: str
    recording: str
    subject: str
    session: str
    split: str
    label: int
    gesture: str
    cut: Cut | None


@dataclass(frozen=True)
class Piece:
    """A file and samples of it. is_first: whether findings on the file itself belong to this piece of the file."""

    member: Member
    time_unit: str | None
    wanted: tuple[Wanted, ...]
    is_first: bool = True


def sha256_of_pieces(pieces: Sequence[Piece], sensor: tuple[int, int]) -> str:
    """Hash all that the samples of pieces depend on."""
    lines = [json.dumps([*map(asdict, piece.wanted), piece.time_unit, _sha256(piece), *sensor]) for piece in pieces]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def load_pieces(pieces: Sequence[Piece], sensor: tuple[int, int]) -> tuple[list[Sample], list[Finding]]:
    """Read the samples of pieces; what is wrong with one of them does not affect the others.

    Args:
        sensor: (height, width) in pixels.
    """
    samples, findings = list[Sample](), list[Finding]()
    for piece in pieces:
        reader = _Reader(piece, sensor)
        findings += reader.read()
        samples += reader.samples(findings)
    return samples, findings


def _sha256(piece: Piece) -> str:
    try:
        status = piece.member.path.stat()
        return _sha256_of(piece.member, status.st_size, status.st_mtime_ns)
    except (DataError, OSError):
        # Loading reports the error, and keeps the samples of other files.
        return "unreadable"


@lru_cache(maxsize=64)
def _sha256_of(member: Member, size: int, modified_ns: int) -> str:
    """Hash a file; large ones are asked for once for each of their pieces."""
    return sha256_of(member)


@dataclass(eq=False)
class _Taken:
    """The events of one sample, block by block; times in µs."""

    wanted: Wanted
    addresses: list[NDArray[Any]] = field(default_factory=list)
    times: list[NDArray[np.int64]] = field(default_factory=list)

    def take(self, block: Block, address: NDArray[Any], first: int, span: tuple[int, int], is_sorted: bool) -> int:
        """Keep the events of a block that belong to the sample, and return how many these are.

        Args:
            first: the number of the block's first event. span: its earliest and its latest time.
        """
        places = self._places(block, first, span, is_sorted)
        if count := len(times := block.t_us[places]):
            # Copies, since a view would keep the whole block in memory.
            self.times.append(times.copy())
            self.addresses.append(address[places].copy())
        return count

    def _places(self, block: Block, first: int, span: tuple[int, int], is_sorted: bool) -> slice | NDArray[np.bool_]:
        cut = self.wanted.cut
        if cut is None:
            return slice(None)
        if not cut.is_time:
            return slice(max(0, cut.start - first), max(0, cut.end - first))
        if span[1] < cut.start or span[0] >= cut.end:
            return slice(0)
        if is_sorted:
            return slice(*np.searchsorted(block.t_us, [cut.start, cut.end]).tolist())
        return (block.t_us >= cut.start) & (block.t_us < cut.end)

    def is_over(self, events: int, time_us: int, step_us: int = CLOCK_STEP_US) -> bool:
        """Say whether no event belongs to the sample after so many, or at this time and later.

        step_us: how far the clock may still go back.
        """
        cut = self.wanted.cut
        return cut is not None and (time_us >= cut.end + step_us if cut.is_time else events >= cut.end)


class _Reader:
    """Decodes a file once and cuts all samples of a piece out of it."""

    def __init__(self, piece: Piece, sensor: tuple[int, int]) -> None:
        self._piece, self._sensor = piece, sensor
        self._address = address_type(sensor).to_pandas_dtype()
        self._taken = [_Taken(wanted) for wanted in piece.wanted]
        self._events = self._kept = 0
        self._first_us, self._last_us = 1 << 63, -(1 << 63)

    def read(self) -> Iterator[Finding]:
        """Read the file, and give what is odd in it; samples that lie where it cannot be read are lost."""
        member = self._piece.member
        try:
            file = open_event_file(member, self._piece.time_unit)
            for block in file.blocks():
                earliest = self._take(block, file.sensor != self._sensor)
                if all(taken.is_over(self._events, earliest) for taken in self._taken):
                    break
        except DataError as error:
            # Whole recordings may be shorter than the long step.
            over = [taken for taken in self._taken if taken.is_over(self._events, self._last_us, DAMAGE_STEP_US)]
            lost = tuple(taken.wanted.sample_id for taken in self._taken if taken not in over)
            self._taken = over
            text = str(error).removeprefix(f"{member}: ")
            yield Finding(str(member), text, is_error=True, lost=lost)
            return
        if file.left_out and self._piece.is_first:
            counts = " and ".join(f"{count:,} {what}" for what, count in sorted(file.left_out.items()))
            yield Finding(str(member), f"left out: {counts}")

    def samples(self, findings: list[Finding]) -> Iterator[Sample]:
        """Give the samples that were read, and add what is wrong or odd in them to the findings."""
        for taken in self._taken:
            wanted = taken.wanted
            if problem := self._problem(taken):
                findings.append(Finding(wanted.place, problem, is_error=True, lost=(wanted.sample_id,)))
                continue
            sample = _sample(taken)
            findings += check_times(wanted.place, sample, ANY)
            if wanted.cut and wanted.cut.is_time and wanted.cut.end > self._last_us + MAX_BEYOND_US:
                findings.append(Finding(wanted.place, f"{wanted.cut}: ends after the recording; {self._extent()}"))
            yield sample

    def _take(self, block: Block, is_checked: bool) -> int:
        """Keep the events of samples, and return the earliest time of the block."""
        height, width = self._sensor
        if is_checked and (block.x.max() >= width or block.y.max() >= height):
            event = int(np.argmax((block.x >= width) | (block.y >= height)))
            pixel = f"pixel x={block.x[event]}, y={block.y[event]} of event {self._events + event}"
            raise DataError(f"{self._piece.member}: {pixel} lies outside the {width}x{height} sensor; correct --sensor")
        address = (block.y.astype(self._address) * width + block.x) * 2 + block.on
        span = int(block.t_us.min()), int(block.t_us.max())
        is_sorted = bool((block.t_us[1:] >= block.t_us[:-1]).all())
        for taken in self._taken:
            self._kept += taken.take(block, address, self._events, span, is_sorted)
        if self._kept > MAX_KEPT_EVENTS:
            text = f"its samples have more than {MAX_KEPT_EVENTS:,} events, which do not fit into memory"
            raise DataError(f"{self._piece.member}: {text}; make them shorter, or fewer of them overlap")
        self._events += len(block)
        self._first_us, self._last_us = min(self._first_us, span[0]), max(self._last_us, span[1])
        return span[0]

    def _problem(self, taken: _Taken) -> str:
        """Return why a sample cannot be imported, or ""."""
        cut = taken.wanted.cut
        if cut is not None and not cut.is_time and cut.end > self._events:
            return f"{cut}: out of range; {self._piece.member} has {self._events:,} events"
        if not taken.times:
            hint = ""
            if cut and cut.end <= self._last_us - self._first_us + MAX_BEYOND_US and cut.start < self._first_us:
                hint = f"; if the row counts from the start of the recording, add {self._first_us} to its times"
            return f"{cut}: no event of {self._piece.member} lies there; {self._extent()}{hint}"
        duration_us = max(int(part.max()) for part in taken.times) - min(int(part.min()) for part in taken.times)
        if duration_us >= 1 << 32:
            return f"lasts {duration_us} µs; at most 2³² − 1 (71 minutes) can be stored"
        return ""

    def _extent(self) -> str:
        return f"its times go from {self._first_us} to {self._last_us} µs"


def _sample(taken: _Taken) -> Sample:
    wanted = taken.wanted
    times = np.concatenate(taken.times)
    taken.times.clear()
    start_us = int(times.min())
    times -= start_us
    sample = Sample(
        sample_id=wanted.sample_id,
        recording=wanted.recording,
        subject=wanted.subject,
        session=wanted.session,
        label=wanted.label,
        gesture=wanted.gesture,
        start_us=max(start_us, 0),
        address=np.concatenate(taken.addresses),
        time_us=times.astype(np.uint32),
        split=wanted.split,
    )
    taken.addresses.clear()
    return sample
