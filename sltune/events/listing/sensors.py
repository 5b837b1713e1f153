"""The sensor of a dataset whose files may or may not state theirs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from sltune.errors import DataError, UsageError
from sltune.events.formats.columns import UNITS_US
from sltune.events.formats.event_file import needs_time_unit, open_event_file
from sltune.events.formats.members import Member
from sltune.events.source import Finding
from sltune.settings.types import parse_size
from sltune.system.limits import usable_cpus

Sensor = tuple[int, int]
"""(height, width) in pixels."""


def parse_sensor(text: str) -> Sensor:
    """Return the (height, width) of a text such as 640x480.

    Raises:
        UsageError: it is none.
    """
    try:
        return parse_size(text.replace("×", "x"))
    except ValueError:
        raise UsageError(f"--sensor {text}: must be width and height in pixels, such as 640x480") from None


def refuse_wrong_unit(members: Sequence[Member], time_unit: str | None) -> None:
    """Make sure that the unit of times is given where a format leaves it open, and only there.

    Raises:
        UsageError: it is not.
    """
    units = ", ".join(UNITS_US)
    if time_unit is not None and time_unit not in UNITS_US:
        raise UsageError(f"--time-unit {time_unit}: must be one of {units}")
    open_ones = [member for member in members if needs_time_unit(member)]
    if time_unit is None and open_ones:
        text = f"{len(open_ones)} files, such as {open_ones[0]}, do not say in which unit their times are"
        raise UsageError(f"{text}; give --time-unit, one of {units}")
    if time_unit is not None and not open_ones:
        raise UsageError(f"--time-unit {time_unit}: the formats of all files define their unit; leave it out")


def find_sensor(
    members: Sequence[Member], wanted: str | None, time_unit: str | None, place: str
) -> tuple[Sensor, list[Finding]]:
    """Return the sensor of files: that of --sensor, or of their headers, or else the smallest that holds all events.

    Args:
        wanted: the value of --sensor. place: the source, for findings.

    Raises:
        UsageError: --sensor is no sensor.
        DataError: headers contradict each other or --sensor; names files. Or no file can be read.
    """
    stated: dict[Sensor, Member] = {}
    silent = list[Member]()
    for member in members:
        sensor = _stated(member, time_unit)
        if sensor is None:
            silent.append(member)
        else:
            stated.setdefault(sensor, member)
    if wanted is not None:
        return _checked(parse_sensor(wanted), stated, place)
    if len(stated) > 1:
        (first, member), (second, other) = list(stated.items())[:2]
        largest = max(height for height, _ in stated), max(width for _, width in stated)
        text = f"{member} has a sensor of {_shown(first)} pixels, {other} of {_shown(second)}"
        hint = f"import them apart, or give --sensor {_shown(largest)}, into which all fit"
        raise DataError(f"{place}: {text}; a dataset has one sensor: {hint}")
    if stated:
        return next(iter(stated)), []
    sensor = _smallest(silent, time_unit)
    text = f"no file states its sensor; {_shown(sensor)} pixels hold all events; give --sensor WxH if it has more"
    return sensor, [Finding(place, text)]


def _checked(sensor: Sensor, stated: Mapping[Sensor, Member], place: str) -> tuple[Sensor, list[Finding]]:
    for other, member in stated.items():
        if other[0] > sensor[0] or other[1] > sensor[1]:
            raise DataError(f"{member}: has a sensor of {_shown(other)} pixels, more than --sensor {_shown(sensor)}")
    smaller = [other for other in stated if other != sensor]
    return sensor, [
        Finding(str(stated[other]), f"has a sensor of {_shown(other)} pixels; taken as one of {_shown(sensor)}")
        for other in smaller
    ]


def _stated(member: Member, time_unit: str | None) -> Sensor | None:
    try:
        return open_event_file(member, _unit(member, time_unit)).sensor
    except DataError:
        # The import opens the file again, and reports the error with its samples.
        return None


def _smallest(members: Sequence[Member], time_unit: str | None) -> Sensor:
    """Return the smallest sensor that contains every event of files, which are all read.

    Raises:
        DataError: none of them can be read.
    """
    height = width = 0
    problems = list[DataError]()
    with ThreadPoolExecutor(usable_cpus()) as pool:
        for found in pool.map(lambda member: _extent(member, time_unit), members):
            if isinstance(found, DataError):
                problems.append(found)
            else:
                height, width = max(height, found[0]), max(width, found[1])
    if not height:
        raise problems[0]
    return height, width


def _extent(member: Member, time_unit: str | None) -> Sensor | DataError:
    height = width = 0
    try:
        for block in open_event_file(member, _unit(member, time_unit)).blocks():
            height, width = max(height, int(block.y.max()) + 1), max(width, int(block.x.max()) + 1)
    except DataError as error:
        # What was read before the damage counts, as its samples are imported.
        return (height, width) if height else error
    return height, width


def _unit(member: Member, time_unit: str | None) -> str | None:
    return time_unit if needs_time_unit(member) else None


def _shown(sensor: Iterable[int]) -> str:
    height, width = sensor
    return f"{width}x{height}"
