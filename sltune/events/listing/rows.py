"""Rows of a listing: which part of which file is a sample, of which class, and by whom."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sltune.errors import DataError
from sltune.events.formats.event_file import is_event_file
from sltune.events.formats.members import Member
from sltune.events.listing.cells import Cells, read_cells, whole_number
from sltune.events.listing.grouping import MAX_SHOWN_CLASSES
from sltune.events.manifest import MAX_CLASSES
from sltune.events.source import Finding
from sltune.events.store import PARTS
from sltune.wording import excerpt, suggestion

NEEDED = ("file", "label")
BOUNDS = ("start_us", "end_us", "start_ev", "end_ev")
COLUMNS = (*NEEDED, "subject", "session", *BOUNDS, "split", "id")
MAX_ROWS = 1_000_000
"""The largest published sets have some 100,000 samples."""
MAX_NAME_CHARACTERS = 200
"""A longer name of a class or person is a mistake, such as a quotation mark that is never closed."""
NOT_VALUES = ("#n/a", "#name?", "#ref!", "#value!", "#div/0!", "#num!", "#null!", "nan")
"""What spreadsheets and pandas write where a value could not be computed, in lower case."""


@dataclass(frozen=True, order=True)
class Cut:
    """The part of a recording from start up to, but not including, end: times in µs, or the numbers of events."""

    start: int
    end: int
    is_time: bool

    def __str__(self) -> str:
        unit = "us" if self.is_time else "ev"
        return f"start_{unit}={self.start}, end_{unit}={self.end}"


@dataclass(frozen=True, slots=True)
class Row:
    """A sample as it is listed.

    place: the row, for findings. member: its file. path: that of the file, below the folder from which paths count.
    folder: by which --group-by folder groups. cut: None for the whole file. sample_id: "" if the listing gives none.
    fields: what --group-by may name.
    """

    place: str
    member: Member
    path: str
    folder: str
    label: str
    cut: Cut | None = None
    session: str = ""
    split: str = ""
    sample_id: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


def read_listing(file: Path, root: Path) -> tuple[list[Row], list[Finding]]:
    """Read a listing; rows with a mistake are left out and reported.

    Args:
        root: the folder from which the paths of files count.

    Raises:
        DataError: it cannot be read, has no rows, or a column is missing, stands twice, or holds no texts or numbers.
    """
    cells = read_cells(file)
    names = _column_names(file, cells)
    if not cells.rows:
        raise DataError(f"{file}: has no rows below its header")
    if len(cells.rows) > MAX_ROWS:
        raise DataError(f"{file}: has {len(cells.rows):,} rows; at most {MAX_ROWS:,} are allowed")
    values = [dict(zip(names, row, strict=True)) for row in cells.rows]
    reader = _RowReader(root, has_subjects=any(row.get("subject") for row in values))
    rows, findings = list[Row](), list[Finding]()
    for number, row in enumerate(values, start=1):
        place = f"{file} row {number}"
        if problems := list(reader.problems(row)):
            lost = row.get("id") or f"row {number}"
            findings += [Finding(place, problem, is_error=True, lost=(lost,)) for problem in problems]
        else:
            rows.append(reader.row(place, row))
    unique, repeated = _without_repeated_ids(rows)
    consistent, contradictions = _without_second_labels(unique)
    return consistent, [*findings, *repeated, *contradictions]


def _column_names(file: Path, cells: Cells) -> list[str]:
    """Return the names of columns; known ones in lower case. The case of letters counts for further columns only."""
    names = [name.lower() if name.lower() in COLUMNS else name for name in cells.columns]
    problems = [
        f"has {names.count(name)} columns {name!r}" for name in dict.fromkeys(names) if name and names.count(name) > 1
    ]
    for name in NEEDED:
        if name not in names:
            problems.append(f"has no column {name!r}{suggestion(name, names)}")
    further = [name for name in names if name not in COLUMNS]
    for start, end in (BOUNDS[:2], BOUNDS[2:]):
        lacking = {start, end}.difference(names)
        if len(lacking) == 1 and (hint := suggestion(min(lacking), further)):
            problems.append(f"has no column {lacking.pop()!r}{hint}")
    for name, kind in cells.unreadable.items():
        if name.lower() in COLUMNS:
            problems.append(f"column {name!r} holds values of type {excerpt(kind)}, neither texts nor numbers")
    if problems:
        shown = excerpt(", ".join(cells.columns)) or "none"
        known = f"its columns are {shown}; a listing may have {', '.join(COLUMNS)} and others"
        raise DataError("\n".join([*(f"{file}: {problem}" for problem in problems), f"{file}: {known}"]))
    return names


@dataclass(frozen=True)
class _RowReader:
    """Checks rows, and looks for each file once."""

    root: Path
    has_subjects: bool
    looked_for: dict[str, str] = field(default_factory=dict)

    def problems(self, values: Mapping[str, str]) -> Iterator[str]:
        """Give what is wrong in a row, by columns."""
        for column in ("label", "subject", "session", "split", "id"):
            is_needed = column == "label" or (column == "subject" and self.has_subjects)
            if problem := _text_problem(values.get(column, ""), is_needed):
                yield f"{column}={excerpt(repr(values.get(column, '')))}: {problem}"
        path = values["file"]
        if path not in self.looked_for:
            self.looked_for[path] = self._file_problem(path)
        if problem := self.looked_for[path]:
            yield f"file={excerpt(repr(path))}: {problem}"
        if (split := values.get("split", "").lower()) and split not in PARTS:
            yield f"split={excerpt(repr(split))}: must be {', '.join(PARTS)} or empty"
        try:
            _cut(values)
        except ValueError as error:
            yield str(error)

    def row(self, place: str, values: Mapping[str, str]) -> Row:
        """Return a row without problems."""
        path = PurePosixPath(values["file"])
        own = ("file", "label", "id", "split", *BOUNDS)
        return Row(
            place=place,
            member=Member(self.root / path),
            path=path.as_posix(),
            folder=path.parent.as_posix(),
            label=values["label"],
            cut=_cut(values),
            session=values.get("session", ""),
            split=values.get("split", "").lower(),
            sample_id=values.get("id", ""),
            fields={name: value for name, value in values.items() if name and value and name not in own},
        )

    def _file_problem(self, text: str) -> str:
        """Return what is wrong with the path of a file, or ""."""
        path = PurePosixPath(text)
        if not text or path == PurePosixPath():
            return "names no file"
        if path.is_absolute() or ".." in path.parts or "\0" in text:
            return f"must be a path below {self.root}; name another folder with --root"
        file = self.root / path
        if not file.is_file():
            hint = "; write / between folders" if "\\" in text else "; --root names the folder from which paths count"
            return f"there is no such file below {self.root}{hint}"
        return "" if is_event_file(file) else "is not a recording in a known format, by its suffix"


def _text_problem(text: str, is_needed: bool) -> str:
    if not text:
        return "is empty" if is_needed else ""
    if text.startswith("="):
        return "is a formula; save the table with values instead"
    if text.lower() in NOT_VALUES:
        return "is no value; leave the cell empty, or correct it"
    # Lists of a split have a name on each line. Others that are not printable belong to some scripts.
    if any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in text):
        return "has a line end or another control character; write it on one line"
    return "" if len(text) <= MAX_NAME_CHARACTERS else f"is longer than {MAX_NAME_CHARACTERS} characters"


def _cut(values: Mapping[str, str]) -> Cut | None:
    """Return which part of its file a row takes; None for all of it.

    Raises:
        ValueError: its bounds contradict each other, or are no whole numbers; names the columns.
    """
    given = {column: values[column] for column in BOUNDS if values.get(column, "").lower() not in ("", "nan")}
    if not given:
        return None
    shown = ", ".join(f"{column}={excerpt(repr(text))}" for column, text in given.items())
    if len({column[-2:] for column in given}) > 1:
        raise ValueError(f"{shown}: times and numbers of events exclude each other; give either")
    if len(given) == 1:
        raise ValueError(f"{shown}: start and end go together; leave both empty for the whole file")
    is_time = "start_us" in given
    try:
        start, end = map(whole_number, given.values())
    except ValueError:
        unit = " of µs" if is_time else ""
        raise ValueError(f"{shown}: whole numbers{unit} are expected") from None
    if start >= end:
        raise ValueError(f"{shown}: start must lie before end, which is the first that does not belong to the sample")
    if max(abs(start), abs(end)) >= 1 << 62 or (start < 0 and not is_time):
        raise ValueError(f"{shown}: no recording goes so far")
    return Cut(start, end, is_time)


def _without_repeated_ids(rows: Iterable[Row]) -> tuple[list[Row], list[Finding]]:
    first, findings, unique = dict[str, Row](), list[Finding](), list[Row]()
    for row in rows:
        if row.sample_id and (other := first.setdefault(row.sample_id, row)) is not row:
            text = f"id={excerpt(repr(row.sample_id))}: is repeated; it is also that of {other.place}"
            findings.append(Finding(row.place, text, is_error=True, lost=(f"{row.sample_id} (repeated)",)))
        else:
            unique.append(row)
    return unique, findings


def _without_second_labels(rows: Iterable[Row]) -> tuple[list[Row], list[Finding]]:
    """Leave out whole files that an earlier row labels differently: mostly, columns of times have other names."""
    first, findings, consistent = dict[str, Row](), list[Finding](), list[Row]()
    for row in rows:
        if row.cut is None and (other := first.setdefault(row.path, row)).label != row.label:
            labels = f"label={excerpt(repr(row.label))}: the whole file has the label {excerpt(repr(other.label))}"
            text = f"{labels} in {other.place}; columns {', '.join(BOUNDS[:2])} say which part a row means"
            findings.append(Finding(row.place, text, is_error=True, lost=(row.sample_id or row.place,)))
        else:
            consistent.append(row)
    return consistent, findings


def class_names(labels: Sequence[str], place: str) -> tuple[str, ...]:
    """Return the different labels in the order of classes: by number if all are whole numbers, else by letters.

    Raises:
        DataError: there are too many.
    """
    names = set(labels)
    if len(names) > MAX_CLASSES:
        few = excerpt(", ".join(sorted(names)[:MAX_SHOWN_CLASSES]))
        text = f"column 'label' has {len(names)} classes, such as {few}; at most {MAX_CLASSES} are possible"
        raise DataError(f"{place}: {text}")
    is_numbered = all(re.fullmatch("-?[0-9]+", name) for name in names)
    return tuple(sorted(names, key=(lambda name: (int(name), name)) if is_numbered else None))
