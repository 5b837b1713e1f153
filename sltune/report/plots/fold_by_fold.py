"""Two configurations fold by fold: test accuracy of the one over that of the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from sltune.report.analysis.series import Basis, Series
from sltune.report.plots.plot import Plot
from sltune.report.plots.style import GREY, legend_above, look, new_figure, width_inches, wrapped
from sltune.runs.record import Record

Pairs = Mapping[tuple[int, int], tuple[float, float]]
"""Test accuracies in per cent by (seed, fold)."""

MAX_INCHES = 4.9
"""A square as wide as a page would take all of it."""
AXES_SHARE = 0.75
"""Of the axes in the figure's width."""
PLACES = ((7, -3, "left"), (-7, -3, "right"), (0, 6, "center"), (0, -12, "center"), (7, 6, "left"), (-7, -12, "right"))
"""Where a label may stand, in points from what it labels; the first free place is taken."""


def fold_by_fold(series: Sequence[Series]) -> Iterator[Plot]:
    """Draw the shown configurations of two runs, if they were tested on the same recordings fold by fold."""
    shown = [one for one in series if one.shown and one.shown.done]
    found = pairs(*shown) if len(shown) == 2 else {}
    if not found:
        return
    width = min(width_inches(), MAX_INCHES)
    figure = new_figure(0.9 * width, width)
    axes = figure.subplots()
    low, high = _limits(found)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.plot([low, high], [low, high], color=GREY, linewidth=0.8, linestyle=(0, (1, 2)), zorder=0, label="equal")
    _draw(axes, found)
    part = "test accuracy, epoch selected on test (%)" if _is_optimistic(shown[0]) else "test accuracy (%)"
    names = [wrapped(f"{one.label}: {part}", AXES_SHARE * width) for one in shown]
    axes.set(xlabel=names[0], ylabel=names[1])
    legend_above(figure, axes)
    yield Plot("fold-by-fold", "Fold by fold", _alt(shown, found), figure)


def pairs(first: Series, second: Series) -> Pairs:
    """Return the accuracies of both for every fold and seed whose test recordings are the same in both."""
    if first.shown is None or second.shown is None:
        return {}
    others = {(record.seed, record.fold): record for record in second.shown.done}
    found = {}
    for one in first.shown.done:
        other = others.get((one.seed, one.fold))
        if other and _same_test(one, other):
            accuracies = one.metrics.number("test_accuracy"), other.metrics.number("test_accuracy")
            if accuracies[0] is not None and accuracies[1] is not None:
                found[one.seed, one.fold] = (100 * accuracies[0], 100 * accuracies[1])
    return found


def _same_test(one: Record, other: Record) -> bool:
    same_test = sorted(one.splits.get("test", [])) == sorted(other.splits.get("test", []))
    return same_test and Basis.of(one) == Basis.of(other)


def _is_optimistic(series: Series) -> bool:
    return series.shown is not None and Basis.of(series.shown.done[0]).optimistic


def _limits(found: Pairs) -> tuple[float, float]:
    values = [value for pair in found.values() for value in pair]
    margin = max(2.0, 0.12 * (max(values) - min(values)))
    return min(values) - margin, max(values) + margin


def _draw(axes: Axes, found: Pairs) -> None:
    seeds = sorted({seed for seed, _ in found})
    for number, seed in enumerate(seeds):
        own = np.array([pair for (other, _), pair in found.items() if other == seed])
        style = look(number)
        axes.scatter(own[:, 0], own[:, 1], s=26, color=style.colour, marker=style.marker, linewidths=0,
                     label=f"folds of seed {seed}")  # fmt: skip
    folds: defaultdict[tuple[float, float], list[int]] = defaultdict(list)
    for (_, fold), pair in found.items():
        folds[pair].append(fold)
    taken = list(folds)
    for point, numbers in folds.items():
        _annotate(axes, point, ", ".join(map(str, sorted(set(numbers)))), taken)


def _annotate(axes: Axes, point: tuple[float, float], text: str, taken: list[tuple[float, float]]) -> None:
    """Write the folds beside a point, away from the other points and labels, whose places are in ``taken``."""
    low, high = axes.get_xlim()
    per_point = (high - low) / (AXES_SHARE * width_inches() * 72)
    centres = [
        (point[0] + per_point * (x + (len(text) * 3 if x > 0 else -len(text) * 3 if x < 0 else 0)),
         point[1] + per_point * (y + 3))
        for x, y, _ in PLACES
    ]  # fmt: skip
    room = [min(max(abs(cx - tx) / 1.3, abs(cy - ty)) for tx, ty in taken) for cx, cy in centres]
    chosen = next((place for place, free in enumerate(room) if free > 8 * per_point), int(np.argmax(room)))
    x, y, align = PLACES[chosen]
    taken.append(centres[chosen])
    axes.annotate(text, point, (x, y), textcoords="offset points", ha=align, fontsize=8, annotation_clip=False)


def _alt(shown: Sequence[Series], found: Pairs) -> str:
    differences = [second - first for first, second in found.values()]
    better = sum(difference > 0 for difference in differences)
    equal = sum(difference == 0 for difference in differences)
    return (
        f"Test accuracy of {shown[1].label} over {shown[0].label} on {len(found)} common folds and seeds: higher on "
        f"{better}, equal on {equal}, lower on {len(found) - better - equal}; mean difference "
        f"{np.mean(differences):+.1f} points."
    )
