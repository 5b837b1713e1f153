"""Read recordings of Prophesee's cameras and of the ATIS, their forerunner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from sltune.events.formats.blocks import Block, Clock, EventFile, records
from sltune.events.formats.members import Member

# Five bytes: column, row, then 24 bits, high byte first: polarity (1 = ON) and 23 bits of the time in µs.
ATIS_EVENT = np.dtype([("x", "u1"), ("y", "u1"), ("high", "u1"), ("low", ">u2")])
ATIS_CLOCK_BITS = 23
# An event below the last row of the sensor, 239, says that the clock moves on.
OVERFLOW_ROW, OVERFLOW_US = 240, 1 << 13


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
