"""Tag files of SL-Animals-DVS: which events of a recording are which gesture.

Tags are indices into the whole, unfiltered event sequence of the recording, 0-based and half-open. The label
comes from the ``class`` column, not from the row's position.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sltune.errors import DataError
from sltune.events.formats.members import Member
from sltune.events.listing.cells import csv_rows, marked_utf_16, whole_number
from sltune.events.source import Finding
from sltune.wording import excerpt, first_of, suggestion

GESTURES = (
    *("cat", "dog", "camel", "cow", "sheep", "goat", "wolf", "squirrel", "mouse", "dolphin"),
    *("shark", "lion", "monkey", "snake", "spider", "butterfly", "bird", "duck", "zebra"),
)
TAG_COLUMNS = ("class", "startTime_ev", "endTime_ev")
# A tag file of 19 rows has some 300 bytes.
MAX_TAG_BYTES = 1 << 20
# A class may be repeated by mistake, but seldom 50 times.
MAX_TAG_ROWS = 1000
# Tags overlap only by mistake, so they cannot cut out many times the events of the recording.
MAX_COVER = 2
MAX_SHOWN_ROWS = 20
"""A file may repeat one class in all of its rows; the first say enough."""


@dataclass(frozen=True)
class Tag:
    """One row of a tag file; row counts from 1, start and end are event indices."""

    row: int
    label: int
    start: int
    end: int


def read_tags(file: Path | Member) -> tuple[list[Tag], list[Finding]]:
    """Read a tag file; rows without three whole numbers are left out and reported, empty rows are skipped.

    Columns are separated by commas, semicolons or tabs, and stand in any order; the case of their names is ignored.

    Raises:
        DataError: the file cannot be read, has implausibly many rows, or has a column twice or not at all.
    """
    member = Member.of(file)
    try:
        header, *rows = csv_rows(_decode(member.content(max_bytes=MAX_TAG_BYTES))) or [[]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{member}: cannot be read as a tag file: {error}") from error
    if len(rows) > MAX_TAG_ROWS:
        raise DataError(f"{member}: has {len(rows):,} rows, where {len(GESTURES)} are right and {MAX_TAG_ROWS} allowed")
    names = [name.strip().lower() for name in header]
    for column in TAG_COLUMNS:
        if (count := names.count(column.lower())) > 1:
            raise DataError(f"{member}: has {count} columns {column!r}")
        if not count:
            shown = excerpt(", ".join(name.strip() for name in header))
            near = suggestion(column, [name.strip() for name in header if name.strip() not in TAG_COLUMNS])
            raise DataError(f"{member}: has no column {column!r}, only {shown or 'nothing'}{near}")
    places = [names.index(column.lower()) for column in TAG_COLUMNS]
    tags, findings = list[Tag](), list[Finding]()
    for row, values in enumerate(rows, start=1):
        cells = [values[place] if place < len(values) else "" for place in places]
        try:
            label, start, end = map(whole_number, cells)
        except ValueError:
            pairs = zip(TAG_COLUMNS, cells, strict=True)
            shown = ", ".join(f"{column}={excerpt(repr(cell))}" for column, cell in pairs)
            findings.append(lost_row(member, row, f"{shown}: three whole numbers are expected"))
            continue
        tags.append(Tag(row, label - 1, start, end))
    return tags, findings


def _decode(content: bytes) -> str:
    """Return the text of a table in UTF-8, or in UTF-16 or Latin-1, which some spreadsheets write."""
    if (text := marked_utf_16(content)) is not None:
        return text
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def recording_name(file: Member) -> str:
    """Return the name of the recording that a file holds or tags, in lower case."""
    return file.stem.lower()


def sample_name(file: Member, row: int) -> str:
    """Return the name of the sample that a row of a tag file describes."""
    return f"{recording_name(file)}_{row:02d}"


def first_usable(tags: Sequence[Tag], events: int) -> list[Tag]:
    """Return the first tag of each class that lies within a recording of so many events, in the order of rows."""
    first: dict[int, Tag] = {}
    for tag in tags:
        if 0 <= tag.label < len(GESTURES) and 0 <= tag.start < tag.end <= events:
            first.setdefault(tag.label, tag)
    return list(first.values())


def lost_row(file: Member, row: int, text: str) -> Finding:
    """Return the error that the sample of a row is lost."""
    return Finding(f"{file} row {row}", text, is_error=True, lost=(sample_name(file, row),))


def check_tags(file: Member, tags: Sequence[Tag], events: int) -> list[Finding]:
    """Return what is wrong with the tags of a recording as a whole.

    Raises:
        DataError: together they cover many times the events of the recording.
    """
    kept = first_usable(tags, events)
    if (covered := sum(tag.end - tag.start for tag in kept)) > MAX_COVER * events:
        text = f"its rows cut out {covered:,} events of a recording of {events:,}; rows must not overlap"
        raise DataError(f"{file}: {text}")
    return [*_check_classes(file, tags, kept), *_check_ranges(file, tags, events), *_check_overlaps(file, tags)]


def _check_classes(file: Member, tags: Sequence[Tag], kept: Sequence[Tag]) -> list[Finding]:
    rows_of = defaultdict[int, list[int]](list)
    findings = []
    for tag in tags:
        rows_of[tag.label].append(tag.row)
        if not 0 <= tag.label < len(GESTURES):
            text = f"class={tag.label + 1}: only 1…{len(GESTURES)} exist"
            findings.append(lost_row(file, tag.row, text))
    for label, gesture in enumerate(GESTURES):
        rows = rows_of[label]
        if not rows:
            findings.append(Finding(str(file), f"class {label + 1} ({gesture}) is missing", is_error=True))
        elif len(rows) > 1:
            chosen = [tag.row for tag in kept if tag.label == label]
            text = f"class {label + 1} ({gesture}) is repeated"
            lost = tuple(sample_name(file, row) for row in rows if row not in chosen)
            place = f"{file} rows {', '.join(first_of(list(map(str, rows)), MAX_SHOWN_ROWS))}"
            findings.append(Finding(place, text, is_error=True, lost=lost))
    return findings


def _check_ranges(file: Member, tags: Sequence[Tag], events: int) -> list[Finding]:
    findings = []
    for tag in tags:
        shown = f"startTime_ev={tag.start}, endTime_ev={tag.end}"
        if tag.start < 0 or tag.end > events:
            findings.append(lost_row(file, tag.row, f"{shown}: out of range, the recording has {events} events"))
        elif tag.start >= tag.end:
            findings.append(lost_row(file, tag.row, f"{shown}: start must lie before end"))
    return findings


def _check_overlaps(file: Member, tags: Sequence[Tag]) -> list[Finding]:
    findings, longest = list[Finding](), None
    for tag in sorted(tags, key=lambda tag: tag.start):
        if longest and tag.start < longest.end:
            text = f"startTime_ev={tag.start} overlaps row {longest.row}, ending {longest.end}"
            findings.append(Finding(f"{file} row {tag.row}", text))
        if longest is None or tag.end > longest.end:
            longest = tag
    return findings
