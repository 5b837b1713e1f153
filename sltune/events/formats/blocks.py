"""Events of a recording in pieces, whatever the format of its file: what every reader gives, and what readers share."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sltune.errors import DataError
from sltune.events.formats.members import Member
from sltune.wording import excerpt

BLOCK_BYTES = 1 << 18
"""How much of a file becomes a block, whose arrays should stay in the processor's cache until they are used."""
MAX_BLOCK_EVENTS = 1 << 20
MIN_BLOCK_EVENTS = 1 << 15
"""Whoever takes blocks does some work for each, which should not take longer than that for its events."""


@dataclass(frozen=True, eq=False)
class Block:
    """Events in the order of the file; each array has shape (events,).

    x, y: column and row; row 0 is the top of the picture, as the format defines it.
    t_us: the file's own clock in µs; where it wraps, times go on.
    on: True where brightness rose.
    """

    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    t_us: NDArray[np.int64]
    on: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.x)

    @classmethod
    def empty(cls, events: int) -> Block:
        """Return arrays of so many events to write into; what is in them is not defined."""
        x, y = np.empty(events, np.uint16), np.empty(events, np.uint16)
        return cls(x, y, np.empty(events, np.int64), np.empty(events, np.bool_))

    def first(self, events: int) -> Block:
        """Return the first events."""
        return Block(self.x[:events], self.y[:events], self.t_us[:events], self.on[:events])

    def only(self, chosen: NDArray[np.bool_]) -> Block:
        """Return the chosen events; chosen: shape (events,)."""
        if chosen.all():
            return self
        return Block(self.x[chosen], self.y[chosen], self.t_us[chosen], self.on[chosen])


@dataclass(frozen=True, eq=False)
class EventFile:
    """A recording whose header was read, and whose events are not.

    sensor: (height, width) from the header; None if the format does not state it.
    left_out: what was passed over while blocks were read, such as frames and IMU samples, and how many of each.
    """

    member: Member
    sensor: tuple[int, int] | None
    read: Callable[[Counter[str]], Iterator[Block]]
    left_out: Counter[str] = field(default_factory=Counter)

    def blocks(self) -> Iterator[Block]:
        """Give the events in blocks of ``MAX_BLOCK_EVENTS`` and a few at most.

        Raises:
            DataError: the file is damaged, or cut within an event (after all whole events were given), has no events,
                or a pixel outside its sensor; names file and place.
        """
        self.left_out.clear()
        events = 0
        for block in _joined(self.read(self.left_out)):
            self._refuse_outside(block, events)
            events += len(block)
            yield block
        if not events:
            raise DataError(f"{self.member}: holds no events")

    def _refuse_outside(self, block: Block, first: int) -> None:
        """Refuse a pixel outside the sensor. first: index of the block's first event in the file."""
        if self.sensor is None:
            return
        height, width = self.sensor
        if block.x.max() < width and block.y.max() < height:
            return
        event = int(np.argmax((block.x >= width) | (block.y >= height)))
        pixel = f"pixel x={block.x[event]}, y={block.y[event]} of event {first + event}"
        raise DataError(f"{self.member}: {pixel} lies outside the {width}x{height} sensor that its header names")


def _joined(blocks: Iterator[Block]) -> Iterator[Block]:
    """Join small blocks, as formats have packets of a few events; those before an error are given before it."""
    waiting, events = list[Block](), 0
    try:
        for block in blocks:
            waiting.append(block)
            events += len(block)
            if events >= MIN_BLOCK_EVENTS:
                yield _one(waiting)
                waiting, events = [], 0
    except DataError:
        if events:
            yield _one(waiting)
        raise
    if events:
        yield _one(waiting)


def _one(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    parts = zip(*((block.x, block.y, block.t_us, block.on) for block in blocks), strict=True)
    return Block(*map(np.concatenate, parts))


class Clock:
    """Continues the times of a counter of so many bits beyond its end.

    A step of more than half the range is a wrap; smaller steps back are kept. Times go on from block to block.
    """

    def __init__(self, bits: int) -> None:
        self._range, self._half = 1 << bits, 1 << (bits - 1)
        self._last_raw: int | None = None
        self._turns = 0

    def unwrap(self, raw: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Return the times of the next events; raw: shape (events,), below 2 to the power of ``bits``."""
        times = raw.astype(np.int64)
        if not len(times):
            return times
        before = int(times[0]) if self._last_raw is None else self._last_raw
        self._last_raw = int(times[-1])
        # Times only rise in nearly all blocks, and the general way takes three times as long.
        if (times[1:] >= times[:-1]).all() and times[-1] - times[0] <= self._half:
            self._turns += int(self._wraps(times[:1] - before)[0])
            times += self._turns * self._range
        else:
            turns = self._turns + np.cumsum(self._wraps(np.diff(times, prepend=before)))
            self._turns = int(turns[-1])
            times += turns * self._range
        return times

    def _wraps(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for each step how often the counter has begun anew in it; −1 for a step back over its beginning."""
        return (steps < -self._half).astype(np.int64) - (steps > self._half)


def sensor_of(member: Member, width: str, height: str) -> tuple[int, int]:
    """Return (height, width) from texts of a header.

    Raises:
        DataError: one is no number of pixels.
    """
    if not all(re.fullmatch("[1-9][0-9]{0,4}", text) for text in (width, height)):
        shown = excerpt(f"{width}x{height}")
        raise DataError(f"{member}: its header gives the sensor's size as {shown!r}, and not as WIDTHxHEIGHT in pixels")
    return int(height), int(width)


def records(
    member: Member, dtype: np.dtype[Any], skip: int = 0, count: int | None = None, block_bytes: int = BLOCK_BYTES
) -> Iterator[NDArray[Any]]:
    """Give the records of a file, all of the same size, in arrays of about ``block_bytes`` that are its own.

    Args:
        skip: bytes before the first record.
        count: how many records to give; None for all up to the end of the file.

    Raises:
        DataError: the file cannot be read, or ends within a record or too soon, after all whole records were given.
    """
    most = max(1, block_bytes // dtype.itemsize)
    left = None if count is None else count * dtype.itemsize
    given, buffer = 0, bytearray()
    for piece in _after(member.pieces(), skip):
        buffer += piece if left is None else piece[: left - given * dtype.itemsize - len(buffer)]
        while len(buffer) >= most * dtype.itemsize:
            yield np.frombuffer(buffer[: most * dtype.itemsize], dtype)
            del buffer[: most * dtype.itemsize]
            given += most
        if left is not None and given * dtype.itemsize + len(buffer) >= left:
            break
    whole = len(buffer) // dtype.itemsize
    if whole:
        yield np.frombuffer(buffer[: whole * dtype.itemsize], dtype)
        given += whole
    if rest := len(buffer) % dtype.itemsize:
        text = f"{rest} bytes follow event {given}, where an event has {dtype.itemsize}"
        raise DataError(f"{member}: truncated at byte {skip + given * dtype.itemsize}: {text}; copy the file again")
    if count is not None and given < count:
        raise DataError(f"{member}: truncated: ends after {given} of {count} events; copy the file again")


def _after(pieces: Iterable[memoryview], skip: int) -> Iterator[memoryview]:
    """Give the bytes after the first ``skip``."""
    for piece in pieces:
        if skip < len(piece):
            yield piece[skip:]
        skip = max(0, skip - len(piece))


class Bytes(io.RawIOBase):
    """The bytes of a file, unpacked, for what reads from files; raises what ``Member.pieces`` raises."""

    def __init__(self, member: Member) -> None:
        self._pieces = member.pieces()
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._left:
            self._left = next(self._pieces, memoryview(b""))
        count = min(len(self._left), len(buffer))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
