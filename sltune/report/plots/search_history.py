"""What a search has found, in the order in which it asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from sltune.report.analysis.outcomes import Outcome, Series
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

STRIP = 0.08
"""Height of the strip in which configurations without a mean are marked, as a share of the whole."""


def search_histories(series: Sequence[Series]) -> Iterator[Plot]:
    """Draw the configurations of every search of which at least two have ended, one with a mean."""
    found = [one for one in series if one.is_search and _ended(one) > 1 and _with_mean(one, "complete", "pruned")]
    for one, name, title in zip(found, names("search-history", found), titles("Search history", found), strict=True):
        figure = new_figure(3.4)
        axes = figure.subplots()
        _draw(axes, one)
        legend_above(figure, axes)
        yield Plot(name, title, _alt(one), figure)


def best_so_far(series: Series) -> tuple[list[int], list[float]]:
    """Return the numbers of configurations that were better than all before them, and their accuracies.

    Those that break a constraint of the search do not count.
    """
    numbers, accuracies = list[int](), list[float]()
    for outcome in filter(series.feasible, series.complete):
        assert outcome.validation is not None, "complete ones have it"
        if not accuracies or outcome.validation > accuracies[-1]:
            numbers.append(outcome.number)
            accuracies.append(outcome.validation)
    return numbers, accuracies


def _ended(series: Series) -> int:
    return sum(outcome.state != "open" for outcome in series.outcomes)


def _with_mean(series: Series, *states: str) -> list[Outcome]:
    return [one for one in series.outcomes if one.state in states and one.validation is not None]


def _draw(axes: Axes, series: Series) -> None:
    complete, pruned = _with_mean(series, "complete"), _with_mean(series, "pruned")
    dear = [one for one in complete if not series.feasible(one)]
    kept = [one for one in complete if series.feasible(one)]
    dense = len(complete) + len(pruned) > DENSE
    size = 6 if dense else 20
    _scatter(axes, kept, s=size, color=BLUE, marker="o", linewidths=0, rasterized=dense, label="complete")
    _scatter(axes, dear, s=size, facecolors="none", edgecolors=BLUE, marker="s", linewidths=0.8, rasterized=dense,
             label="complete, too many operations")  # fmt: skip
    _scatter(axes, pruned, s=size, facecolors="none", edgecolors=ORANGE, marker="v", linewidths=0.8, rasterized=dense,
             label="pruned, mean of the folds it has")  # fmt: skip
    numbers, accuracies = best_so_far(series)
    last = max(outcome.number for outcome in series.outcomes)
    if numbers:
        axes.plot([*numbers, last], [*accuracies, accuracies[-1]], drawstyle="steps-post", color=BLACK, linewidth=1.1,
                  label="best so far")  # fmt: skip
    _mark_without_mean(axes, series)
    axes.set(xlabel="configuration, in the order of asking", ylabel="mean validation accuracy (%)")
    whole_numbers(axes)
    chance = series.dataset.chance_percent
    if axes.get_ylim()[0] < chance:
        chance_line(axes, [chance])


def _scatter(axes: Axes, outcomes: Sequence[Outcome], **look: object) -> None:
    if outcomes:
        x, y = [outcome.number for outcome in outcomes], [outcome.validation for outcome in outcomes]
        axes.scatter(x, np.array(y, dtype=float), **look)  # type: ignore[arg-type]


def _mark_without_mean(axes: Axes, series: Series) -> None:
    """Mark at the bottom what has no mean: failed, and pruned within the first fold."""
    failed = [one.number for one in series.outcomes if one.state == "failed"]
    pruned = [one.number for one in series.outcomes if one.state == "pruned" and one.validation is None]
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
    states = [outcome.state for outcome in series.outcomes]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("complete", "pruned", "failed", "open"))
    text = f"{series.name}: {len(states)} configurations, {counts}."
    numbers, accuracies = best_so_far(series)
    if not numbers:
        return text
    best = f"{accuracies[-1]:.1f} % by configuration {numbers[-1]}"
    return f"{text} The best mean validation accuracy went from {accuracies[0]:.1f} % to {best}."
