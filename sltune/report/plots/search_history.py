"""What a search has found, in the order in which it asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from sltune.report.analysis.series import RecordedResult, Series
from sltune.report.plots.plot import Plot
from sltune.report.plots.style import (
    BLACK,
    BLUE,
    DENSE,
    GREY,
    ORANGE,
    VERMILLION,
    chance_line,
    legend_above,
    names,
    new_figure,
    titles,
    whole_numbers,
)  # fmt: skip
from sltune.runs.results import State

STRIP = 0.08
"""Height of the strip in which configurations without a mean are marked, as a share of the whole."""


def search_histories(series: Sequence[Series]) -> Iterator[Plot]:
    """Draw the configurations of every search of which at least two have ended, one with a mean."""
    found = [
        one for one in series if one.is_search and _ended(one) > 1 and _with_mean(one, "complete", "paused", "pruned")
    ]
    for one, name, title in zip(found, names("search-history", found), titles("Search history", found), strict=True):
        figure = new_figure(2.6)
        axes = figure.subplots()
        _draw(axes, one)
        legend_above(figure, axes)
        yield Plot(name, title, _alt(one), figure)


def best_so_far(series: Series) -> tuple[list[int], list[float]]:
    """Return the numbers of the configurations that are better than all asked for before them, and their accuracies."""
    found = list[RecordedResult]()
    for result in series.complete:
        if series.criteria.best([*found[-1:], result]) is result:
            found.append(result)
    return [one.number for one in found], [one.val_percent or 0.0 for one in found]


def _ended(series: Series) -> int:
    return sum(result.state != "paused" or result.val_percent is not None for result in series.results)


def _with_mean(series: Series, *states: str) -> list[RecordedResult]:
    return [one for one in series.results if one.state in states and one.val_percent is not None]


def _draw(axes: Axes, series: Series) -> None:
    complete, paused, pruned = (_with_mean(series, state) for state in ("complete", "paused", "pruned"))
    kept = [one for one in complete if series.criteria.allows(one)]
    over_limit = [one for one in complete if not series.criteria.allows(one)]
    dense = len(complete) + len(paused) + len(pruned) > DENSE
    size = 6 if dense else 20
    _scatter(axes, paused, s=size, facecolors="none", edgecolors=BLUE, marker="o", linewidths=0.8, rasterized=dense,
             alpha=0.6, label="paused, predicted mean")  # fmt: skip
    _scatter(axes, kept, s=size, color=BLUE, marker="o", linewidths=0, rasterized=dense, label="complete")
    _scatter(axes, over_limit, s=size, facecolors="none", edgecolors=BLUE, marker="s", linewidths=0.8, rasterized=dense,
             label="complete, too many operations")  # fmt: skip
    _scatter(axes, pruned, s=size, facecolors="none", edgecolors=ORANGE, marker="v", linewidths=0.8, rasterized=dense,
             label="pruned, mean of the folds it has")  # fmt: skip
    numbers, accuracies = best_so_far(series)
    last = max(result.number for result in series.results)
    if numbers:
        axes.plot([*numbers, last], [*accuracies, accuracies[-1]], drawstyle="steps-post", color=BLACK, linewidth=1.1,
                  label="best so far")  # fmt: skip
    _mark_without_mean(axes, series)
    axes.set(xlabel="configuration, in the order of asking", ylabel="mean validation accuracy (%)")
    whole_numbers(axes)
    chance = series.dataset.chance_percent
    if axes.get_ylim()[0] < chance:
        chance_line(axes, [chance])


def _scatter(axes: Axes, results: Sequence[RecordedResult], **look: object) -> None:
    if results:
        x, y = [result.number for result in results], [result.val_percent for result in results]
        axes.scatter(x, np.array(y, dtype=float), **look)  # type: ignore[arg-type]


def _mark_without_mean(axes: Axes, series: Series) -> None:
    """Mark the configurations without a mean at the bottom: failed or diverged, or pruned within the first fold."""
    failed = [one.number for one in series.results if one.state in ("failed", "diverged")]
    pruned = [one.number for one in series.results if one.state == "pruned" and one.val_percent is None]
    marks = ((failed, "x", VERMILLION, "failed or diverged"), (pruned, "1", GREY, "pruned within its first fold"))
    if not failed and not pruned:
        return
    low, high = axes.get_ylim()
    axes.set_yticks([tick for tick in axes.get_yticks() if low <= tick <= high])
    axes.set_ylim(low - STRIP * (high - low) / (1 - STRIP), high)
    strip = Rectangle((0, 0), 1, STRIP, transform=axes.transAxes, facecolor="#EEEEEE", linewidth=0, zorder=0)
    axes.add_patch(strip)
    for numbers, marker, colour, label in marks:
        if numbers:
            axes.plot(numbers, [STRIP / 2] * len(numbers), marker, color=colour, markersize=5, label=label,
                      transform=axes.get_xaxis_transform(), rasterized=len(numbers) > DENSE)  # fmt: skip


def _alt(series: Series) -> str:
    states = [result.state for result in series.results]
    counts = ", ".join(f"{states.count(state)} {state}" for state in get_args(State))
    text = f"{series.name}: {len(states)} configurations, {counts}."
    numbers, accuracies = best_so_far(series)
    if not numbers:
        return text
    best = f"{accuracies[-1]:.1f} % by configuration {numbers[-1]}"
    return f"{text} The best mean validation accuracy went from {accuracies[0]:.1f} % to {best}."
