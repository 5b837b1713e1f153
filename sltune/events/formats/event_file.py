"""Open a recording of any format as blocks of events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sltune.errors import DataError
from sltune.events.formats.aedat4 import FIRST_LINE as AEDAT4_FIRST_LINE
from sltune.events.formats.aedat4 import open_aedat4
from sltune.events.formats.arrays import open_npy, open_npz
from sltune.events.formats.blocks import Block, EventFile
from sltune.events.formats.columns import UNITS_US
from sltune.events.formats.davis import open_aedat2
from sltune.events.formats.hdf5 import open_hdf5
from sltune.events.formats.members import Member
from sltune.events.formats.prophesee import open_atis, open_dat, open_raw
from sltune.events.formats.text import open_csv

__all__ = ["Block", "EventFile", "is_event_file", "needs_time_unit", "open_event_file"]


@dataclass(frozen=True)
class Format:
    """What opens the files of a suffix: with their unit of time, where the format does not define it."""

    with_clock: Callable[[Member], EventFile] | None = None
    without_clock: Callable[[Member, str], EventFile] | None = None


def open_aedat(member: Member) -> EventFile:
    """Return the recording in a file of iniVation's or jAER's, whose first line names its version."""
    is_newest = member.content(len(AEDAT4_FIRST_LINE)) == AEDAT4_FIRST_LINE
    return (open_aedat4 if is_newest else open_aedat2)(member)


FORMATS = {
    ".aedat": Format(open_aedat),
    ".aedat4": Format(open_aedat4),
    ".dat": Format(open_dat),
    ".raw": Format(open_raw),
    ".hdf5": Format(open_hdf5),
    ".h5": Format(open_hdf5),
    ".npy": Format(without_clock=open_npy),
    ".npz": Format(without_clock=open_npz),
    ".csv": Format(without_clock=open_csv),
    ".bin": Format(open_atis),
}
"""By suffix, in lower case."""


def is_event_file(path: Path) -> bool:
    """Say by its suffix whether a file may be a recording; it may be gzipped."""
    return Member(path).suffix in FORMATS


def needs_time_unit(file: Path | Member) -> bool:
    """Say by its suffix whether a file's format leaves open in which unit its times are."""
    found = FORMATS.get(Member.of(file).suffix)
    return found is not None and found.without_clock is not None


def open_event_file(file: Path | Member, time_unit: str | None = None) -> EventFile:
    """Read the header of a recording, plain, gzipped or in a zip archive.

    Args:
        time_unit: s, ms, us or ns, for formats that do not define it.

    Raises:
        DataError: the format is unknown, the header is damaged, or the unit is missing, unknown or not for this format.
    """
    member = Member.of(file)
    found = FORMATS.get(member.suffix)
    if found is None:
        raise DataError(f"{member}: is of no known format; recordings end in {', '.join(FORMATS)}, and .gz after it")
    if found.with_clock is not None:
        if time_unit is not None:
            raise DataError(f"{member}: its format defines the unit of times; leave out the unit {time_unit!r}")
        return found.with_clock(member)
    assert found.without_clock is not None
    if time_unit not in UNITS_US:
        what = "does not say in which unit its times are" if time_unit is None else f"has no unit {time_unit!r}"
        raise DataError(f"{member}: {what}; give --time-unit {', '.join(UNITS_US)}")
    return found.without_clock(member, time_unit)
