"""Read events from CSV files; the first line names the columns."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
from pyarrow import csv

from sltune.errors import DataError
from sltune.events.formats.blocks import BLOCK_BYTES, Block, Bytes, EventFile
from sltune.events.formats.columns import FIELDS, ColumnsToEvents, find_fields
from sltune.events.formats.members import Member
from sltune.wording import excerpt

MAX_HEADER_BYTES = 1 << 16
# In this order: a comma may be followed by a blank.
DELIMITERS = (",", ";", "\t", " ")


def open_csv(member: Member, time_unit: str) -> EventFile:
    """Return the recording in a table; cells are separated by commas, semicolons, tabs or blanks.

    Raises:
        DataError: the first line does not name the columns.
    """
    head = member.content(MAX_HEADER_BYTES)
    line = re.split(rb"\r\n|\n|\r", head)[0].decode("utf-8-sig", "replace").strip("# \t")
    delimiter = next((one for one in DELIMITERS if one in line), ",")
    names = [name.strip().strip("\"'") for name in line.split(delimiter)]
    if len(line) >= MAX_HEADER_BYTES or any(re.fullmatch(r"[-+.\d]+([eE][-+]?\d+)?", name) for name in names):
        text = f"starts with {excerpt(line)!r}, and not with the names of the columns"
        raise DataError(f"{member}: {text}; write a line such as x,y,t,p above, in the order of the columns")
    places = find_fields(member, names)

    def read(_: Counter[str]) -> Iterator[Block]:
        convert, events = ColumnsToEvents(member, time_unit), 0
        try:
            for batch in _batches(member, delimiter, len(names)):
                columns = [batch.column(place) for place in places]
                for field, column in zip(FIELDS, columns, strict=True):
                    if column.null_count:
                        event = events + column.is_null().index(True).as_py()
                        raise DataError(f"{member}: {field} of event {event}, counted from 0, is empty")
                yield convert.block([column.to_numpy(zero_copy_only=False) for column in columns])
                events += len(batch)
        except pa.ArrowException as error:
            # Arrow takes the type of a column from the first rows.
            is_mixed = "conversion error" in str(error)
            hint = "; write all numbers of a column with a point, or none" if is_mixed else ""
            raise DataError(f"{member}: is no table of events: {excerpt(str(error))}{hint}") from error

    return EventFile(member, None, read)


def _batches(member: Member, delimiter: str, columns: int) -> Iterator[pa.RecordBatch]:
    """Give the rows below the header in parts.

    Raises:
        DataError, pa.ArrowException: the file cannot be read, or a row has another number of cells.
    """
    names = [str(column) for column in range(columns)]
    yield from csv.open_csv(
        pa.PythonFile(io.BufferedReader(Bytes(member)), "r"),
        csv.ReadOptions(use_threads=False, block_size=4 * BLOCK_BYTES, skip_rows=1, column_names=names),
        csv.ParseOptions(delimiter=delimiter, ignore_empty_lines=True),
        csv.ConvertOptions(strings_can_be_null=True),
    )
