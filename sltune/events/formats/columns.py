"""Turn columns of numbers, as arrays and tables hold them, into events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sltune.errors import DataError
from sltune.events.formats.blocks import Block
from sltune.events.formats.members import Member
from sltune.wording import excerpt

FIELDS = ("x", "y", "t", "p")
# Names by which programs call the columns, in lower case.
NAMES = {
    **dict.fromkeys(("x", "xs"), "x"),
    **dict.fromkeys(("y", "ys"), "y"),
    **dict.fromkeys(("t", "ts", "time", "timestamp", "timestamps"), "t"),
    **dict.fromkeys(("p", "ps", "pol", "polarity", "polarities"), "p"),
}
UNITS_US = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
MAX_TIME_US = 1 << 62
"""Beyond any clock, and such that differences of two times fit 64 bits."""


def find_fields(member: Member, names: Sequence[str]) -> list[int]:
    """Return at which place each of x, y, t and p stands among the names of columns.

    Raises:
        DataError: one of them is missing or stands twice.
    """
    known = [NAMES.get(name.strip().lower()) for name in names]
    for field in FIELDS:
        if known.count(field) != 1:
            count = "no column" if field not in known else "more than one column"
            text = f"has {count} {field!r}, but {excerpt(', '.join(names))!r}; events need x, y, t and p"
            raise DataError(f"{member}: {text}")
    return [known.index(field) for field in FIELDS]


class ColumnsToEvents:
    """Checks and converts columns of the events of one file, part after part.

    time_unit: s, ms, us or ns. Times are rounded to whole µs. Polarity is 0 and 1, or −1 and 1.
    """

    def __init__(self, member: Member, time_unit: str) -> None:
        self._member, self._unit = member, time_unit
        self._events = 0
        self._lowest_polarity: int | None = None

    def block(self, columns: Sequence[NDArray[Any]]) -> Block:
        """Return the next events from their x, y, t and p, arrays of one shape (events,).

        Raises:
            DataError: a value is none of its column; names the first one and its event.
        """
        x, y, t, p = columns
        events = Block(self._pixel("x", x), self._pixel("y", y), self._times(t), self._polarity(p))
        self._events += len(x)
        return events

    def _pixel(self, name: str, values: NDArray[Any]) -> NDArray[np.uint16]:
        if values.dtype.kind == "u" and values.dtype.itemsize <= 2:
            return values.astype(np.uint16)
        self._refuse_type(name, values)
        wrong = ~((values >= 0) & (values <= 0xFFFF))
        if values.dtype.kind == "f":
            wrong |= values != np.rint(values)
        self._refuse(wrong, name, values, "a whole number from 0 to 65535")
        return values.astype(np.uint16)

    def _times(self, values: NDArray[Any]) -> NDArray[np.int64]:
        self._refuse_type("t", values)
        scale, allowed = UNITS_US[self._unit], f"a time of at most 2⁶² µs, in {self._unit}"
        if values.dtype.kind == "f":
            micros = np.rint(values.astype(np.float64) * scale)
            self._refuse(~(np.abs(micros) < MAX_TIME_US), "t", values, allowed)
            return micros.astype(np.int64)
        most = min(int(MAX_TIME_US / scale), (1 << 63) - 1)
        self._refuse((values > most) | (values < -most), "t", values, allowed)
        times = values.astype(np.int64)
        if scale >= 1:
            return times if scale == 1 else times * int(scale)
        return (times + 500) // 1000

    def _polarity(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        self._refuse_type("p", values)
        if values.dtype.kind == "b":
            return values.astype(np.bool_)
        if self._lowest_polarity is None and (low := values[values != 1]).size:
            self._lowest_polarity = -1 if low[0] == -1 else 0
        on = values == 1
        self._refuse(~on & (values != (self._lowest_polarity or 0)), "p", values, "0 or 1, or else -1 or 1")
        return np.asarray(on)

    def _refuse_type(self, name: str, values: NDArray[Any]) -> None:
        if values.dtype.kind not in "iufb":
            raise DataError(f"{self._member}: {name} holds values of type {values.dtype}, and not numbers")

    def _refuse(self, wrong: NDArray[np.bool_], name: str, values: NDArray[Any], allowed: str) -> None:
        if wrong.any():
            event = int(np.argmax(wrong))
            text = f"{name} of event {self._events + event} is {values[event]}, where {allowed} is allowed"
            raise DataError(f"{self._member}: {text}")
