"""Accuracy and losses over the epochs of the shown configurations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sltune.report.analysis.series import Basis, Series
from sltune.report.plots.plot import Plot
from sltune.report.plots.style import GREY, Look, chance_line, legend_above, look, new_figure, whole_numbers
from sltune.runs.epochs import EpochRow, read_epochs
from sltune.runs.folder import TrialFolder
from sltune.runs.metrics import METRICS

Rows = dict[int, EpochRow]
"""Metrics by epoch."""
WORDS = {"val": "validation", "test": "test"}
MAX_SINGLE_CURVES = 8
"""More single curves cannot be told apart."""
MAX_BANDS = 4
"""The ranges of more runs would hide one another."""


@dataclass(frozen=True)
class TrialCurves:
    """Epochs of one configuration's trials. part: what the accuracy is measured on, "val" or "test"."""

    series: Series
    part: str
    done: tuple[Rows, ...]
    under_way: tuple[Rows, ...]
    trials: int

    @property
    def common(self) -> list[int]:
        """The epochs that every done trial has. A mean over others would jump where a trial ends."""
        return sorted(set.intersection(*map(set, self.done))) if self.done else []

    @property
    def is_uneven(self) -> bool:
        return any(len(rows) > len(self.common) for rows in self.done)

    @property
    def chance_percent(self) -> float:
        return self.series.dataset.chance_percent

    def line(self, metric: str, rows: Rows) -> tuple[list[int], list[float]]:
        """Return epochs and values of a metric in one trial."""
        found = {epoch: METRICS[metric].shown(row[metric]) for epoch, row in sorted(rows.items()) if metric in row}
        return list(found), list(found.values())

    def matrix(self, metric: str) -> tuple[list[int], np.ndarray]:
        """Return the epochs at which all done trials have the metric, and its values, shape (trials, epochs)."""
        epochs = [epoch for epoch in self.common if all(metric in rows[epoch] for rows in self.done)]
        values = [[METRICS[metric].shown(rows[epoch][metric]) for epoch in epochs] for rows in self.done]
        return epochs, np.array(values)

    def has(self, panel: CurvePanel) -> bool:
        """Say whether any epoch of any trial has the metric of a panel."""
        metric = panel.metric(self.part)
        return any(metric in row for rows in (*self.done, *self.under_way) for row in rows.values())

    def label(self, alone: bool) -> str:
        count = f"{len(self.done)} of " if len(self.done) < self.trials else ""
        until = f", to epoch {self.common[-1]}, where the first ends" if self.is_uneven and self.common else ""
        optimistic = ", epoch selected on test" if self.part == "test" else ""
        text = f"{count}{self.trials} {'trial' if self.trials == 1 else 'trials'}{until}{optimistic}"
        return f"mean of {text}" if alone else f"{self.series.label} ({text})"


@dataclass(frozen=True)
class CurvePanel:
    """The curves of one quantity. names: its metrics, one for each part that it is measured on."""

    names: tuple[str, ...]

    def metric(self, part: str) -> str:
        """Return the metric of runs that are judged on a part, "val" or "test"; "" where there is none."""
        return next((name for name in self.names if METRICS[name].part in (part, "selection", "train")), "")

    @property
    def rank(self) -> tuple[bool, bool]:
        """What is better high, as accuracy, stands on top, and what is measured in training at the bottom."""
        metric = METRICS[self.names[0]]
        return metric.better != "high", metric.part == "train"


def panels() -> list[CurvePanel]:
    """Return the panels that the table of metrics asks for, from top to bottom."""
    names: dict[str, list[str]] = {}
    for name, metric in METRICS.items():
        if metric.panel:
            names.setdefault(metric.panel, []).append(name)
    return sorted((CurvePanel(tuple(alike)) for alike in names.values()), key=lambda panel: panel.rank)


def learning_curves(series: Sequence[Series]) -> Iterator[Plot]:
    """Draw the mean over the done trials, the range from lowest to highest, and single curves if they are few.

    Trials under way are drawn singly and do not count in the mean.
    """
    found = [curves for one in series if (curves := _read(one)) and (curves.done or curves.under_way)]
    if not found:
        return
    yield Plot("learning-curves", "Learning curves", _alt(found), _figure(found))


def _figure(found: Sequence[TrialCurves]) -> Figure:
    first, *others = [panel for panel in panels() if any(curves.has(panel) for curves in found)] or panels()
    figure = new_figure(1.9 + 1.1 * len(others))
    axes = figure.subplots(1 + len(others), 1, sharex=True, height_ratios=(1.6, *[1] * len(others)))
    words = " or ".join(dict.fromkeys(WORDS[curves.part] for curves in found))
    for place, panel in zip(axes, (first, *others), strict=True):
        _draw(place, found, panel)
        place.set_ylabel(METRICS[panel.names[0]].axis(words))
    if len(found) <= MAX_BANDS and any(len(curves.done) > 1 for curves in found):
        axes[0].fill_between([], [], color=GREY, alpha=0.25, linewidth=0, label="lowest to highest trial")
    chance_line(axes[0], [curves.chance_percent for curves in found])
    axes[0].set_ylim(bottom=0)
    axes[-1].set_xlabel("epoch")
    whole_numbers(axes[-1])
    legend_above(figure, axes[0])
    figure.align_ylabels(axes)
    return figure


def _read(series: Series) -> TrialCurves | None:
    result = series.shown
    if result is None:
        return None
    done = [_rows(series.run.trial(record.key)) for record in result.done]
    waiting = [_rows(series.run.trial(key)) for key in result.waiting]
    rows = next((row for one in [*done, *waiting] for row in one.values()), {})
    optimistic = Basis.of(result.done[0]).optimistic if result.done else "test_accuracy" in rows
    part = "test" if optimistic else "val"
    return TrialCurves(series, part, tuple(filter(None, done)), tuple(filter(None, waiting)), result.trials)


def _rows(trial: TrialFolder) -> Rows:
    return {int(row["epoch"]): row for row in read_epochs(trial.epochs_csv, skip_bad=True)}


def _draw(axes: Axes, found: Sequence[TrialCurves], panel: CurvePanel) -> None:
    single = sum(len(curves.done) for curves in found) <= MAX_SINGLE_CURVES or (len(found) == 1 and found[0].is_uneven)
    for number, curves in enumerate(found):
        metric = panel.metric(curves.part)
        _draw_mean(axes, curves, metric, look(number), len(found))
        _draw_under_way(axes, curves, metric, look(number), len(found))
        for rows in curves.done if single else ():
            axes.plot(*curves.line(metric, rows), color=look(number).colour, linewidth=0.6, alpha=0.45)


def _draw_mean(axes: Axes, curves: TrialCurves, metric: str, look: Look, runs: int) -> None:
    epochs, values = curves.matrix(metric)
    if epochs:
        if runs <= MAX_BANDS:
            low, high = values.min(axis=0), values.max(axis=0)
            axes.fill_between(epochs, low, high, color=look.colour, alpha=0.15, linewidth=0)
        marker, label = look.marker if len(epochs) == 1 else "", curves.label(runs == 1)
        axes.plot(epochs, values.mean(axis=0), color=look.colour, linestyle=look.line, marker=marker, label=label)


def _draw_under_way(axes: Axes, curves: TrialCurves, metric: str, look: Look, runs: int) -> None:
    for number, rows in enumerate(curves.under_way):
        label = f"{'' if runs == 1 else curves.series.label + ', '}trials under way" if number == 0 else None
        axes.plot(*curves.line(metric, rows), color=look.colour, linewidth=0.8, linestyle=(0, (4, 3)), label=label)


def _alt(found: Sequence[TrialCurves]) -> str:
    chances = sorted({curves.chance_percent for curves in found})
    return f"{'; '.join(map(_sentence, found))}. Chance is {' or '.join(f'{chance:.1f} %' for chance in chances)}."


def _sentence(curves: TrialCurves) -> str:
    epochs, values = curves.matrix(f"{curves.part}_accuracy")
    name = f"{curves.series.label}: {WORDS[curves.part]} accuracy"
    if not epochs:
        return f"{name}; {len(curves.under_way)} of {curves.trials} trials under way, none done"
    mean = values.mean(axis=0)
    best = int(mean.argmax())
    return (
        f"{name}, mean of {len(curves.done)} of {curves.trials} trials: {mean[0]:.1f} % at epoch {epochs[0]}, highest "
        f"{mean[best]:.1f} % at epoch {epochs[best]}, {mean[-1]:.1f} % at epoch {epochs[-1]}"
    )
