"""A plot and its files: PDF with embedded fonts, SVG with text as text, PNG. The same data give the same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from sltune.report.plots.style import PAGE_INCHES
from sltune.system.files import write_whole

DPI = 150
# Newer stubs of matplotlib have a type of their own for the names of settings.
SETTINGS: dict[Any, Any] = {
    "font.size": 8,
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial", "Helvetica", "sans-serif"],
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "figure.constrained_layout.use": True,
    # Letters have the same width at any resolution, so that a layout for the PNG fits the SVG, too.
    "figure.dpi": DPI,
    "text.hinting": "none",
    # A run may have a $ in its name.
    "text.parse_math": False,
    "svg.fonttype": "none",
    # Fonts as TrueType: publishers refuse those of Type 3, which are matplotlib's own choice.
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Plot:
    """A figure. name: the stem of its files. alt: the main numbers in words, for readers who cannot see it."""

    name: str
    title: str
    alt: str
    figure: Figure


@contextmanager
def style(width_inches: float = PAGE_INCHES) -> Iterator[None]:
    """Draw in the style of the report, whatever the user's own settings of matplotlib are.

    Args:
        width_inches: of new figures; their texts have 8 points whatever it is.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        matplotlib.rcParams["figure.figsize"] = (width_inches, width_inches)
        yield


def settled(plot: Plot) -> Plot:
    """Lay the figure out once and for all. Otherwise each drawing would move its parts a little."""
    plot.figure.draw_without_rendering()
    plot.figure.set_layout_engine("none")
    # The last bits of the solver's numbers depend on where its variables lie in memory.
    for axes in plot.figure.axes:
        axes.set_position([round(side, 6) for side in axes.get_position(original=True).bounds])  # type: ignore[arg-type]
    for text in plot.figure.texts:
        text.set_position([round(place, 6) for place in text.get_position()])  # type: ignore[arg-type]
    return plot


def svg(plot: Plot) -> str:
    """Return the plot as an SVG document."""
    with style(), matplotlib.rc_context({"svg.hashsalt": plot.name}):
        out = io.StringIO()
        metadata = {"Date": None, "Title": plot.title, "Description": plot.alt}
        plot.figure.savefig(out, format="svg", metadata=metadata, dpi=DPI)
    # Names of runs may have characters that XML cannot hold.
    return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "�", out.getvalue())


def pdf(plot: Plot) -> bytes:
    """Return the plot as a PDF file."""
    with style():
        out = io.BytesIO()
        plot.figure.savefig(out, format="pdf", dpi=DPI, metadata={"Title": plot.title, "CreationDate": None})
    return out.getvalue()


def png(plot: Plot) -> bytes:
    """Return the plot as a PNG file."""
    with style():
        out = io.BytesIO()
        plot.figure.savefig(out, format="png", dpi=DPI, metadata={"Title": plot.title, "Description": plot.alt})
    return out.getvalue()


def write_plots(folder: Path, plots: Iterable[Plot], inside: Path | None = None, after: str = "") -> list[Path]:
    """Write ``<name>.pdf``, ``.svg`` and ``.png`` of every plot, one after the other; return the files.

    Args:
        inside: the run's folder, if the folder is in one; see ``files.whole_file``. after: what follows the names.

    Raises:
        UsageError: a file cannot be written.
    """
    files = []
    for plot in plots:
        for suffix, content in (("pdf", pdf(plot)), ("svg", svg(plot)), ("png", png(plot))):
            files.append(folder / f"{plot.name}{after}.{suffix}")
            write_whole(files[-1], content, inside)
    return files
