"""Writes the same events in every format, value by value from the formats' descriptions, without sltune's own code."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

SENSOR = (200, 220)
"""Height and width in pixels; an event needs a byte each for column and row in the format of the ATIS."""
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
    """Return events whose times rise from 0 by up to ``step_us`` each, now and then by nothing."""
    t = np.cumsum(rng.integers(0, step_us + 1, count))
    height, width = SENSOR
    columns = rng.integers(width, size=count), rng.integers(height, size=count), t - t[0]
    return Events(*(column.tolist() for column in columns), (rng.random(count) < 0.5).tolist())


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


WRITERS: dict[str, Callable[[Events], bytes]] = {
    "npy": npy,
    "npz": npz,
    "csv": csv,
    "bin": atis,
}
"""By suffix."""
