"""Read AEDAT-2.0 recordings of a DVS128, DAVIS240 or DAVIS346 as blocks of events.

jAER counts columns from the right and rows from the bottom. A DAVIS also records frames and the samples of an inertial
measurement unit (IMU), which lie between its events (jAER, DavisChip.java).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np

from sltune.errors import DataError
from sltune.events.formats.aedat import (
    CLOCK_BITS,
    EVENT,
    SENSOR_SIZE,
    SPECIAL_BIT,
    chip_of,
    find_events,
    refuse_other_sensors,
)
from sltune.events.formats.blocks import Block, Clock, EventFile, records
from sltune.events.formats.members import Member

LAST = SENSOR_SIZE - 1
# (height, width) by the name of the chip in the header.
DAVIS_SENSORS = {"davis240": (180, 240), "davis346": (260, 346)}
# The layout of a DAVIS' address: bit 31 is 0 for events of pixels, 1 for frames and the IMU.
NO_EVENT_BIT, TRIGGER_BIT, ON_BIT, IMU_BITS = 1 << 31, 1 << 10, 1 << 11, 3 << 10
# An IMU sample is seven words, numbered in bits 28 to 30.
IMU_NUMBER = 7 << 28


def open_aedat2(member: Member) -> EventFile:
    """Return the recording in an AEDAT-2.0 file.

    Raises:
        DataError: the header is damaged, or names another version or camera.
    """
    header, start = find_events(member)
    chip = chip_of(header)
    if not re.search("davis|cochlea", chip, re.IGNORECASE):
        return _open_dvs128(member, start)
    name = re.match(r"davis_?(240|346)(?!\w*mini)", chip.rpartition(".")[2], re.IGNORECASE)
    if name is None:
        raise DataError(f"{member}: recorded by {chip}; DVS128, DAVIS240 and DAVIS346 are supported")
    return _open_davis(member, start, DAVIS_SENSORS[f"davis{name[1]}"])


def _open_dvs128(member: Member, start: int) -> EventFile:
    def read(left_out: Counter[str]) -> Iterator[Block]:
        clock, first = Clock(CLOCK_BITS), 0
        for events in records(member, EVENT, start):
            refuse_other_sensors(member, events.view(">u2").reshape(-1, 4), start, first)
            first += len(events)
            address = events["address"].astype(np.uint16)
            is_pixel = address & SPECIAL_BIT == 0
            x = (LAST - (address >> 1 & 0x7F)).astype(np.uint16)
            y = (LAST - (address >> 8 & 0x7F)).astype(np.uint16)
            block = Block(x, y, clock.unwrap(events["time_us"]), address & 1 == 0).only(is_pixel)
            if len(block) < len(events):
                left_out["triggers"] += len(events) - len(block)
            yield block

    return EventFile(member, (SENSOR_SIZE, SENSOR_SIZE), read)


def _open_davis(member: Member, start: int, sensor: tuple[int, int]) -> EventFile:
    height, width = sensor

    def read(left_out: Counter[str]) -> Iterator[Block]:
        clock = Clock(CLOCK_BITS)
        for words in records(member, EVENT, start):
            address = words["address"].astype(np.uint32)
            is_event = address & NO_EVENT_BIT == 0
            # Bits 10 and 11 together say IMU, or ON for an event; a trigger has bit 10 alone.
            is_pixel = is_event & (address & IMU_BITS != TRIGGER_BIT)
            is_imu = ~is_event & (address & IMU_BITS == IMU_BITS)
            counts = {
                "triggers": is_event & ~is_pixel,
                "IMU samples": is_imu & (address & IMU_NUMBER == 0),
                "pixels of frames": ~is_event & ~is_imu,
            }
            left_out.update({name: n for name, chosen in counts.items() if (n := int(np.count_nonzero(chosen)))})
            address, times = address[is_pixel], clock.unwrap(words["time_us"][is_pixel])
            # What lies outside of the sensor wraps round and stays outside.
            x = (width - 1 - (address >> 12 & 0x3FF)).astype(np.uint16)
            y = (height - 1 - (address >> 22 & 0x1FF)).astype(np.uint16)
            yield Block(x, y, times, address & ON_BIT != 0)

    return EventFile(member, sensor, read)
