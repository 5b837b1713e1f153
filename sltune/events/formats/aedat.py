"""Read and write AEDAT-2.0 recordings of a DVS128.

jAER writes header lines that start with ``#`` and end in CRLF, then eight bytes an event: a big-endian 32-bit address
and a big-endian *unsigned* 32-bit time in µs, which may wrap.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sltune.errors import DataError
from sltune.events.formats.blocks import Clock
from sltune.events.formats.members import Member
from sltune.wording import printable

SENSOR_SIZE = 128
# Set in the address of events that do not come from a pixel, such as synchronisation pulses.
SPECIAL_BIT = 0x8000
EVENT = np.dtype([("address", ">u4"), ("time_us", ">u4")])
CLOCK_BITS = 32
WRAP_US = 1 << CLOCK_BITS
FIRST_LINE = "!AER-DAT2.0"
# Every file that we write begins with these comments.
OPENING = (
    FIRST_LINE,
    "This is a raw AE data file - do not edit",
    "Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event",
    "Timestamps tick is 1 us",
)
# With the preferences of jAER, a header has some 10 kB.
MAX_HEADER_BYTES = 1 << 20
END_OF_HEADER = b"#End Of ASCII Header"
BEYOND_HEADER = re.compile(rb"\n\s*[^#\s]|\n" + END_OF_HEADER + rb".*\n")
# Blank lines within a header or at its end, where an event of a DVS128 follows, whose first byte is 0.
BLANK_LINES = re.compile(rb"(?:[ \t]*\r?\n)+(?=[#\0])")
SWAPPED = (
    "programs write such files that leave the numbers of a PC as they are; write them with numpy's type '>u4', or in "
    "MATLAB with fopen(…, 'w', 'ieee-be')"
)
CONVERTERS = "jAER (File > Save as) writes AEDAT-2.0"


@dataclass(frozen=True, eq=False)
class Recording:
    """Every event of a file in file order, special ones included, because tags count all of them.

    address: uint16 array of shape (events,), the low 16 bits in the file: bit 0 polarity (0 = ON), bits 1-7 column,
    bits 8-14 row, bit 15 special. time_us: uint64 array of shape (events,), unwrapped.
    header: the comment lines, without ``#``. rest_bytes: bytes of an incomplete event at the end of a truncated file.
    """

    member: Member
    header: tuple[str, ...]
    address: NDArray[np.uint16]
    time_us: NDArray[np.uint64]
    rest_bytes: int = 0

    def __len__(self) -> int:
        return len(self.address)

    @property
    def duration_us(self) -> int:
        return int(np.ptp(self.time_us))

    @property
    def comments(self) -> tuple[str, ...]:
        """The header without the lines that ``write_aedat`` adds itself."""
        return tuple(line for line in self.header if line not in OPENING)


def encode_address(row: ArrayLike, column: ArrayLike, polarity: ArrayLike) -> NDArray[np.uint16]:
    """Return DVS128 addresses for pixels in 0…127 and raw polarities (0 = ON, 1 = OFF)."""
    rows, columns, bits = (np.asarray(part, dtype=np.uint16) for part in (row, column, polarity))
    return (rows * 256 + columns * 2 + bits).astype(np.uint16)


def read_aedat(file: Path | Member) -> Recording:
    """Read a DVS128 recording, plain, gzipped or from a zip archive.

    Raises:
        DataError: the file is absent, empty, of another version or sensor, or without events.
    """
    member = Member.of(file)
    pieces = member.pieces()
    header, start, head = _read_header(member, pieces)
    _refuse_chip(member, header)
    events = _Events(member, start)
    for piece in chain([memoryview(head)[start:]], pieces):
        events.add(piece)
    if not events.count:
        raise DataError(f"{member}: no events after the header of {start} bytes")
    address, time_us = events.address[: events.count], events.time_us[: events.count]
    return Recording(member, header, address, _unwrap(time_us), len(events.rest))


class _Events:
    """Events of a recording, decoded piece by piece; rest: the bytes of an incomplete event."""

    def __init__(self, member: Member, start: int) -> None:
        # Enough for a plain file; a packed one unpacks to two or three times its size.
        capacity = member.size // EVENT.itemsize + 1
        self.address: NDArray[np.uint16] = np.empty(capacity, np.uint16)
        self.time_us: NDArray[np.uint32] = np.empty(capacity, np.uint32)
        self.count, self.rest = 0, b""
        self._member, self._start = member, start

    def add(self, piece: memoryview) -> None:
        """Decode the next bytes.

        Raises:
            DataError: an address has more than 16 bits.
        """
        content: bytes | memoryview = self.rest + piece if self.rest else piece
        events = len(content) // EVENT.itemsize
        self.rest = bytes(content[events * EVENT.itemsize :])
        words = np.frombuffer(content, ">u2", events * 4).reshape(events, 4)
        refuse_other_sensors(self._member, words, self._start, self.count)
        until = self.count + events
        if until > len(self.address):
            for values in (self.address, self.time_us):
                # Nothing refers to the arrays' memory yet.
                values.resize(max(until, 2 * len(values)), refcheck=False)
        self.address[self.count : until] = words[:, 1]
        self.time_us[self.count : until] = words.view(">u4")[:, 1]
        self.count = until


def read_header(file: Path | Member) -> tuple[str, ...]:
    """Read only the comment lines of a recording, without ``#``.

    Raises:
        DataError: the file is absent, empty, or of another version or sensor.
    """
    header, _ = find_events(member := Member.of(file))
    _refuse_chip(member, header)
    return header


def find_events(member: Member) -> tuple[tuple[str, ...], int]:
    """Return the comment lines of a recording of any camera, without ``#``, and at which byte its events start.

    Raises:
        DataError: the file is absent, empty, or of another version.
    """
    header, start, _ = _read_header(member, member.pieces())
    return header, start


def chip_of(header: Iterable[str]) -> str:
    """Return the name of the chip that a header states; "" without one."""
    names = (re.match(r"\s*AEChip:\s*(\S+)", line, re.IGNORECASE) for line in header)
    return printable(next((name[1] for name in names if name), ""))


def write_aedat(file: Path | BinaryIO, address: ArrayLike, time_us: ArrayLike, comments: Iterable[str] = ()) -> None:
    """Write events as jAER does; times wrap at 2³² µs, as the camera's clock does.

    Raises:
        ValueError: a comment is more than one line or not in Latin-1.
    """
    events = np.empty(len(np.asarray(address)), dtype=EVENT)
    events["address"] = address
    events["time_us"] = np.asarray(time_us, dtype=np.uint64) % WRAP_US
    lines = [f"#{FIRST_LINE}", *(f"# {comment}" for comment in (*OPENING[1:], *comments)), END_OF_HEADER.decode()]
    if broken := [line for line in lines if "\n" in line or "\r" in line]:
        raise ValueError(f"a comment must be one line, but got {broken[0]!r}")
    with open(file, "wb") if isinstance(file, Path) else nullcontext(file) as handle:
        handle.write("".join(line + "\r\n" for line in lines).encode("latin-1"))
        handle.write(events.data)


def _read_header(member: Member, pieces: Iterator[memoryview]) -> tuple[tuple[str, ...], int, bytes]:
    """Return the comment lines, the offset of the first event, and the bytes that were read to find it.

    Without an end marker, the header ends before the first line that does not start with ``#``. An event that starts
    with ``#`` would be taken for a line, but its address would lie beyond the 15 bits of a DVS128.
    """
    head = b""
    for piece in pieces:
        head += piece
        if BEYOND_HEADER.search(head) or len(head) >= MAX_HEADER_BYTES:
            break
    if not head:
        raise DataError(f"{member}: cannot be read: the file is empty")
    first = head[:64].split(b"\n")[0].rstrip()
    if first != f"#{FIRST_LINE}".encode():
        raise DataError(f"{member}: {_what_instead(first)}")
    lines: list[str] = []
    position = 0
    while head.startswith(b"#", position):
        end = head.find(b"\n", position)
        if end < 0 or end >= MAX_HEADER_BYTES:
            raise DataError(f"{member}: the header line at byte {position} does not end")
        line, position = head[position:end].rstrip(b"\r"), end + 1
        if line.startswith(END_OF_HEADER):
            break
        lines.append(line[1:].decode("latin-1").strip())
        if blank := BLANK_LINES.match(head, position):
            position = blank.end()
    return tuple(lines), position, head


def _refuse_chip(member: Member, header: Iterable[str]) -> None:
    chip = chip_of(header)
    if re.search("davis|cochlea", chip, re.IGNORECASE):
        raise DataError(f"{member}: recorded by {chip}; only DVS128 is supported")


def _what_instead(first: bytes) -> str:
    version = re.match(rb"#!AER-DAT([\d.]+)", first)
    if version and version[1] != b"2.0":
        return f"AEDAT-{version[1].decode()} is not supported, only AEDAT-2.0; {CONVERTERS}"
    shown = first[:24].decode("ascii", "replace")
    return f"not an AEDAT-2.0 file: starts with {shown!r} instead of the line '#{FIRST_LINE}'"


def refuse_other_sensors(member: Member, words: NDArray[np.uint16], start: int, first: int) -> None:
    """Refuse addresses beyond 16 bits, which nearly all events of a little-endian file have.

    Args:
        words: shape (events, 4): high and low half of the address, high and low half of the time.
        start: offset of the first event in the file.
        first: index of the first row among the events of the file.

    Raises:
        DataError: there is such an address; names the first one.
    """
    high = words[:, 0] != 0
    if high.any():
        if _is_little_endian(words):
            raise DataError(f"{member}: its events are little-endian, while AEDAT-2.0 is big-endian; {SWAPPED}")
        index = int(np.argmax(high))
        address = int(words[index, 0]) << 16 | int(words[index, 1])
        index += first
        raise DataError(
            f"{member}: event {index} at byte {start + index * EVENT.itemsize} has address {address:#x}, beyond the 15 "
            "bits of a DVS128 (a DAVIS or cochlea recording?); only DVS128 is supported"
        )


def _is_little_endian(words: NDArray[np.uint16]) -> bool:
    """Return whether events read with the other byte order fit a DVS128 and lie closer together in time."""
    as_read, swapped = words.view(">u4"), words.view("<u4")
    return bool((swapped[:, 0] <= 0xFFFF).all() and np.ptp(swapped[:, 1]) < np.ptp(as_read[:, 1]))


def _unwrap(raw_us: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Continue times beyond 2³², as ``Clock`` does; none is negative."""
    time_us = Clock(CLOCK_BITS).unwrap(raw_us)
    # The first event may have come after a wrap, and one before it later in the file.
    if (turns := int(time_us.min()) // WRAP_US) < 0:
        time_us -= turns * WRAP_US
    return time_us.view(np.uint64)
