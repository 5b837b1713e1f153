"""A lab's own recordings: listed in a table, or sorted into folders by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from sltune.errors import DataError
from sltune.events.formats.event_file import is_event_file
from sltune.events.formats.members import Member, find_members
from sltune.events.listing.grouping import group, say_alone
from sltune.events.listing.recordings import RECORDING, WHOLE, by_file, parts_of, source_files, with_names
from sltune.events.listing.rows import Cut, Row, class_names, read_listing
from sltune.events.listing.sensors import find_sensor, refuse_wrong_unit
from sltune.events.orientation import SLANIMALS
from sltune.events.source import Finding, Source, refuse_errors
from sltune.events.sources.registry import ImportOptions
from sltune.events.store import PARTS
from sltune.system.files import is_unicode
from sltune.wording import first_of

SUBJECT = "subject"
MAX_SHOWN = 20
"""A listing may have a mistake in every row, and a folder files of many kinds; the first say enough."""
LAYOUT = "a recording lies in a folder that is named by its class: SRC/<class>/<file>, or SRC/train/<class>/<file>"


def open_table(listing: Path, options: ImportOptions) -> Source:
    """Return the source for the recordings that a table lists; options: root, group_by, sensor and time_unit.

    Raises:
        DataError: the listing cannot be read, has a row with a mistake that is not to be skipped, none without one, or
            too many classes, or files are of different sensors.
        UsageError: the options contradict the files.
    """
    if not listing.exists():
        raise DataError(f"{listing}: no such file")
    if not listing.is_file():
        raise DataError(f"{listing}: is no table; name a CSV or Parquet file, or use --source folders for a folder")
    rows, findings = read_listing(listing, options.root or listing.parent)
    if not rows:
        shown = first_of([str(finding) for finding in findings], MAX_SHOWN)
        raise DataError("\n".join([*shown, f"{listing}: no row is without mistakes"]))
    # Mistakes are said before files are read, all of which may be needed to find the sensor.
    refuse_errors(findings, skip_bad=options.skip_bad)
    return _source(listing.stem, str(listing), rows, findings, options)


def open_folders(place: Path, options: ImportOptions) -> Source:
    """Return the source for recordings in folders, or in a zip archive, that are named by their classes.

    If all folders at the top are called train, test or val, these are the official parts, and classes lie below them.

    Raises:
        DataError: there are no recordings in such folders, or as ``open_table``.
        UsageError: the options contradict the files.
    """
    if place.is_file() and place.suffix.lower() in (".csv", ".tsv", ".parquet"):
        raise DataError(f"{place}: is no folder; for a table that lists recordings, use --source table")
    found = find_members(place)
    # A zip archive in the folder is mostly what the folders beside it were unpacked from.
    members = [member for member in found if not member.inside or place.is_file()]
    recordings = [member for member in members if is_event_file(Path(member.name))]
    others = Counter(member.suffix or "without a suffix" for member in members if not is_event_file(Path(member.name)))
    others[".zip"] += len({member.path for member in found}) - len({member.path for member in members})
    counts = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(MAX_SHOWN) if count)
    rows, loose = _rows_of(place, recordings)
    if not rows:
        held = f"{len(loose)} recordings that do not, and {counts or 'no'} other files"
        raise DataError(f"{place}: holds no such recording: {LAYOUT}; it holds {held}")
    findings = [Finding(str(member), f"is left out, as {LAYOUT}") for member in loose]
    if counts:
        findings.append(Finding(str(place), f"files that are no recordings are left out: {counts}"))
    return _source(place.stem if place.is_file() else place.resolve().name, str(place), rows, findings, options)


def _rows_of(place: Path, members: Sequence[Member]) -> tuple[list[Row], list[Member]]:
    """Return a row for each recording in a folder of its class, and the recordings that lie in none.

    Raises:
        DataError: a name is not UTF-8.
    """
    paths = [member.inside.replace("\\", "/") or member.path.relative_to(place).as_posix() for member in members]
    for member, path in zip(members, paths, strict=True):
        if not is_unicode(path):
            raise DataError(f"{member}: its name is not UTF-8; rename it")
    if place.is_file() and all(path.count("/") > 1 for path in paths) and len(set(map(_top, paths))) == 1:
        # Many archives hold one folder, that of which they were made.
        paths = [path.partition("/")[2] for path in paths]
    tops = {_top(path).lower() for path in paths if "/" in path}
    has_parts = bool(tops) and tops <= set(PARTS)
    rows, loose = list[Row](), list[Member]()
    for member, path in zip(members, paths, strict=True):
        *folders, _ = path.split("/")
        split = folders.pop(0).lower() if has_parts and folders else ""
        if folders:
            below = "/".join(folders[1:]) or "."
            rows.append(Row(str(member), member, path, below, label=folders[0], split=split))
        else:
            loose.append(member)
    return rows, loose


def _top(path: str) -> str:
    return path.partition("/")[0]


def _source(name: str, place: str, rows: Sequence[Row], findings: Sequence[Finding], options: ImportOptions) -> Source:
    members = list(by_file(rows))
    refuse_wrong_unit(members, options.time_unit)
    classes = class_names([row.label for row in rows], place)
    named = with_names(rows)
    labels = [classes.index(row.label) for row in named]
    has_subjects = SUBJECT in named[0].fields
    subjects, alone = group(named, labels, options.group_by, SUBJECT if has_subjects else RECORDING)
    odd = list(_odd_classes(classes, [classes[label] for label in alone]))
    if options.group_by is None and not has_subjects:
        text = f"subjects are unknown: each of the {len(members)} recordings counts as a subject of its own"
        odd.append(f"{text}, so that folds may train and test on the same person; name subjects, or use --group-by")
    odd += _in_two_parts(named, subjects)
    sensor, of_sensor = find_sensor(members, options.sensor, options.time_unit, place)
    return Source(
        # What bears that name has other polarities and pictures.
        name=f"{name}, listed" if name == SLANIMALS else name,
        synthetic=False,
        sensor=sensor,
        classes=classes,
        files=source_files(parts_of(named, subjects), classes, sensor, options.time_unit),
        findings=(*findings, *(Finding(place, text) for text in odd), *of_sensor, *_overlaps(rows)),
    )


def _odd_classes(classes: Sequence[str], alone: Sequence[str]) -> Iterator[str]:
    """Give what is odd in classes; alone: those of one subject only."""
    by_letters: dict[str, list[str]] = {}
    for name in classes:
        by_letters.setdefault(name.casefold(), []).append(name)
    for alike in by_letters.values():
        if len(alike) > 1:
            yield f"classes differ only in the case of letters: {', '.join(alike)}"
    if len(classes) == 1:
        yield f"all samples are of one class, {classes[0]}, so that there is nothing to tell apart"
    elif alone:
        yield say_alone(alone)


def _in_two_parts(rows: Sequence[Row], subjects: Sequence[str]) -> Iterator[str]:
    """Give, if subjects are in several official parts, how many and one of them."""
    parts: dict[str, set[str]] = {}
    for row, subject in zip(rows, subjects, strict=True):
        parts.setdefault(subject, set()).add(row.split)
    shared = [subject for subject, found in parts.items() if len(found - {""}) > 1]
    if shared:
        text = f"{shared[0]} is in {' and '.join(sorted(parts[shared[0]]))}"
        more = f", as are {len(shared) - 1} other subjects" if len(shared) > 1 else ""
        hint = 'evaluation.split = "official" refuses that; if it is meant, import with --group-by sample'
        yield f"{text}{more}: {hint}"


def _overlaps(rows: Sequence[Row]) -> Iterator[Finding]:
    """Give for each file how many of its rows begin before an earlier one has ended, and two of them."""
    for member, own in by_file(rows).items():
        pairs = list[tuple[Row, Row]]()
        for is_time in {row.cut.is_time for row in own if row.cut} or {True}:
            longest: Row | None = None
            for row in sorted((row for row in own if _cut(row).is_time is is_time or not row.cut), key=_cut):
                if longest and _cut(row).start < _cut(longest).end:
                    pairs.append((longest, row))
                if longest is None or _cut(row).end > _cut(longest).end:
                    longest = row
        if pairs:
            first, second = pairs[0]
            text = f"{len(pairs)} samples overlap others of {member}, such as {first.place}"
            yield Finding(second.place, text)


def _cut(row: Row) -> Cut:
    return row.cut or WHOLE
