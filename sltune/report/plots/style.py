"""What the plots have in common: colours with their markers and lines, legends, axes, names of files."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from sltune.report.analysis.series import Series
from sltune.wording import shortened

COLUMN_INCHES, PAGE_INCHES = 3.45, 7.16
"""Widths of figures: one column of a page of two columns, and both."""
INCHES_PER_CHARACTER = 0.062
"""Approximate width of a character of 8 points."""
INCHES_PER_LINE = 0.16
"""Height of a line in a legend."""
CHANCE = "chance"
HANDLE_INCHES = 0.55
"""Width of the line or marker before a label of a legend, with what is left free around it."""
DENSE = 1000
"""More points are stored as pixels within an SVG, which would be slow to draw otherwise."""

BLACK, GREY = "#000000", "#767676"
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY = "#E69F00", "#56B4E9"
"""From the palette of Okabe and Ito for colour-blind people, without its yellow, which is too light on white."""


@dataclass(frozen=True)
class Look:
    """How a series looks. It is never told from the others by colour alone."""

    colour: str
    marker: str
    line: str | tuple[int, tuple[float, ...]]


LOOKS = (
    Look(BLUE, "o", "-"),
    Look(VERMILLION, "s", (0, (5, 1.5))),
    Look(GREEN, "^", (0, (6, 1.5, 1, 1.5))),
    Look(PURPLE, "D", (0, (1, 1))),
    Look(ORANGE, "v", (0, (3, 1, 1, 1, 1, 1))),
    Look(SKY, "P", (0, (8, 3))),
    Look(BLACK, "X", (0, (2, 2))),
)


def look(number: int) -> Look:
    """Return the look of a series. Colours and markers repeat at different places, so that pairs differ for long."""
    colour, other = LOOKS[number % len(LOOKS)], LOOKS[(number + number // len(LOOKS)) % len(LOOKS)]
    return Look(colour.colour, other.marker, other.line)


def width_inches() -> float:
    """Return how wide figures are to be; see ``plot.style``."""
    return float(matplotlib.rcParams["figure.figsize"][0])


def new_figure(height_inches: float, at_most_inches: float = PAGE_INCHES) -> Figure:
    return Figure(figsize=(min(width_inches(), at_most_inches), height_inches))


def wrapped(text: str, inches: float) -> str:
    """Return a text in lines that fit a width, as far as it has spaces; words that are too long lose their middle."""
    most = max(8, int(inches / INCHES_PER_CHARACTER))
    return "\n".join(textwrap.wrap(" ".join(shortened(word, most) for word in text.split()), most))


def legend_above(figure: Figure, axes: Axes) -> None:
    """Put the legend of some axes above the figure, which grows by its height, so that it covers no data."""
    handles, labels = axes.get_legend_handles_labels()
    labels = [wrapped(label, figure.get_figwidth() - HANDLE_INCHES) for label in labels]
    order = sorted(range(len(labels)), key=lambda place: labels[place].startswith(CHANCE))
    longest = [max(map(len, labels[place].split("\n"))) for place in order]
    widths = [HANDLE_INCHES + INCHES_PER_CHARACTER * length for length in longest]
    columns = next((n for n in range(len(order), 1, -1) if _width(widths, n) <= figure.get_figwidth()), 1)
    lines = max(sum(labels[place].count("\n") + 1 for place in part) for part in np.array_split(order, columns))
    figure.set_figheight(figure.get_figheight() + INCHES_PER_LINE * lines + 0.08)
    figure.legend(
        [handles[place] for place in order], [labels[place] for place in order], loc="outside upper left",
        ncols=columns, borderaxespad=0.2, handlelength=2.6, columnspacing=1.2, labelspacing=0.3,
    )  # fmt: skip


def whole_numbers(axes: Axes) -> None:
    """Put ticks of the x axis at whole numbers only."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def log_scale(axes: Axes) -> None:
    """Make the x axis logarithmic, with plain numbers at 1, 2 and 5, or at powers of ten where those are many."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _width(widths: Sequence[float], columns: int) -> float:
    """Return the width of a legend, whose entries matplotlib sorts into columns of nearly equal length."""
    return float(sum(max(column) for column in np.array_split(widths, columns)))


def chance_line(axes: Axes, percents: Iterable[float], vertical: bool = False) -> None:
    """Draw the accuracies of guessing, in per cent; each once."""
    draw = axes.axvline if vertical else axes.axhline
    for percent in sorted(set(percents)):
        draw(percent, color=GREY, linewidth=0.9, linestyle=(0, (1, 2)), label=f"{CHANCE} ({percent:.1f} %)", zorder=0)


def slug(label: str) -> str:
    """Return a label as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-.") or "run"


def names(stem: str, shown: Sequence[Series]) -> list[str]:
    """Return a file's stem for each series: as it is for a single one, else followed by its label, all different."""
    if len(shown) == 1:
        return [stem]
    found = [f"{stem}-{slug(series.label)}" for series in shown]
    return [name if found.count(name) == 1 else f"{name}-{place}" for place, name in enumerate(found, start=1)]


def titles(title: str, shown: Sequence[Series]) -> list[str]:
    """Return a title for each series: as it is for a single one, else followed by its label."""
    return [title] if len(shown) == 1 else [f"{title}: {series.label}" for series in shown]
