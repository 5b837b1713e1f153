"""Accuracy against cost: mean validation accuracy over the cost of a search, or else over the energy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from sltune.report.analysis.series import MAX_LABEL_CHARACTERS, Basis, RecordedResult, Series
from sltune.report.plots.plot import Plot
from sltune.report.plots.style import BLACK, DENSE, VERMILLION, legend_above, log_scale, look, new_figure
from sltune.runs.metrics import METRICS
from sltune.runs.results import pareto_front, sign
from sltune.wording import shortened


@dataclass(frozen=True)
class TradeOff:
    """One complete configuration. accuracy in per cent; name: of the cost."""

    series: Series
    result: RecordedResult
    accuracy: float
    name: str
    cost: float

    @property
    def is_chosen(self) -> bool:
        """Whether it is the shown one of several in its run."""
        return len(self.series.results) > 1 and self.result == self.series.shown


def pareto_fronts(series: Sequence[Series]) -> Iterator[Plot]:
    """Draw the complete configurations of all runs that were judged on the same data, folds and seeds."""
    groups = [points for points in comparable(series) if len(points) > 1]
    for number, points in enumerate(groups, start=1):
        figure = new_figure(2.6)
        axes = figure.subplots()
        _draw(axes, points)
        legend_above(figure, axes)
        name = "pareto-front" if len(groups) == 1 else f"pareto-front-{number}"
        title = f"Accuracy over {described(points[0].name)}"
        runs = ", ".join(dict.fromkeys(point.series.name for point in points))
        yield Plot(name, title if len(groups) == 1 else f"{title}: {runs}", _alt(points), figure)


def comparable(series: Iterable[Series]) -> list[list[TradeOff]]:
    """Return the configurations that have both numbers, those that may be compared together."""
    groups: dict[tuple[Basis, frozenset[tuple[int, int]], str], list[TradeOff]] = {}
    for one in series:
        name = one.criteria.cost_shown(one.complete)
        for result in one.complete:
            if result.val_percent is not None and (cost := result.cost(name)) is not None:
                point = TradeOff(one, result, result.val_percent, name, cost)
                groups.setdefault((Basis.of(result.done[0]), result.steps, name), []).append(point)
    return list(groups.values())


def front(points: Sequence[TradeOff]) -> list[TradeOff]:
    """Return the points on the Pareto front, by cost, of those that keep the limits of their search."""
    kept = [point for point in points if point.series.criteria.allows(point.result)]
    return [kept[place] for place in pareto_front([(point.accuracy, sign(point.name) * point.cost) for point in kept])]


def described(name: str) -> str:
    """Return what a cost is called in a title."""
    return "synaptic operations" if name == "synaptic_ops" else name.replace("_", " ")


def _draw(axes: Axes, points: Sequence[TradeOff]) -> None:
    dense = len(points) > DENSE
    runs: dict[str, list[TradeOff]] = {}
    for point in points:
        runs.setdefault(point.series.name, []).append(point)
    for number, (name, own) in enumerate(runs.items()):
        style = look(number)
        axes.scatter(
            [point.cost for point in own], [point.accuracy for point in own], s=8 if dense else 26, alpha=0.7,
            color=style.colour, marker=style.marker, linewidths=0, rasterized=dense,
            label=shortened(name, MAX_LABEL_CHARACTERS),
        )  # fmt: skip
    best = front(points)
    if best:
        # Where more is better, as with sparsity, the line leads to the left.
        end = sign(points[0].name) * max(sign(point.name) * point.cost for point in points)
        axes.plot([*(point.cost for point in best), end], [*(point.accuracy for point in best), best[-1].accuracy],
                  drawstyle="steps-post", color=BLACK, linewidth=1.1, label="Pareto front")  # fmt: skip
    chosen = [point for point in points if point.is_chosen]
    if chosen:
        axes.scatter([point.cost for point in chosen], [point.accuracy for point in chosen], s=110, color=VERMILLION,
                     marker="*", edgecolors="white", linewidths=0.7, zorder=3, label="chosen")  # fmt: skip
    costs = np.array([point.cost for point in points])
    if costs.min() > 0 and costs.max() / costs.min() >= 10:
        log_scale(axes)
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.set(xlabel=_axis(points[0].name), ylabel="mean validation accuracy (%)")


def _axis(name: str) -> str:
    unit = METRICS[name].unit
    return f"{described(name)} per sample" if unit == "operations/sample" else f"{described(name)} ({unit})"


def _alt(points: Sequence[TradeOff]) -> str:
    best = front(points)
    text = f"{len(points)} complete configurations, {len(best)} of them on the Pareto front"
    if best:
        text += f", from {_show(best[0])} to {_show(best[-1])}"
    return "; ".join([text, *(f"chosen: {_show(point)}" for point in points if point.is_chosen)]) + "."


def _show(point: TradeOff) -> str:
    cost = f"{point.cost:.3g} {'operations' if point.name == 'synaptic_ops' else described(point.name)}"
    return f"{point.accuracy:.1f} % at {cost} ({point.series.name}/{point.result.config_id})"
