"""Read the cells of tables that people write with spreadsheets and scripts: CSV in its dialects, and Parquet."""

from __future__ import annotations

import codecs
import csv
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sltune.errors import DataError
from sltune.system.files import MAX_TEXT_BYTES, open_plain, read_plain
from sltune.system.parquet import read_parquet
from sltune.wording import excerpt, printable

PARQUET = (".parquet", ".pq")


@dataclass(frozen=True)
class Cells:
    """A table of texts.

    columns: their names, as they stand in the file. rows: each with a text for every column, "" where there is none.
    unreadable: by the name of a column whose values are neither texts nor numbers, their type.
    """

    columns: tuple[str, ...]
    rows: list[list[str]]
    unreadable: dict[str, str]


def read_cells(file: Path) -> Cells:
    """Read a table, of which nothing is known but that its first line names its columns.

    Raises:
        DataError: it cannot be read, is not UTF-8, or a row has more cells than there are columns.
    """
    try:
        if file.suffix.lower() in PARQUET:
            return _parquet_cells(file)
        header, *rows = csv_rows(_decode(file, read_plain(file))) or [[]]
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {printable(error.strerror or str(error))}") from error
    except (csv.Error, ValueError, MemoryError, pa.ArrowException) as error:
        raise DataError(f"{file}: cannot be read as a table: {excerpt(str(error))}") from error
    # Spreadsheets fill rows with empty cells up to the longest.
    for number, row in enumerate(rows, start=1):
        if any(map(str.strip, row[len(header) :])):
            raise DataError(f"{file} row {number}: has {len(row)} cells, where the header has {len(header)} columns")
    width = len(header)
    padded = [[cell.strip() for cell in (*row[:width], *[""] * (width - len(row)))] for row in rows]
    return Cells(tuple(map(str.strip, header)), padded, {})


def csv_rows(text: str) -> list[list[str]]:
    """Return the cells of all rows that are not completely empty; columns are separated by commas, semicolons or tabs.

    Raises:
        csv.Error: it is no CSV.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    # In languages that write decimals with a comma, spreadsheets separate columns by semicolons.
    delimiter = max(",;\t", key=first.count)
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    return [row for row in table if any(map(str.strip, row))]


def marked_utf_16(content: bytes) -> str | None:
    """Return the text of bytes that say they are UTF-16, as some spreadsheets write it; None for any others.

    Raises:
        UnicodeDecodeError: they are not.
    """
    is_marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16") if is_marked else None


def whole_number(text: str) -> int:
    """Read digits, also those of 3200.0 or 3200,0, as a table of floats has them; ``int`` would accept much else.

    Three zeros after the point are refused: 3.000 may mean three thousand.

    Raises:
        ValueError: the text is something else, or too long.
    """
    number = re.fullmatch(r"\s*([+-]?[0-9]{1,40})([.,](0{1,2}|0{4,40}))?\s*", text)
    if number is None:
        raise ValueError(text)
    return int(number[1])


def _decode(file: Path, content: bytes) -> str:
    try:
        text = marked_utf_16(content)
        return content.decode("utf-8-sig") if text is None else text
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        text = f"byte {content[error.start]:#04x} in line {line} is not UTF-8; save the table as CSV UTF-8"
        raise DataError(f"{file}: {text}") from error


def _parquet_cells(file: Path) -> Cells:
    with open_plain(file, MAX_TEXT_BYTES) as handle:
        table = read_parquet(handle, file.stat().st_size)
    columns, unreadable = list[list[str]](), dict[str, str]()
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if _is_text_or_number(kind):
            columns.append([_as_text(value) for value in column.to_pylist()])
        else:
            unreadable[name.strip()] = str(column.type)
            columns.append([""] * table.num_rows)
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Cells(tuple(name.strip() for name in table.column_names), rows, unreadable)


def _is_text_or_number(kind: pa.DataType) -> bool:
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_floating)
    return any(check(kind) for check in (*checks, pa.types.is_boolean, pa.types.is_null))


def _as_text(value: Any) -> str:
    """Return a value as CSV would hold it."""
    # If one of several whole numbers is missing, pandas makes floats of them, and NaN of what is missing.
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
