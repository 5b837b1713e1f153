"""Writes the same events in every format, value by value from the formats' descriptions, without sltune's own code."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby

import h5py
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SENSOR = (128, 128)
"""Height and width in pixels; the DVS128 has no more."""
STRUCTURED = np.dtype([("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1")])


@dataclass(frozen=True)
class Events:
    """Lists of one length: column, row from the top, time in µs, and whether brightness rose."""

    x: list[int]
    y: list[int]
    t: list[int]
    p: list[bool]

    def __len__(self) -> int:
        return len(self.x)

    def structured(self) -> NDArray[np.void]:
        return np.array(list(zip(self.t, self.x, self.y, self.p, strict=True)), STRUCTURED)


def random_events(rng: np.random.Generator, count: int, step_us: int = 100) -> Events:
    """Return events whose times rise from 0 by up to ``step_us`` each; half of them follow one in their row at once."""
    height, width = SENSOR
    follows = rng.random(count) < 0.5
    follows[:1] = False
    first = np.maximum.accumulate(np.where(follows, 0, np.arange(count)))
    x = rng.integers(width, size=count)[first] + 2 * (np.arange(count) - first)
    t = np.cumsum(np.where(follows, 0, rng.integers(0, step_us + 1, count)))
    y, p = rng.integers(height, size=count)[first], (rng.random(count) < 0.5)[first]
    return Events((x % width).tolist(), y.tolist(), (t - t[:1]).tolist(), p.tolist())


def npy(events: Events) -> bytes:
    file = BytesIO()
    np.save(file, events.structured())
    return file.getvalue()


def npz(events: Events) -> bytes:
    file = BytesIO()
    np.savez_compressed(file, x=events.x, y=events.y, t=events.t, p=events.p)
    return file.getvalue()


def csv(events: Events) -> bytes:
    rows = zip(events.t, events.x, events.y, map(int, events.p), strict=True)
    return "".join(["t,x,y,p\n", *(f"{t},{x},{y},{p}\n" for t, x, y, p in rows)]).encode()


def atis(events: Events) -> bytes:
    rows = zip(events.x, events.y, events.t, events.p, strict=True)
    return b"".join(struct.pack(">BBBH", x, y, p << 7 | t >> 16 & 0x7F, t & 0xFFFF) for x, y, t, p in rows)


def dvs128(events: Events) -> bytes:
    """Columns count from the right and rows from the bottom; polarity 0 is ON, bit 15 marks other events."""
    rows = zip(events.x, events.y, events.t, events.p, strict=True)
    words = [((127 - y) << 8 | (127 - x) << 1 | (not p), t) for x, y, t, p in rows]
    return _aedat2(["# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128"], words)


def davis240(events: Events) -> bytes:
    return _davis(events, "eu.seebetter.ini.chips.davis.DAVIS240C", 180, 240)


def davis346(events: Events, with_others: bool = True) -> bytes:
    return _davis(events, "eu.seebetter.ini.chips.davis.Davis346blue", 260, 346, with_others)


FRAME_PIXELS, IMU_SAMPLES = 12, 2


def _davis(events: Events, chip: str, height: int, width: int, with_others: bool = True) -> bytes:
    """Between the events lie a trigger, the pixels of a frame, and samples of the IMU of seven words each."""
    rows = zip(events.x, events.y, events.t, events.p, strict=True)
    words = [((height - 1 - y) << 22 | (width - 1 - x) << 12 | p << 11, t) for x, y, t, p in rows]
    others = [
        1 << 10 | 5 << 12,
        *(1 << 31 | pixel << 12 | (pixel % 2) << 10 | 700 for pixel in range(FRAME_PIXELS)),
        *(1 << 31 | word << 28 | 3 << 10 | 999 << 12 for _ in range(IMU_SAMPLES) for word in range(7)),
    ]
    others = others if with_others else []
    middle = len(words) // 2
    time = words[middle][1] if words else 0
    return _aedat2([f"# AEChip: {chip}"], [*words[:middle], *((other, time) for other in others), *words[middle:]])


def _aedat2(header: list[str], words: list[tuple[int, int]]) -> bytes:
    lines = "".join(f"{line}\r\n" for line in ("#!AER-DAT2.0", *header, "#End Of ASCII Header"))
    return lines.encode() + b"".join(struct.pack(">II", address, t % 2**32) for address, t in words)


def dat(events: Events) -> bytes:
    rows = zip(events.x, events.y, events.t, events.p, strict=True)
    head = (
        f"% Data file containing CD events.\n% Version 2\n% Height {SENSOR[0]}\n% Width {SENSOR[1]}\n% end\n".encode()
    )
    return head + b"\x0c\x08" + b"".join(struct.pack("<II", t % 2**32, p << 28 | y << 14 | x) for x, y, t, p in rows)


def evt2(events: Events) -> bytes:
    """Each time above the low six bits comes before the first event that has it; a trigger, too."""
    words, high = [0xA << 28 | 1], -1
    for x, y, t, p in zip(events.x, events.y, events.t, events.p, strict=True):
        if t >> 6 != high:
            high = t >> 6
            words.append(8 << 28 | high % 2**28)
        words.append(p << 28 | (t & 63) << 22 | x << 11 | y)
    head = f"% evt 2.0\n% format EVT2;height={SENSOR[0]};width={SENSOR[1]}\n% end\n"
    return head.encode() + b"".join(struct.pack("<I", word) for word in words)


def evt3(events: Events, with_trigger: bool = True) -> bytes:
    """Neighbours in a row at one time, of one polarity and in order, become vectors, as cameras write them."""
    words = [0xA << 12 | 1] * with_trigger
    rows = [*zip(events.x, events.y, events.t, events.p, strict=True)]
    high = low = row = -1
    first = 0
    while first < len(rows):
        x, y, t, p = rows[first]
        if t >> 12 != high:
            high, low = t >> 12, -1
            words.append(8 << 12 | high % 2**12)
        if t & 4095 != low:
            low = t & 4095
            words.append(6 << 12 | low)
        if y != row:
            row = y
            words.append(0 << 12 | y)
        last = first + 1
        while last < len(rows) and rows[last][1:] == (y, t, p) and rows[last - 1][0] < rows[last][0] < x + 32:
            last += 1
        columns = [rows[place][0] - x for place in range(first, last)]
        if len(columns) == 1:
            words.append(2 << 12 | p << 11 | x)
        else:
            mask = sum(1 << column for column in columns)
            vectors = (4 << 12 | mask & 4095, 4 << 12 | mask >> 12 & 4095, 5 << 12 | mask >> 24)
            words += [3 << 12 | p << 11 | x, *vectors]
        first = last
    head = f"% evt 3.0\n% geometry {SENSOR[1]}x{SENSOR[0]}\n% end\n"
    return head.encode() + b"".join(struct.pack("<H", word) for word in words)


DV = """<dv version="2.0"><node name="outInfo" path="/mainloop/Recorder/outInfo/">{}</node></dv>"""
STREAM = """<node name="{}"><attr key="compression" type="string">LZ4</attr><attr key="typeIdentifier" type="string">{}
</attr><node name="info"><attr key="sizeX" type="int">{}</attr><attr key="sizeY" type="int">{}</attr></node></node>"""


def aedat4(events: Events, compression: int = 1, with_others: bool = True) -> bytes:
    """Packets of events, and after the first one a frame and two samples of the IMU."""
    rows, packet = [*zip(events.t, events.x, events.y, events.p, strict=True)], 1000
    packed = [struct.pack("<qhh?3x", *row) for row in rows]
    packets = [
        (0, _flat_vector(b"EVTS", len(part), b"".join(part)))
        for part in (packed[first : first + packet] for first in range(0, len(packed), packet))
    ]
    if with_others:
        packets[1:1] = [(1, _flat_vector(b"FRME", 5, b"frame")), (2, _flat_vector(b"IMUS", 2, b"a" * 104))]
    streams = zip(range(3), ("EVTS", "FRME", "IMUS"), strict=True)
    text = DV.format("".join(STREAM.format(number, kind, SENSOR[1], SENSOR[0]) for number, kind in streams))
    text = text.replace("\n", "")
    # Offset of the table, identifier, table of offsets, table: offsets, compression, end of the packets, text.
    vtable = struct.pack("<HHHHHxx", 10, 24, 4, 8, 16)
    table = struct.pack("<iiqIxxxx", len(vtable), compression, -1, 8)
    content = struct.pack("<I4s", 8 + len(vtable), b"IOHE") + vtable + table
    content += struct.pack("<I", len(text)) + text.encode() + b"\0"
    head = b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(content)) + content
    codec = {0: None, 1: "lz4", 3: "zstd"}[compression]
    parts = [head]
    for stream, flat in packets:
        sink = pa.BufferOutputStream()
        if codec is None:
            sink.write(flat)
        else:
            with pa.CompressedOutputStream(sink, codec) as compressed:
                compressed.write(flat)
        body = sink.getvalue().to_pybytes()
        parts.append(struct.pack("<II", stream, len(body)) + body)
    return b"".join(parts)


def _flat_vector(identifier: bytes, count: int, elements: bytes) -> bytes:
    """Return a FlatBuffer, with its length in front, of a table whose only field is a vector."""
    vtable = struct.pack("<HHHxx", 6, 8, 4)
    content = struct.pack("<I4s", 8 + len(vtable), identifier) + vtable + struct.pack("<iII", len(vtable), 4, count)
    return struct.pack("<I", len(content) + len(elements)) + content + elements


def ecf(events: Events) -> bytes:
    """Write a chunk in one of the three ways to write columns, rows and polarities, by the number of events."""
    rows = [*zip(events.x, events.y, events.t, events.p, strict=True)]
    style = len(rows) % 3
    out = struct.pack("<Iq", len(rows) << 2 | {0: 2, 1: 1, 2: 0}[style], events.t[0])
    time = events.t[0]
    for t, run in _runs(events.t):
        step = t - time
        time = t
        if step >= 15:
            while step:
                out += bytes([0xF0 | step & 15])
                step >>= 4
        out += bytes([step << 4 | min(run, 15)]) + (struct.pack("<H", run) if run >= 15 else b"")
    if style == 0:
        values = [y << 12 | x << 1 | p for x, y, _, p in rows]
        return out + _packed(values, 24)
    for y, run in _runs(events.y):
        out += struct.pack("<H", y << 5 | min(run, 31)) + (struct.pack("<H", run) if run >= 31 else b"")
    if style == 1:
        return out + _packed([x << 1 | p for x, _, _, p in rows], 12)
    first = 0
    while first < len(rows):
        x, word = rows[first][0], rows[first][0] << 5
        first += 1
        for step in range(1, 6):
            if first < len(rows) and rows[first][0] == x + step:
                word |= 1 << (5 - step)
                first += 1
        out += struct.pack("<H", word)
    for p, run in _runs(events.p):
        out += bytes([p << 7 | min(run, 127)]) + (struct.pack("<H", run) if run >= 127 else b"")
    return out


def _runs(values: Sequence[int]) -> list[tuple[int, int]]:
    return [(value, len([*group])) for value, group in groupby(values)]


def _packed(values: list[int], bits: int) -> bytes:
    """Three words hold four values: the first three shared out over the ends of the words, the fourth in the last."""
    low, out = bits // 3, b""
    for first in range(0, len(values), 4):
        a, b, c, d = [*values[first : first + 4], 0, 0, 0][:4]
        words = (
            a << low | b % 2**low,
            (b >> low) << 2 * low | c % 2 ** (2 * low),
            (c >> 2 * low) << 3 * low | d,
        )
        out += struct.pack("<3H" if bits == 12 else "<3I", *words)
    return out


CD_EVENT = np.dtype({"names": ["x", "y", "p", "t"], "formats": ["<u2", "<u2", "<i2", "<i8"], "offsets": [0, 2, 4, 8]})


def hdf5(events: Events, **options: object) -> bytes:
    """Write as Prophesee's programs do; options of h5py's create_dataset instead of ECF."""
    rows, chunk = np.zeros(len(events), CD_EVENT), 1024
    for name in CD_EVENT.names or ():
        rows[name] = getattr(events, name)
    file = BytesIO()
    with h5py.File(file, "w") as opened:
        opened.attrs["geometry"] = f"{SENSOR[1]}x{SENSOR[0]}"
        opened["EXT_TRIGGER/events"] = np.zeros(3, [("p", "<i2"), ("t", "<i8"), ("id", "<i2")])
        if options:
            opened.create_dataset("CD/events", data=rows, **options)
            return _closed(opened, file)
        # h5py does not know the filter, and so can neither set it nor write through it.
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((chunk,))
        creation.set_filter(0x8ECF, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((len(events),), (h5py.h5s.UNLIMITED,))
        links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
        links.set_create_intermediate_group(True)
        dataset = h5py.h5d.create(opened.id, b"CD/events", h5py.h5t.py_create(CD_EVENT), space, creation, links)
        for first in range(0, len(events), chunk):
            part = slice(first, first + chunk)
            dataset.write_direct_chunk(
                (first,), ecf(Events(events.x[part], events.y[part], events.t[part], events.p[part]))
            )
        return _closed(opened, file)


def _closed(opened: h5py.File, file: BytesIO) -> bytes:
    opened.close()
    return file.getvalue()


WRITERS: dict[str, Callable[[Events], bytes]] = {
    "npy": npy,
    "npz": npz,
    "csv": csv,
    "bin": atis,
    "dvs128.aedat": dvs128,
    "davis240.aedat": davis240,
    "davis346.aedat": davis346,
    "aedat4": aedat4,
    "dat": dat,
    "evt2.raw": evt2,
    "evt3.raw": evt3,
    "hdf5": hdf5,
}
"""By suffix, before which may stand the format or camera."""
