"""SL-Animals-DVS: cut recordings into labelled samples by their tag files, and check everything that may be wrong.

Tags count all events of a file, so no event may be dropped before the recording is cut.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from sltune.errors import DataError
from sltune.events.formats.aedat import SENSOR_SIZE, SPECIAL_BIT, WRAP_US, Recording, read_aedat, read_header
from sltune.events.formats.members import Member
from sltune.events.orientation import SLANIMALS
from sltune.events.plausible import DurationLimits, check_duration, check_times
from sltune.events.source import Finding, Source, SourceFile
from sltune.events.sources.slanimals.full_set import check_durations, check_recordings
from sltune.events.sources.slanimals.pairs import NAME, SESSIONS, Pair, find_pairs, sha256_of_pair
from sltune.events.sources.slanimals.tags import (
    GESTURES,
    Tag,
    check_tags,
    first_usable,
    lost_row,
    read_tags,
    recording_name,
    sample_name,
)
from sltune.events.store import Sample

# The quietest session has 12,000 events a second and the shortest sample lasts 0.88 s.
MIN_SAMPLE_EVENTS = 1000
# The published samples last from 0.88 to 9.5 s. Half a second leaves room for quicker signers and tighter tags; a
# clock that was reset during a sign gives anything up to 71 minutes.
SIGN = DurationLimits(500_000, 30_000_000, "a sign takes about 4 s")
# 19 signs and the pauses between them take one to three minutes. A camera may have been left on, but not for an hour.
MAX_RECORDING_US = 3_600_000_000
ENDLESS = "lasts longer than 2³² µs (71 minutes); the times of the recording are damaged or not in µs"


def open_slanimals(place: Path) -> Source:
    """Return the source for a folder or zip archive with recordings and tag files, in subfolders of any names.

    Raises:
        DataError: as ``find_pairs``.
    """
    pairs, findings = find_pairs(place)
    synthetic = any(_is_synthetic(pair.recording) for pair in pairs)
    return Source(
        name=SLANIMALS,
        synthetic=synthetic,
        sensor=(SENSOR_SIZE, SENSOR_SIZE),
        classes=GESTURES,
        files=tuple(map(_source_file, pairs)),
        findings=(*findings, *check_recordings(str(place), [pair.name for pair in pairs])),
        check=None if synthetic else partial(check_durations, str(place)),
        # Stored with the address bits of the DVS128. According to jAER, x from the left is 127 − column and y from the
        # bottom is row, while the lines of a picture are counted from the top.
        orientation="upside-down",
    )


def load_recording(file: Path | Member, tag_file: Path | Member) -> tuple[list[Sample], list[Finding]]:
    """Read one recording and its tags; return the samples and everything that is wrong or odd in them.

    Raises:
        DataError: the recording or the tag file cannot be read at all.
    """
    name = NAME.fullmatch(recording_name(Member.of(file)))
    assert name is not None, "find_pairs checked the names"
    recording, tags_of = read_aedat(file), Member.of(tag_file)
    tags, findings = read_tags(tags_of)
    if recording.rest_bytes:
        text = f"truncated: {recording.rest_bytes} bytes follow the last whole event; copy the file again"
        findings.append(Finding(str(file), text, is_error=True))
    findings += check_tags(tags_of, tags, len(recording))
    usable, endless = _part_endless(recording, first_usable(tags, len(recording)))
    findings += [lost_row(tags_of, tag.row, ENDLESS) for tag in endless]
    samples = cut_recording(recording, usable, name[1], SESSIONS[name[2]])
    findings += _check_recording(recording, len(samples))
    # If a recording is too short for its signs, so is every sample; the warning about the recording is enough.
    is_long_enough = recording.duration_us >= SIGN.min_us * len(samples)
    for sample in samples:
        findings += _check_sample(f"{file} sample {sample.sample_id}", sample, is_duration_judged=is_long_enough)
    special = np.count_nonzero(recording.address & SPECIAL_BIT)
    if special:
        findings.append(Finding(str(file), f"{special} special events are counted by the tags and then dropped"))
    lost = {name for finding in findings for name in finding.lost}
    return [sample for sample in samples if sample.sample_id not in lost], findings


def cut_recording(recording: Recording, tags: Iterable[Tag], subject: str, session: str) -> list[Sample]:
    """Cut a recording into samples by usable tags; special events are dropped after the cut."""
    samples = []
    for tag in tags:
        part = slice(tag.start, tag.end)
        address, time_us = recording.address[part], recording.time_us[part]
        special = address & SPECIAL_BIT != 0
        if special.any():
            address, time_us = address[~special], time_us[~special]
        start_us = int(time_us.min()) if len(time_us) else 0
        samples.append(
            Sample(
                sample_id=sample_name(recording.member, tag.row),
                recording=recording_name(recording.member),
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


def _part_endless(recording: Recording, tags: list[Tag]) -> tuple[list[Tag], list[Tag]]:
    """Return the tags whose samples' times fit into 32 bits, and the others."""
    endless = [tag for tag in tags if np.ptp(recording.time_us[tag.start : tag.end]) >= WRAP_US]
    return [tag for tag in tags if tag not in endless], endless


def _check_recording(recording: Recording, signs: int) -> list[Finding]:
    """Return what is odd in a recording of so many signs as a whole."""
    limits = DurationLimits(SIGN.min_us * signs, MAX_RECORDING_US, f"{signs} signs take about {4 * signs} s")
    return check_duration(str(recording.member), recording.duration_us, len(recording), limits)


def _check_sample(place: str, sample: Sample, is_duration_judged: bool) -> list[Finding]:
    if not sample.events:
        return [Finding(place, "holds no pixel event", is_error=True, lost=(sample.sample_id,))]
    findings = []
    if sample.events < MIN_SAMPLE_EVENTS:
        findings.append(Finding(place, f"holds only {sample.events} events"))
    return findings + check_times(place, sample, SIGN if is_duration_judged else None)


def _is_synthetic(file: Member) -> bool:
    try:
        return any("synthetic:" in line for line in read_header(file))
    except DataError:
        # The import reads the file again, and reports this with everything else that is wrong.
        return False


def _source_file(pair: Pair) -> SourceFile:
    return SourceFile(
        name=pair.name,
        size=pair.recording.size,
        sha256=partial(sha256_of_pair, pair),
        load=partial(load_recording, pair.recording, pair.tag_file),
    )
