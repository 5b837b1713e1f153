"""Confusion matrices of the shown configurations: which classes are taken for which."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sltune.report.analysis.series import RecordedResult, Series
from sltune.report.plots.plot import Plot
from sltune.report.plots.style import names, new_figure, titles, width_inches
from sltune.wording import shortened

MAX_RUNS = 4
"""Each matrix is a figure of its own; more would make the report too long to read through."""
MIN_POINTS = 6.0
"""Smaller numbers cannot be read in print; where cells have no room for them, there are none."""
POINTS = 8.0
MATRIX_SHARE = 0.72
"""Approximate width of all cells together, as a share of the figure's."""
MAX_NAME_LENGTH = 18
"""Longer names would leave the matrix little of the figure's width."""
DARK = 0.55
"""From this share on, a cell is so dark that its text must be white."""

Matrix = NDArray[np.int64]


def confusion_matrices(series: Sequence[Series]) -> Iterator[Plot]:
    """Draw the sum over folds and seeds, a row per true class, for the first MAX_RUNS runs that have one.

    Each is drawn with counts, and with per cent of the true class.
    """
    found = [(one, counts) for one in series if one.shown and (counts := summed(one.shown)) is not None][:MAX_RUNS]
    shown = [one for one, _ in found]
    for name, title, in_percent in (("confusion-matrix", "Confusion matrix", False),
                                    ("confusion-matrix-percent", "Confusion matrix in per cent", True)):  # fmt: skip
        for (one, counts), stem, head in zip(found, names(name, shown), titles(title, shown), strict=True):
            classes = one.dataset.classes
            yield Plot(stem, head, _alt(one, counts, classes), _figure(counts, classes, in_percent))


def summed(result: RecordedResult) -> Matrix | None:
    """Return the sum of the done trials' matrices, shape (true classes, predicted classes); None without any."""
    matrices = []
    for record in result.done:
        classes = len(record.dataset.classes)
        matrix = np.array(record.metrics.confusion, dtype=np.int64)
        if matrix.shape == (classes, classes):
            matrices.append(matrix)
    total = sum(matrices, np.zeros_like(matrices[0])) if matrices else None
    return total if total is not None and total.sum() else None


def _figure(counts: Matrix, classes: Sequence[str], in_percent: bool) -> Figure:
    figure = new_figure(0.88 * width_inches())
    figure.set_layout_engine("compressed")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, aspect="equal", interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, pad=0.02)
    bar.set_label("share of the true class (%)")
    bar.outline.set_linewidth(0.4)
    cell_points = MATRIX_SHARE * width_inches() * 72 / len(classes)
    # A name needs a line's height.
    step = max(1, math.ceil(1.25 * POINTS / cell_points))
    places = range(0, len(classes), step)
    texts = [shortened(classes[place], MAX_NAME_LENGTH) for place in places]
    fits = max(map(len, texts)) * 0.65 * POINTS < step * cell_points
    axes.set_xticks(places, texts, rotation=0 if fits else 90)
    axes.set_yticks(places, texts)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_linewidth(0.4)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    _write_numbers(axes, 100 * shares if in_percent else counts, shares, cell_points)
    return figure


def _write_numbers(
    axes: Axes, numbers: Matrix | NDArray[np.float64], shares: NDArray[np.float64], cell_points: float
) -> None:
    """Write a whole number into each cell that is not empty, if all of them can be read."""
    longest = len(f"{numbers.max():.0f}")
    size = min(POINTS, 0.6 * cell_points, 1.4 * cell_points / longest)
    for row, column in np.argwhere(shares) if size >= MIN_POINTS else ():
        colour = "white" if shares[row, column] > DARK else "black"
        text = f"{numbers[row, column]:.0f}"
        axes.text(column, row, text, ha="center", va="center_baseline", color=colour, fontsize=size)


def _alt(series: Series, counts: Matrix, classes: Sequence[str]) -> str:
    right = 100 * counts.trace() / counts.sum()
    wrong = counts - np.diag(counts.diagonal())
    text = f"{series.label}: {counts.trace()} of {counts.sum()} test samples are right ({right:.1f} %)."
    if not wrong.any():
        return text
    true, predicted = divmod(int(wrong.argmax()), len(classes))
    most = f"{classes[true]} taken for {classes[predicted]}, {wrong.max()} of {counts[true].sum()}"
    return f"{text} Most frequent confusion: {most}."
