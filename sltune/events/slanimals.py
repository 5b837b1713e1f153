"""SL-Animals-DVS folders: recordings and tag files into labelled samples, with every hazard checked.

Tags are indices into the whole, unfiltered event sequence of the file, 0-based and half-open, so nothing
may be dropped before the cut. The label comes from the ``class`` column, not from the row's position.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sltune.errors import DataError
from sltune.events.aedat import SENSOR_SIZE, SPECIAL_BIT, WRAP_US, Recording, read_aedat, read_header
from sltune.events.source import Finding, Source, SourceFile
from sltune.events.store import Sample, file_sha256

GESTURES = (
    *("cat", "dog", "camel", "cow", "sheep", "goat", "wolf", "squirrel", "mouse", "dolphin"),
    *("shark", "lion", "monkey", "snake", "spider", "butterfly", "bird", "duck", "zebra"),
)
SESSIONS = {"imse": "S1", "dc": "S2", "indoor": "S3", "sunlight": "S4"}
NAME = re.compile(r"(user\d+)_(" + "|".join(SESSIONS) + ")")
TAG_COLUMNS = ("class", "startTime_ev", "endTime_ev")
# The quietest session has 12,000 events a second and the shortest sample lasts 0.88 s.
FEW_EVENTS = 1000
ENDLESS = "lasts longer than 2³² µs (71 minutes); the times of the recording are damaged"


@dataclass(frozen=True)
class Tag:
    """One row of a tag file; row counts from 1, start and end are event indices."""

    row: int
    label: int
    start: int
    end: int


def open_slanimals(folder: Path) -> Source:
    """Return the source for a folder that holds ``recordings/*.aedat`` and ``tags/*.csv``.

    Raises:
        DataError: a folder is missing or empty, a recording has no tags or a name that tells no signer and session.
    """
    parts = [folder / "recordings", folder / "tags"]
    for part in parts:
        if not part.is_dir():
            raise DataError(f"{part}: no such folder; SL-Animals-DVS has the folders recordings and tags side by side")
    recordings = sorted(parts[0].glob("*.aedat"))
    if not recordings:
        raise DataError(f"{parts[0]}: holds no .aedat file")
    tags = {file.stem: file for file in sorted(parts[1].glob("*.csv"))}
    problems = [
        *(f"{file}: no tag file {parts[1] / file.stem}.csv" for file in recordings if file.stem not in tags),
        *(f"{file}: name is not userNN_SESSION with SESSION one of {', '.join(SESSIONS)}"
          for file in recordings if not NAME.fullmatch(file.stem)),
    ]  # fmt: skip
    if problems:
        raise DataError("\n".join(problems))
    orphans = sorted(set(tags) - {file.stem for file in recordings})
    findings = tuple(Finding(str(tags[name]), "has no recording and is left out") for name in orphans)
    return Source(
        name="SL-Animals-DVS",
        synthetic=any(map(_is_synthetic, recordings)),
        sensor=(SENSOR_SIZE, SENSOR_SIZE),
        classes=GESTURES,
        files=tuple(_source_file(file, tags[file.stem]) for file in recordings),
        findings=findings,
    )


def read_tags(file: Path) -> tuple[list[Tag], list[Finding]]:
    """Read a tag file; rows that make no sense are left out and reported.

    Raises:
        DataError: the file cannot be read or lacks a column.
    """
    try:
        with open(file, newline="", encoding="utf-8-sig") as handle:
            table = csv.DictReader(handle, skipinitialspace=True)
            columns = [name.strip() for name in table.fieldnames or ()]
            table.fieldnames = columns
            rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read as a tag file: {error}") from error
    for column in TAG_COLUMNS:
        if column not in columns:
            raise DataError(f"{file}: has no column {column!r}, only {', '.join(columns) or 'nothing'}")
    tags, findings = list[Tag](), list[Finding]()
    for row, values in enumerate(rows, start=1):
        try:
            label, start, end = (int(values[column] or "") for column in TAG_COLUMNS)
        except ValueError:
            shown = ", ".join(f"{column}={values[column]!r}" for column in TAG_COLUMNS)
            findings.append(Finding(f"{file} row {row}", f"{shown}: three whole numbers are expected", is_error=True))
            continue
        tags.append(Tag(row, label - 1, start, end))
    return tags, findings


def check_tags(file: Path, tags: Sequence[Tag], events: int) -> list[Finding]:
    """Return what is wrong with a recording's tags as a whole."""
    return [*_check_classes(file, tags), *_check_ranges(file, tags, events), *_check_overlaps(file, tags)]


def cut_recording(recording: Recording, tags: Iterable[Tag], subject: str, session: str) -> list[Sample]:
    """Cut a recording into samples along valid tags; special events are dropped after the cut."""
    samples = []
    for tag in tags:
        part = slice(tag.start, tag.end)
        pixels = recording.address[part] & SPECIAL_BIT == 0
        address, time_us = recording.address[part][pixels], recording.time_us[part][pixels]
        start_us = int(time_us.min()) if len(time_us) else 0
        samples.append(
            Sample(
                sample_id=f"{recording.path.stem}_{tag.row:02d}",
                recording=recording.path.stem,
                subject=subject,
                session=session,
                label=tag.label,
                gesture=GESTURES[tag.label],
                start_us=start_us,
                address=address,
                time_us=(time_us - np.uint64(start_us)).astype(np.uint32),
            )
        )
    return samples


def load_recording(file: Path, tag_file: Path) -> tuple[list[Sample], list[Finding]]:
    """Read one recording and its tags into samples and everything found wrong or odd in them."""
    name = NAME.fullmatch(file.stem)
    assert name is not None, "open_slanimals checked the names"
    recording = read_aedat(file)
    tags, findings = read_tags(tag_file)
    findings += check_tags(tag_file, tags, len(recording))
    usable, endless = _usable(tags, recording)
    findings += [Finding(f"{tag_file} row {tag.row}", ENDLESS, is_error=True) for tag in endless]
    samples = cut_recording(recording, usable, name[1], SESSIONS[name[2]])
    for sample in samples:
        place = f"{file} sample {sample.sample_id}"
        if not len(sample.address):
            findings.append(Finding(place, "holds no pixel event", is_error=True))
            continue
        if len(sample.address) < FEW_EVENTS:
            findings.append(Finding(place, f"holds only {len(sample.address)} events"))
        if sample.backward_steps:
            findings.append(Finding(place, f"time goes backwards {sample.backward_steps} times; sorted when read"))
    special = np.count_nonzero(recording.address & SPECIAL_BIT)
    if special:
        findings.append(Finding(str(file), f"{special} special events are counted by the tags and then dropped"))
    return [sample for sample in samples if len(sample.address)], findings


def _is_synthetic(file: Path) -> bool:
    try:
        return any("synthetic:" in line for line in read_header(file))
    except DataError:
        # The import reports it together with everything else that is wrong.
        return False


def _source_file(file: Path, tag_file: Path) -> SourceFile:
    return SourceFile(
        name=file.stem,
        sha256=lambda: file_sha256(file, tag_file),
        load=lambda: load_recording(file, tag_file),
    )


def _usable(tags: Sequence[Tag], recording: Recording) -> tuple[list[Tag], list[Tag]]:
    """Return the first valid tag of each class in the order of rows, and apart those too long for 32-bit times."""
    valid = [tag for tag in tags if 0 <= tag.label < len(GESTURES) and 0 <= tag.start < tag.end <= len(recording)]
    first_of_class = sorted({tag.label: tag for tag in reversed(valid)}.values(), key=lambda tag: tag.row)
    endless = [tag for tag in first_of_class if np.ptp(recording.time_us[tag.start : tag.end]) >= WRAP_US]
    return [tag for tag in first_of_class if tag not in endless], endless


def _check_classes(file: Path, tags: Sequence[Tag]) -> list[Finding]:
    count = Counter(tag.label for tag in tags)
    findings = [
        Finding(f"{file} row {tag.row}", f"class={tag.label + 1}: only 1…{len(GESTURES)} exist", is_error=True)
        for tag in tags
        if not 0 <= tag.label < len(GESTURES)
    ]
    for label, gesture in enumerate(GESTURES):
        if count[label] == 0:
            findings.append(Finding(str(file), f"class {label + 1} ({gesture}) is missing", is_error=True))
        elif count[label] > 1:
            rows = ", ".join(str(tag.row) for tag in tags if tag.label == label)
            findings.append(Finding(f"{file} rows {rows}", f"class {label + 1} ({gesture}) is repeated", is_error=True))
    return findings


def _check_ranges(file: Path, tags: Sequence[Tag], events: int) -> list[Finding]:
    findings = []
    for tag in tags:
        shown = f"startTime_ev={tag.start}, endTime_ev={tag.end}"
        if tag.start < 0 or tag.end > events:
            text = f"{shown}: out of range, the recording has {events} events"
        elif tag.start >= tag.end:
            text = f"{shown}: start must lie before end"
        else:
            continue
        findings.append(Finding(f"{file} row {tag.row}", text, is_error=True))
    return findings


def _check_overlaps(file: Path, tags: Sequence[Tag]) -> list[Finding]:
    findings, longest = list[Finding](), None
    for tag in sorted(tags, key=lambda tag: tag.start):
        if longest and tag.start < longest.end:
            text = f"startTime_ev={tag.start} overlaps row {longest.row}, ending {longest.end}"
            findings.append(Finding(f"{file} row {tag.row}", text))
        if longest is None or tag.end > longest.end:
            longest = tag
    return findings
