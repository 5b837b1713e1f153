"""Writes events in every format that benchmarks/formats.py compares, fast; in tests/ are writers for being read."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numba
import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from sltune.events.formats.aedat import SPECIAL_BIT, read_aedat

SIDE = 128
CHUNK = 16384
CD_EVENT = np.dtype({"names": ["x", "y", "p", "t"], "formats": ["<u2", "<u2", "<i2", "<i8"], "offsets": [0, 2, 4, 8]})
SIZES = "".join(f'<attr key="size{axis}" type="int">{SIDE}</attr>' for axis in "XY")
STREAM = f'<attr key="typeIdentifier" type="string">EVTS</attr><node name="info">{SIZES}</node>'
DV = f'<dv version="2.0"><node name="outInfo"><node name="0">{STREAM}</node></node></dv>'


@dataclass(frozen=True)
class Events:
    """Column, row from the top, time in µs from 0, and 1 for ON; each of shape (events,)."""

    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    t: NDArray[np.int64]
    p: NDArray[np.uint8]


def first_events(file: Path, most: int) -> Events:
    """Return the first pixel events of a recording of a DVS128."""
    recording = read_aedat(file)
    chosen = np.flatnonzero(recording.address & SPECIAL_BIT == 0)[:most]
    address, times = recording.address[chosen], recording.time_us[chosen].astype(np.int64)
    x, y = (SIDE - 1 - (address >> shift & 127) for shift in (1, 8))
    return Events(x.astype(np.uint16), y.astype(np.uint16), times - times[0], (1 - (address & 1)).astype(np.uint8))


def structured(events: Events, **columns: str) -> NDArray[Any]:
    """Return an array whose fields have these types, in the order of the columns."""
    array = np.empty(len(events.x), [*columns.items()])
    for name in columns:
        array[name] = getattr(events, name)
    return array


def npy(file: Path, events: Events) -> None:
    np.save(file, structured(events, t="<i8", x="<u2", y="<u2", p="u1"))


def csv(file: Path, events: Events) -> None:
    table = pa.table({name: getattr(events, name) for name in ("t", "x", "y", "p")})
    pyarrow.csv.write_csv(table, file, pyarrow.csv.WriteOptions(quoting_style="none"))


def atis(file: Path, events: Events) -> None:
    rows = np.empty(len(events.x), [("x", "u1"), ("y", "u1"), ("high", "u1"), ("low", ">u2")])
    rows["x"], rows["y"], rows["low"] = events.x, events.y, events.t & 0xFFFF
    rows["high"] = events.p << 7 | (events.t >> 16 & 0x7F).astype(np.uint8)
    rows.tofile(file)


def aedat2(file: Path, chip: str, address: NDArray[Any], times: NDArray[np.int64]) -> None:
    words = np.stack([address, times], axis=1).astype(">u4")
    file.write_bytes(f"#!AER-DAT2.0\r\n# AEChip: {chip}\r\n#End Of ASCII Header\r\n".encode() + words.tobytes())


def dvs128(file: Path, events: Events) -> None:
    address = (SIDE - 1 - events.y) << 8 | (SIDE - 1 - events.x) << 1 | (1 - events.p)
    aedat2(file, "DVS128", address, events.t)


def davis346(file: Path, events: Events) -> None:
    x, y = 345 - events.x.astype(np.uint32), 259 - events.y.astype(np.uint32)
    aedat2(file, "Davis346blue", y << 22 | x << 12 | events.p.astype(np.uint32) << 11, events.t)


def dat(file: Path, events: Events) -> None:
    address = events.p.astype(np.uint32) << 28 | events.y.astype(np.uint32) << 14 | events.x
    words = np.stack([events.t.astype("<u4"), address.astype("<u4")], axis=1)
    file.write_bytes(f"% Version 2\n% Height {SIDE}\n% Width {SIDE}\n% end\n".encode() + b"\x0c\x08" + words.tobytes())


def evt2(file: Path, events: Events) -> None:
    high, low = (events.t >> 6).astype(np.uint32), (events.t & 63).astype(np.uint32)
    words = events.p.astype(np.uint32) << 28 | low << 22 | events.x.astype(np.uint32) << 11 | events.y
    is_new = np.diff(high, prepend=np.uint32(0xFFFFFFFF)) != 0
    words = np.insert(words, np.flatnonzero(is_new), 8 << 28 | high[is_new])
    file.write_bytes(f"% evt 2.0\n% format EVT2;height={SIDE};width={SIDE}\n% end\n".encode() + words.tobytes())


def evt3(file: Path, events: Events) -> None:
    """Write words for time and row where these change; the synthetic events have no neighbours for vectors."""
    high, low = events.t >> 12, events.t & 4095
    candidates = np.stack([8 << 12 | high & 4095, 6 << 12 | low, events.y, 2 << 12 | events.p.astype(np.int64) << 11])
    candidates[3] |= events.x
    changed = np.ones(candidates.shape, np.bool_)
    changed[0] = np.diff(high, prepend=-1) != 0
    changed[1] = changed[0] | (np.diff(low, prepend=-1) != 0)
    changed[2] = np.diff(events.y.astype(np.int64), prepend=-1) != 0
    words = candidates.T[changed.T].astype("<u2")
    file.write_bytes(f"% evt 3.0\n% format EVT3;height={SIDE};width={SIDE}\n% end\n".encode() + words.tobytes())


def aedat4(file: Path, events: Events) -> None:
    """Write packets of 10 ms, compressed by LZ4 as DV does."""
    kind = np.dtype({"names": [*"txyp"], "formats": ["<i8", "<i2", "<i2", "u1"], "itemsize": 16})
    rows = np.zeros(len(events.x), kind)
    for name in "txyp":
        rows[name] = getattr(events, name)
    text = DV.encode()
    header = struct.pack("<I4sHHHHHxxiiqI4xI", 20, b"IOHE", 10, 24, 4, 8, 16, 12, 1, -1, 8, len(text))
    header += text + b"\0"
    parts = [b"#!AER-DAT4.0\r\n", struct.pack("<I", len(header)), header]
    edges = np.searchsorted(events.t, np.arange(0, events.t[-1] + 10_000, 10_000))
    for packet in filter(len, np.split(rows, edges[1:])):
        flat = struct.pack("<I4sHHHxxiII", 16, b"EVTS", 6, 8, 4, 8, 4, len(packet)) + packet.tobytes()
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "lz4") as compressed:
            compressed.write(struct.pack("<I", len(flat)) + flat)
        body = sink.getvalue().to_pybytes()
        parts += [struct.pack("<II", 0, len(body)), body]
    file.write_bytes(b"".join(parts))


def gzip_h5(file: Path, events: Events) -> None:
    with h5py.File(file, "w") as opened:
        opened.attrs["geometry"] = f"{SIDE}x{SIDE}"
        options = {"chunks": (CHUNK,), "compression": "gzip", "shuffle": True, "maxshape": (None,)}
        opened.create_dataset("CD/events", data=cd_events(events), **options)


def ecf_h5(file: Path, events: Events) -> None:
    with h5py.File(file, "w") as opened:
        opened.attrs["geometry"] = f"{SIDE}x{SIDE}"
        creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        creation.set_chunk((CHUNK,))
        creation.set_filter(0x8ECF, h5py.h5z.FLAG_OPTIONAL, ())
        space, kind = h5py.h5s.create_simple((len(events.x),), (h5py.h5s.UNLIMITED,)), h5py.h5t.py_create(CD_EVENT)
        dataset = h5py.h5d.create(opened.create_group("CD").id, b"events", kind, space, creation)
        buffer = np.zeros(64 * CHUNK, np.uint8)
        for first in range(0, len(events.x), CHUNK):
            part = slice(first, first + CHUNK)
            columns = (column[part].astype(np.int64) for column in (events.x, events.y, events.t, events.p))
            dataset.write_direct_chunk((first,), buffer[: encode_ecf(*columns, buffer)].tobytes())


def cd_events(events: Events) -> NDArray[Any]:
    rows = np.zeros(len(events.x), CD_EVENT)
    for name in "xypt":
        rows[name] = getattr(events, name)
    return rows


@numba.njit
def encode_ecf(x, y, t, p, out):  # type: ignore[no-untyped-def]
    """Write a chunk with columns, rows and polarities packed, as for events without neighbours; return its size."""
    at = 0
    for number, size in ((len(x) << 2 | 2, 4), (t[0], 8)):
        for place in range(size):
            out[at] = number >> (8 * place) & 255
            at += 1
    time, first = t[0], 0
    while first < len(t):
        run = 1
        while run < 14 and first + run < len(t) and t[first + run] == t[first]:
            run += 1
        step = t[first] - time
        time = t[first]
        if step >= 15:
            while step:
                out[at] = 0xF0 | step & 15
                step >>= 4
                at += 1
        out[at] = step << 4 | run
        at += 1
        first += run
    for first in range(0, len(x), 4):
        value = np.zeros(4, np.int64)
        for place in range(min(4, len(x) - first)):
            event = first + place
            value[place] = y[event] << 12 | x[event] << 1 | p[event]
        words = (
            value[0] << 8 | value[1] & 0xFF,
            value[1] >> 8 << 16 | value[2] & 0xFFFF,
            value[2] >> 16 << 24 | value[3],
        )
        for word in words:
            for place in range(4):
                out[at] = word >> (8 * place) & 255
                at += 1
    return at


WRITERS: dict[str, Callable[[Path, Events], None]] = {
    "dvs128.aedat": dvs128,
    "davis346.aedat": davis346,
    "aedat4": aedat4,
    "dat": dat,
    "evt2.raw": evt2,
    "evt3.raw": evt3,
    "ecf.h5": ecf_h5,
    "gzip.h5": gzip_h5,
    "bin": atis,
    "npy": npy,
    "csv": csv,
}
"""By suffix, before which may stand the camera or compression."""
