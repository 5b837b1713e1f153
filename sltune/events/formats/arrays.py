"""Read events from numpy's files, whose arrays say nothing of their unit of time.

An array is structured (fields x, y, t, p in any order, under any of the names in ``columns.py``), or has a row for each
event with x, y, t, p in this order. An ``.npz`` holds one such array, or an array of each column.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sltune.errors import DataError
from sltune.events.formats.archives import open_archive
from sltune.events.formats.blocks import Block, EventFile, records
from sltune.events.formats.columns import FIELDS, ColumnsToEvents, find_fields
from sltune.events.formats.members import Member
from sltune.wording import excerpt

LITERALS = r"('[^'\\]*'|\"[^\"\\]*\"|True|False|\d+(?!\w)|[\s{}()\[\]:,])*"
MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 1 << 14
MAX_ITEM_BYTES = 1 << 10
"""An event has some 20 bytes; what claims to have far more would fill the memory."""
COLUMN_EVENTS = 1 << 16

Columns = Iterator[tuple[NDArray[Any], ...]]


@dataclass(frozen=True)
class _Array:
    """An array whose header was read; start: where its values begin."""

    member: Member
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_fortran: bool
    start: int

    def part(self, first: int, count: int) -> Iterator[NDArray[Any]]:
        """Give ``count`` values, beginning with the ``first`` one as they lie in the file."""
        size = self.dtype.itemsize
        return records(self.member, self.dtype, self.start + first * size, count, COLUMN_EVENTS * size)


def open_npy(member: Member, time_unit: str) -> EventFile:
    """Return the recording in an array.

    Raises:
        DataError: it is no file of numpy, or no array of events.
    """
    return _events(member, _columns_of(_read_header(member)), time_unit)


def open_npz(member: Member, time_unit: str) -> EventFile:
    """Return the recording in an archive of arrays.

    Raises:
        DataError: it is no such archive, holds no arrays of events, or lies within an archive itself.
    """
    if member.inside or member.path.suffix.lower() != ".npz":
        raise DataError(f"{member}: is an archive that is packed once more; unpack the outer one")
    try:
        names = [name for name in open_archive(member.path).names() if name.endswith(".npy")]
    except OSError as error:
        raise DataError(f"{member}: cannot be read: {error.strerror or error}") from error
    if len(names) == 1:
        return _events(member, _columns_of(_read_header(Member(member.path, names[0]))), time_unit)
    places = find_fields(member, [name.removesuffix(".npy") for name in names])
    arrays = [_read_header(Member(member.path, names[place])) for place in places]
    events = arrays[0].shape
    for field, array in zip(FIELDS, arrays, strict=True):
        if len(array.shape) != 1 or array.shape != events:
            text = f"array {field!r} has the shape {array.shape}, and not ({arrays[0].shape[0]},) as 'x' has"
            raise DataError(f"{member}: {excerpt(text)}")
    return _events(member, lambda: zip(*(array.part(0, events[0]) for array in arrays), strict=True), time_unit)


def _events(member: Member, columns: Callable[[], Columns], time_unit: str) -> EventFile:
    def read(_: Counter[str]) -> Iterator[Block]:
        return map(ColumnsToEvents(member, time_unit).block, columns())

    return EventFile(member, None, read)


def _columns_of(array: _Array) -> Callable[[], Columns]:
    """Return what reads x, y, t and p of one array that holds all of them."""
    if array.dtype.names is not None and len(array.shape) == 1:
        fields = [array.dtype.names[place] for place in find_fields(array.member, array.dtype.names)]
        return lambda: (tuple(part[field] for field in fields) for part in array.part(0, array.shape[0]))
    if array.dtype.names is None and len(array.shape) == 2 and array.shape[1] == 4:
        events = array.shape[0]
        if array.is_fortran:
            return lambda: zip(*(array.part(column * events, events) for column in range(4)), strict=True)
        rows = replace(array, dtype=np.dtype((array.dtype, 4)))
        return lambda: (tuple(part.T) for part in rows.part(0, events))
    kind = f"an array of shape {array.shape} and type {array.dtype}"
    text = f"holds {excerpt(kind)}, and no events: a structured array of x, y, t, p, or four columns in this order"
    raise DataError(f"{array.member}: {text}")


def _read_header(member: Member) -> _Array:
    content = member.content(MAX_HEADER_BYTES)
    try:
        if not content.startswith(MAGIC):
            raise ValueError(f"it starts with {content[: len(MAGIC)]!r}")
        # After the magic stand two bytes of the version, and the length of the header.
        start = len(MAGIC) + (4 if content[len(MAGIC)] == 1 else 6)
        end = start + int.from_bytes(content[len(MAGIC) + 2 : start], "little")
        text = content[start:end].decode()
        # Python's parser writes warnings of its own about other texts.
        if not re.fullmatch(LITERALS, text):
            raise ValueError("its header is not as numpy writes it")
        header = ast.literal_eval(text)
        dtype, shape = npy.descr_to_dtype(header["descr"]), tuple(map(int, header["shape"]))
        is_fortran = bool(header["fortran_order"])
    # Python's literals and numpy's types fail in any way.
    except Exception as error:
        raise DataError(f"{member}: is no file of numpy's, or its header is damaged: {excerpt(str(error))}") from error
    if dtype.hasobject or not 0 < dtype.itemsize <= MAX_ITEM_BYTES or min(shape, default=0) < 0:
        text = f"holds {excerpt(str(dtype))!r} of shape {excerpt(str(shape))}, and no events"
        raise DataError(f"{member}: {text}")
    return _Array(member, dtype, shape, is_fortran, end)
