"""Confusion matrices of the shown configurations: which classes are taken for which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sltune.report.analysis.series import RecordedResult, Series
from sltune.report.plots.plot import Plot
from sltune.report.plots.style import names, new_figure, titles
from sltune.wording import shortened

MAX_RUNS = 4
"""Each matrix is a figure of its own; more would make the report too long to read through."""
MAX_CLASSES_WITH_COUNTS = 24
"""With more classes, the cells are too small for numbers."""
MAX_NAMES = 48
"""With more classes, only some of their names fit beside the axes."""
MATRIX_POINTS = 355
"""Approximate width of all cells together, in points."""
MAX_NAME_LENGTH = 18
"""Longer names would leave the matrix little of the figure's width."""
DARK = 0.55
"""From this share on, a cell is so dark that its text must be white."""

Matrix = NDArray[np.int64]


def confusion_matrices(series: Sequence[Series]) -> Iterator[Plot]:
    """Draw the sum over folds and seeds, a row per true class, for the first MAX_RUNS runs that have one."""
    found = [(one, counts) for one in series if one.shown and (counts := summed(one.shown)) is not None][:MAX_RUNS]
    shown = [one for one, _ in found]
    for (one, counts), name, title in zip(
        found, names("confusion-matrix", shown), titles("Confusion matrix", shown), strict=True
    ):
        classes = one.dataset.classes
        yield Plot(name, title, _alt(one, counts, classes), _figure(counts, classes))


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


def _figure(counts: Matrix, classes: Sequence[str]) -> Figure:
    figure = new_figure(5.7)
    figure.set_layout_engine("compressed")
    axes = figure.subplots()
    in_row = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(in_row, 1)
    image = axes.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100, aspect="equal", interpolation="nearest")
    bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=30, pad=0.02)
    bar.set_label("share of the true class (%)")
    bar.outline.set_linewidth(0.4)
    step = -(-len(classes) // MAX_NAMES)
    places = range(0, len(classes), step)
    texts = [shortened(classes[place], MAX_NAME_LENGTH) for place in places]
    size = 8.5 if len(classes) <= MAX_CLASSES_WITH_COUNTS else 6.5
    fits = len(classes) * max(map(len, texts)) * 0.6 * size < MATRIX_POINTS
    axes.set_xticks(places, texts, rotation=0 if fits else 90, fontsize=size)
    axes.set_yticks(places, texts, fontsize=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_linewidth(0.4)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(classes) <= MAX_CLASSES_WITH_COUNTS:
        _write_counts(axes, counts, shares)
    return figure


def _write_counts(axes: Axes, counts: Matrix, shares: NDArray[np.float64]) -> None:
    cell_points = MATRIX_POINTS / len(counts)
    size = min(8.5, 0.55 * cell_points, 1.25 * cell_points / len(str(counts.max())))
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > DARK else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center_baseline", color=colour, fontsize=size)


def _alt(series: Series, counts: Matrix, classes: Sequence[str]) -> str:
    right = 100 * counts.trace() / counts.sum()
    wrong = counts - np.diag(counts.diagonal())
    text = f"{series.label}: {counts.trace()} of {counts.sum()} test samples are right ({right:.1f} %)."
    if not wrong.any():
        return text
    true, predicted = divmod(int(wrong.argmax()), len(classes))
    most = f"{classes[true]} taken for {classes[predicted]}, {wrong.max()} of {counts[true].sum()}"
    return f"{text} Most frequent confusion: {most}."
