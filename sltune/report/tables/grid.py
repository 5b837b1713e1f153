"""Tables as cells of text, before any format dresses them."""

from __future__ import annotations

from dataclasses import dataclass

from sltune.report.inference.statistics import Interval

NONE = "–"


@dataclass(frozen=True)
class Grid:
    """A table of texts; the first ``words`` columns hold words, the others numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int


def percent(value: float | None) -> str:
    """Return a percentage or a number of points with two decimals."""
    return NONE if value is None else f"{value:.2f}"


def bounds(interval: Interval | None) -> str:
    """Return an interval's bounds; a negative one needs more than a dash between them."""
    if interval is None:
        return NONE
    return f"{interval.low:.2f}{' to ' if interval.low < 0 else '–'}{interval.high:.2f}"
