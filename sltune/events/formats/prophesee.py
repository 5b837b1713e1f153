"""Read recordings of Prophesee's cameras (DAT, EVT2, EVT3) and of the ATIS, their forerunner.

Layouts are those of Prophesee's documentation (docs.prophesee.ai, "Data encoding formats"); numbers are little-endian.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sltune.errors import DataError
from sltune.events.formats.blocks import Block, Clock, EventFile, records, sensor_of
from sltune.events.formats.members import Member
from sltune.wording import excerpt

# Five bytes: column, row, then 24 bits, high byte first: polarity (1 = ON) and 23 bits of the time in µs.
ATIS_EVENT = np.dtype([("x", "u1"), ("y", "u1"), ("high", "u1"), ("low", ">u2")])
ATIS_CLOCK_BITS = 23
# An event below the last row of the sensor, 239, says that the clock moves on.
OVERFLOW_ROW, OVERFLOW_US = 240, 1 << 13

# Polarity in bit 28, 14 bits of the row, 14 bits of the column.
DAT_EVENT = np.dtype([("t_us", "<u4"), ("address", "<u4")])
DAT_CLOCK_BITS = 32
DAT_KINDS = (0x00, 0x0C)

EVT2_WORD, EVT3_WORD = np.dtype("<u4"), np.dtype("<u2")

MAX_HEADER_BYTES = 1 << 16


def open_atis(member: Member) -> EventFile:
    """Return a recording as N-MNIST and N-Caltech101 are published: events of five bytes without a header.

    The source is Orchard et al. 2015, doi 10.3389/fnins.2015.00437.
    """

    def read(_: Counter[str]) -> Iterator[Block]:
        clock, overflows = Clock(ATIS_CLOCK_BITS), 0
        for events in records(member, ATIS_EVENT):
            times = clock.unwrap((events["high"].astype(np.uint32) & 0x7F) << 16 | events["low"])
            is_pixel = events["y"] != OVERFLOW_ROW
            if overflows or not is_pixel.all():
                passed = overflows + np.cumsum(~is_pixel)
                overflows = int(passed[-1])
                times += passed * OVERFLOW_US
            x, y = events["x"].astype(np.uint16), events["y"].astype(np.uint16)
            yield Block(x, y, times, events["high"] >= 0x80).only(is_pixel)

    return EventFile(member, None, read)


def open_dat(member: Member) -> EventFile:
    """Return a recording in the DAT format, version 2.

    Raises:
        DataError: the header is damaged, or of another version or kind of events.
    """
    header = _read_header(member)
    version = header.fields.get("version", "none")
    kind = member.content(header.size + 2)[header.size :]
    if version != "2" or len(kind) < 2 or kind[0] not in DAT_KINDS or kind[1] != DAT_EVENT.itemsize:
        shown = " ".join(f"{byte:#04x}" for byte in kind)
        text = f"has version {excerpt(version)}, and events of kind and size {shown or 'none'}"
        raise DataError(f"{member}: {text}; DAT files of version 2 with kind 0x00 or 0x0c and size 0x08 are read")

    def read(_: Counter[str]) -> Iterator[Block]:
        clock = Clock(DAT_CLOCK_BITS)
        for events in records(member, DAT_EVENT, header.size + 2):
            address = events["address"]
            x, y = (address & 0x3FFF).astype(np.uint16), (address >> 14 & 0x3FFF).astype(np.uint16)
            yield Block(x, y, clock.unwrap(events["t_us"]), address >> 28 != 0)

    return EventFile(member, header.sensor, read)


def open_raw(member: Member) -> EventFile:
    """Return a recording in EVT2 or EVT3, as the header says.

    Raises:
        DataError: the header is damaged, or names another format.
    """
    header = _read_header(member)
    encoding = re.split("[ ;]", header.fields.get("format") or f"EVT{header.fields.get('evt', '')}")[0]
    encoding = encoding.upper().removesuffix(".0")
    if encoding not in ("EVT2", "EVT3"):
        raise DataError(f"{member}: its header names the format {excerpt(encoding)!r}; EVT2 and EVT3 are read")

    def read(left_out: Counter[str]) -> Iterator[Block]:
        for block in _decode(member, header.size, encoding == "EVT3", left_out):
            if header.sensor is None:
                yield block
                continue
            # Cameras may write some: Prophesee's own decoder drops them, too.
            inside = (block.x < header.sensor[1]) & (block.y < header.sensor[0])
            part = block.only(inside)
            _count(left_out, "events outside the sensor", len(block) - len(part))
            yield part

    return EventFile(member, header.sensor, read)


@dataclass(frozen=True)
class _Header:
    """fields: by name in lower case. size: bytes before the first event."""

    fields: dict[str, str]
    sensor: tuple[int, int] | None
    size: int


def _read_header(member: Member) -> _Header:
    """Read the lines at the start of a file that begin with a percent sign and a blank: a name and a value each."""
    content, position = member.content(MAX_HEADER_BYTES), 0
    fields = dict[str, str]()
    while content.startswith(b"% ", position):
        end = content.find(b"\n", position)
        if end < 0:
            raise DataError(f"{member}: the header line at byte {position} does not end")
        name, _, value = content[position + 2 : end].decode("latin-1").strip().partition(" ")
        fields[name.lower()] = value.strip()
        position = end + 1
        if name == "end":
            break
    if not position:
        start = content[:24].decode("latin-1")
        raise DataError(f"{member}: starts with {excerpt(start)!r} and not with a header, whose lines begin with '% '")
    return _Header(fields, _sensor(member, fields), position)


def _sensor(member: Member, fields: dict[str, str]) -> tuple[int, int] | None:
    """Return (height, width) from whichever lines name them."""
    width, height = fields.get("width", ""), fields.get("height", "")
    for name, value in (part.partition("=")[::2] for part in fields.get("format", "").split(";")[1:]):
        width, height = (value, height) if name == "width" else (width, value) if name == "height" else (width, height)
    if "geometry" in fields:
        width, _, height = fields["geometry"].partition("x")
    if not width and not height:
        return None
    return sensor_of(member, width, height)


def _decode(member: Member, start: int, is_evt3: bool, left_out: Counter[str]) -> Iterator[Block]:
    # numba takes a second to import, and few readers need it.
    from sltune.events.formats.decoders import kernels_evt as evt

    state = np.zeros(8, np.int64)
    state[evt.HIGH] = evt.NO_TIME
    for words in records(member, EVT3_WORD if is_evt3 else EVT2_WORD, start):
        block = Block.empty(int(evt.most_events_of_evt3(words)) if is_evt3 else len(words))
        decode = evt.decode_evt3 if is_evt3 else evt.decode_evt2
        yield block.first(int(decode(words, state, block.x, block.y, block.t_us, block.on)))
    _count(left_out, "triggers", state[evt.TRIGGERS])
    _count(left_out, "events before the first time", state[evt.TOO_EARLY])


def _count(left_out: Counter[str], what: str, number: int | np.integer) -> None:
    if number:
        left_out[what] += int(number)
