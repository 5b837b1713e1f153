"""Read AEDAT-4, which iniVation's DV writes: packets of events, frames and other samples, each one a FlatBuffer.

Layouts are those of docs.inivation.com, "AEDAT 4.0", and of FlatBuffers' "Internals"; numbers are little-endian.
"""

from __future__ import annotations

import io
import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa

from sltune.errors import DataError
from sltune.events.formats.blocks import MAX_BLOCK_EVENTS, Block, Bytes, EventFile, sensor_of
from sltune.events.formats.members import Member
from sltune.wording import excerpt

FIRST_LINE = b"#!AER-DAT4.0\r\n"
COMPRESSIONS = {0: None, 1: "lz4", 2: "lz4", 3: "zstd", 4: "zstd"}
PACKET_HEADER = struct.Struct("<II")
EVENT = np.dtype({"names": ["t_us", "x", "y", "on"], "formats": ["<i8", "<u2", "<u2", "u1"], "itemsize": 16})
MAX_HEADER_BYTES = 1 << 20
"""The header describes the camera and its settings in XML, which takes some 10 kB."""
MAX_PACKET_BYTES = 1 << 26
"""A packet holds some 10 ms of events, which of the fastest cameras are a few MB, or a frame."""
MIN_READ_BYTES = 1 << 16
EVENTS = "EVTS"
# What packets of other kinds hold.
LEFT_OUT = {"FRME": "frames", "IMUS": "IMU samples", "TRIG": "triggers"}


@dataclass(frozen=True)
class _Header:
    """compression: as pyarrow calls it. start, end: of the packets; end is −1 if they go on to the end of the file.

    kinds: of the streams, by their numbers. stream: the one that is read. sensor: (height, width).
    """

    compression: str | None
    start: int
    end: int
    kinds: dict[int, str]
    stream: int
    sensor: tuple[int, int] | None

    def size_of(self, stream: int) -> int:
        """Return the bytes of an event, or 1 for the elements of other streams, which are only counted."""
        return EVENT.itemsize if stream == self.stream else 1


def open_aedat4(member: Member) -> EventFile:
    """Return the first stream of events in an AEDAT-4 file.

    Raises:
        DataError: the header is damaged, or describes no stream of events.
    """
    header = _read_header(member)

    def read(left_out: Counter[str]) -> Iterator[Block]:
        for stream, content in _packets(member, header):
            kind = header.kinds.get(stream, "")
            if stream == header.stream:
                events = np.frombuffer(content, EVENT)
                for first in range(0, len(events), MAX_BLOCK_EVENTS):
                    part = events[first : first + MAX_BLOCK_EVENTS]
                    yield Block(part["x"], part["y"], part["t_us"], part["on"] != 0)
            elif kind in LEFT_OUT:
                left_out[LEFT_OUT[kind]] += len(content)
            else:
                left_out["packets of other streams"] += 1

    return EventFile(member, header.sensor, read)


def _read_header(member: Member) -> _Header:
    content = member.content(MAX_HEADER_BYTES)
    if not content.startswith(FIRST_LINE):
        shown = excerpt(content[:16].decode("latin-1"))
        raise DataError(f"{member}: not an AEDAT-4 file: starts with {shown!r}, and not with '#!AER-DAT4.0'")
    start = len(FIRST_LINE)
    try:
        length = _number("I", content, start)
        table = content[start : start + 4 + length]
        if len(table) < 4 + length:
            raise ValueError(f"it would have {length} bytes")
        code = _number("i", table, place) if (place := _field(table, 0)) else 0
        end = _number("q", table, place) if (place := _field(table, 1)) else -1
        place, length_of_text = _vector(table, 2)
        streams = _streams(table[place : place + length_of_text])
    except (struct.error, ValueError, ElementTree.ParseError) as error:
        raise DataError(f"{member}: its header is damaged: {excerpt(str(error))}") from error
    kinds = {number: kind for number, (kind, _, _) in streams.items()}
    numbers = sorted(number for number, kind in kinds.items() if kind == EVENTS)
    if not numbers or code not in COMPRESSIONS:
        what = "no stream of events" if not numbers else f"the compression {code}, which is none of AEDAT-4"
        raise DataError(f"{member}: its header names {what}")
    _, width, height = streams[numbers[0]]
    sensor = sensor_of(member, width, height) if width or height else None
    return _Header(COMPRESSIONS[code], start + 4 + length, end, kinds, numbers[0], sensor)


def _streams(description: bytes) -> dict[int, tuple[str, str, str]]:
    """Return kind, width and height of each stream by its number.

    Raises:
        ValueError, ParseError: the description is damaged.
    """
    # Entities could make a short text endless, and DV writes none.
    if b"<!" in description:
        raise ValueError("the description has declarations")
    streams = {}
    for node in ElementTree.fromstring(description).iterfind("node[@name='outInfo']/node"):
        number = node.get("name", "")
        if not re.fullmatch("[0-9]{1,9}", number):
            raise ValueError(f"a stream has the number {number!r}")
        paths = ("attr[@key='typeIdentifier']", *(f"node[@name='info']/attr[@key='size{axis}']" for axis in "XY"))
        kind, width, height = (node.findtext(path, "") for path in paths)
        streams[int(number)] = (kind, width, height)
    return streams


def _packets(member: Member, header: _Header) -> Iterator[tuple[int, bytes | memoryview]]:
    """Give number of the stream and events of each packet; for another stream, a byte for each of its elements.

    Raises:
        DataError: a packet is damaged or cut; names the byte at which it starts.
    """
    file, at = io.BufferedReader(Bytes(member)), header.start
    file.read(at)
    while header.end < 0 or at < header.end:
        head = file.read(PACKET_HEADER.size)
        if not head and header.end < 0:
            return
        try:
            stream, length = PACKET_HEADER.unpack(head)
            if length > MAX_PACKET_BYTES:
                raise ValueError(f"it would have {length} bytes")
            content = file.read(length)
            if len(content) < length:
                raise ValueError("the file ends within it; copy it again")
            # A packet of this kind is one frame.
            is_frame = header.kinds.get(stream) == "FRME"
            yield (
                stream,
                b"1" if is_frame else _elements(_unpacked(content, header.compression), header.size_of(stream)),
            )
        except (struct.error, ValueError, OSError, pa.ArrowException) as error:
            raise DataError(f"{member}: the packet at byte {at} is damaged: {excerpt(str(error))}") from error
        at += PACKET_HEADER.size + length


def _unpacked(content: bytes, compression: str | None) -> bytes:
    if compression is None:
        return content
    unpacked = bytearray()
    with pa.CompressedInputStream(pa.BufferReader(content), compression) as stream:
        # Arrow takes memory for all that it is asked for.
        while part := stream.read(max(MIN_READ_BYTES, 4 * len(content))):
            unpacked += part
            if len(unpacked) > MAX_PACKET_BYTES:
                raise ValueError("it unpacks to more than 64 MB")
    return bytes(unpacked)


def _elements(table: bytes, size: int) -> memoryview:
    """Return the bytes of the elements in a packet.

    Raises:
        struct.error: there are fewer than the packet says.
    """
    start, count = _vector(table)
    if start + count * size > len(table):
        raise struct.error(f"it ends before the last of its {count} elements")
    return memoryview(table)[start : start + count * size]


def _vector(table: bytes, field: int = 0) -> tuple[int, int]:
    """Return where the elements of a field of a table begin, and how many there are; 0 where the field is left out."""
    place = _field(table, field)
    if not place:
        return 0, 0
    place += _number("I", table, place)
    return place + 4, _number("I", table, place)


def _field(table: bytes, field: int) -> int:
    """Return where a field of a FlatBuffer's root table lies; 0 where it is left out."""
    # Before the FlatBuffer stands its length.
    start = 4 + _number("I", table, 4)
    offsets = start - _number("i", table, start)
    slot = 4 + 2 * field
    offset = _number("H", table, offsets + slot) if slot < _number("H", table, offsets) else 0
    return start + offset if offset else 0


def _number(kind: str, content: bytes, at: int) -> int:
    """Return a number.

    Raises:
        struct.error: it lies outside of the content.
    """
    if at < 0:
        raise struct.error(f"a number would lie at byte {at}")
    number: int = struct.unpack_from(f"<{kind}", content, at)[0]
    return number
